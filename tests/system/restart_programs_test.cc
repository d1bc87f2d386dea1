// Restarts whose new program or configuration is no good, restarts that are asked for all at once, and restarts that
// change the version (docs/restart.md).
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "cli/http_get.h"
#include "cli/restart_source.h"
#include "server/restart_status.h"
#include "storage/disk.h"
#include "storage/sealed_file.h"
#include "storage/store_dir.h"
#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;
using handover::HandoverState;
using server::text_of;
using testing_support::RestartsTest;
using testing_support::Role;
using testing_support::Writer;

class RestartPrograms : public RestartsTest {
 protected:
  /// A program that does `as_worker` before it becomes outlast as a worker.
  std::string program(const std::string& as_worker) {
    return file("program",
                "#!/bin/sh\n[ \"$1\" = worker ] && { " + as_worker + "; }\nexec " OUTLAST_BINARY " \"$@\"\n");
  }
  std::string file(const std::string& name, const std::string& text, fs::perms perms = fs::perms::owner_all) {
    const std::string path = dir() + "/" + name;
    std::ofstream(path, std::ios::trunc) << text;
    fs::permissions(path, perms);
    return path;
  }
  /// The restart ends with this outcome for a reason that has these words, and nothing has changed.
  void expect_unchanged(const std::string& binary, const std::string& wanted, const std::string& words) {
    auto client = connect(0);
    const pid_t before = worker(), parent = supervisor();
    const json::object told = restart(binary);
    EXPECT_EQ(outcome(told), wanted) << json::serialize(told);
    EXPECT_THAT(text_of(told, "why"), testing::HasSubstr(words));
    EXPECT_EQ(worker(), before);
    EXPECT_EQ(supervisor(), parent);
    must(client, "INSERT INTO t VALUES (1)");
    expect_nobody_left_over();
  }
  void expect_completed(const json::object& told) { EXPECT_EQ(outcome(told), "completed") << json::serialize(told); }
};

TEST_F(RestartPrograms, ClientsDoNotWaitForAWorkerThatStartsSlowly) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto held = hold("program", HandoverState::kStandby);
  const std::uint64_t id = begin_restart(program("read x < " + dir() + "/hold-program-standby"));
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  auto client = connect(0);
  for (int i = 0; i < 20; ++i) must(client, "INSERT INTO t VALUES (" + std::to_string(i) + ")");
  held->release();
  expect_completed(receipt(id));
  must(client, "INSERT INTO t VALUES (20)");
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "21");
  expect_nobody_left_over();
}

TEST_F(RestartPrograms, AWorkerThatFailsOrDiesIsRolledBack) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto idle = connect(0);
  expect_unchanged(program("exit 1"), "rolled_back", "exited with 1");
  expect_unchanged(program("exit 3"), "rolled_back", "exited with 3");
  expect_unchanged(program("kill -9 $$"), "rolled_back", "killed by signal 9");
  must(idle, "INSERT INTO t VALUES (2)");
  expect_completed(restart());
  must(idle, "INSERT INTO t VALUES (3)");
}

TEST_F(RestartPrograms, WhatIsNoProgramOfThisKindIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  expect_unchanged(dir() + "/nowhere", "refused", dir() + "/nowhere");
  expect_unchanged(file("text", "no program\n"), "refused", dir() + "/text");
  expect_unchanged(file("locked", "#!/bin/sh\n", fs::perms::owner_read), "refused", dir() + "/locked");
  expect_unchanged("/bin/true", "refused", "is it an outlast of this kind?");
  expect_unchanged("/bin/false", "refused", "exited with 1");
  expect_completed(restart());
}

TEST_F(RestartPrograms, ABrokenConfigurationIsRefusedByItsLine) {
  const std::string config = file("outlast.toml", "log_level = \"info\"\n");
  use_start({"--config=" + config});
  ASSERT_NO_FATAL_FAILURE(start_one());
  file("outlast.toml", "log_level = \"info\"\nmax_conections = 5\n");
  expect_unchanged("", "refused", config + ":2");
  // What dies by itself comes back nevertheless.
  const pid_t before = worker();
  ASSERT_TRUE(cluster().kill_worker(0).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, before));
  file("outlast.toml", "log_level = \"info\"\nmax_connections = 3\n");
  expect_completed(restart());
  std::vector<cli::PgConnection> connections;
  for (int i = 0; i < 3; ++i) connections.push_back(connect(0));
  EXPECT_FALSE(cli::PgConnection::connect(cluster().sql_url(0), "defaultdb", 10s).ok());
}

TEST_F(RestartPrograms, AStoreOfANewerFormatIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  const std::string identity = cluster().store(0) + "/IDENTITY";
  fs::copy_file(identity, dir() + "/identity");
  const auto disk = storage::make_posix_disk();
  const storage::SealedKind newer{"store", storage::StoreDir::kFormat + 1};
  ASSERT_TRUE(storage::write_sealed(*disk, cluster().store(0), "IDENTITY", newer, {{"uuid", "x"}}).ok());
  expect_unchanged("", "refused", "IDENTITY");
  fs::copy_file(dir() + "/identity", identity, fs::copy_options::overwrite_existing);
  expect_completed(restart());
}

TEST_F(RestartPrograms, AHundredTriggersDuringARestartMakeOneMore) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto held = hold("new", HandoverState::kStandby);
  const std::uint64_t id = begin_restart();
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  const pid_t parent = supervisor();
  const std::string http = cluster().facts(0)->http_addr;
  for (int i = 0; i < 34; ++i) {
    ::kill(parent, SIGUSR2);
    EXPECT_EQ(begin_restart(), id + 1);
    const auto answer = cli::http_post(http, "/api/processes.zeroDowntimeRestart", 10s);
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->status, 202) << answer->body;
    EXPECT_EQ(server::parse_restart_status(answer->body)->accepted_id(), id + 1);
  }
  held->release();
  expect_completed(receipt(id));
  expect_completed(receipt(id + 1));
  ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  EXPECT_EQ(begin_restart(), id + 2);
  expect_completed(receipt(id + 2));
}

/// Its parent stays the same process and becomes the new program.
TEST_F(RestartPrograms, ToTheNextVersionAndBack) {
  // Two files with one path each, as after an installation.
  const std::string path = dir() + "/outlast";
  fs::copy_file(OUTLAST_BINARY, path);
  use_start({}, path);
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = connect(0);
  must(client, "PREPARE insert_row AS INSERT INTO t VALUES ($1)");
  must(client, "SET application_name = 'kept'");
  const pid_t parent = supervisor();
  const std::string versions[] = {OUTLAST_VERSION, OUTLAST_VERSION ".next"};
  for (int round = 0; round < 4; ++round) {
    const std::string replacement = dir() + "/replacement";
    fs::copy_file(round % 2 == 0 ? OUTLAST_NEXT_BINARY : OUTLAST_BINARY, replacement);
    fs::rename(replacement, path);
    const json::object told = restart();
    expect_completed(told);
    EXPECT_EQ(text_of(told, "from_version"), versions[round % 2]);
    EXPECT_EQ(text_of(told, "to_version"), versions[1 - round % 2]);
    must(client, "EXECUTE insert_row(" + std::to_string(round) + ")");
    EXPECT_EQ(must(client, "SHOW application_name").rows[0][0], "kept");
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
    const std::string self = "/proc/" + std::to_string(parent) + "/exe";
    wait("the supervisor's new program", [&] {
      std::error_code ignored;
      return fs::equivalent(self, path, ignored);
    });
    wait("the supervisor under its old pid", [&] { return supervisor() == parent; });
  }
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "4");
}

struct Size {
  long fds{0}, kilobytes{0};
};
Size size_of(pid_t pid) {
  Size size;
  const std::string process = "/proc/" + std::to_string(pid);
  const fs::directory_iterator all(process + "/fd");
  size.fds = std::distance(begin(all), end(all));
  std::ifstream in(process + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmRSS:")) size.kilobytes = std::stol(line.substr(6));
  return size;
}

/// OUTLAST_TEST_RESTARTS=200 for the long form.
TEST_F(RestartPrograms, ManyRestartsInARowLeaveNothingBehind) {
  const char* const wish = std::getenv("OUTLAST_TEST_RESTARTS");
  const int rounds = wish == nullptr ? 12 : std::stoi(wish);
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = connect(0);
  const auto one = [&](int id) {
    expect_completed(restart());
    must(client, "INSERT INTO t VALUES (" + std::to_string(id) + ")");
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  };
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(one(i));
  const pid_t parent = supervisor();
  const Size before = size_of(parent), worker_before = size_of(worker());
  for (int i = 3; i < 3 + rounds; ++i) ASSERT_NO_FATAL_FAILURE(one(i));
  EXPECT_EQ(supervisor(), parent);
  wait("the supervisor's descriptors", [&] { return size_of(parent).fds <= before.fds; });
  wait("the worker's descriptors", [&] { return size_of(worker()).fds <= worker_before.fds; });
  EXPECT_LT(size_of(parent).kilobytes, before.kilobytes + 4096);
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), std::to_string(3 + rounds));
}

/// As in a container: nobody else takes care of orphans there.
TEST_F(RestartPrograms, AsProcessOneOfAPidNamespace) {
  const std::string unshare = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc ";
  if (std::system((unshare + "true 2> /dev/null").c_str()) != 0) GTEST_SKIP() << "no namespaces for this user";
  const std::string in_namespace =
      file("in-namespace", "#!/bin/sh\n[ \"$1\" = start ] || exec " OUTLAST_BINARY " \"$@\"\nexec " + unshare +
                               OUTLAST_BINARY " \"$@\"\n");
  use_start({}, in_namespace);
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = connect(0);
  EXPECT_EQ(cluster().facts(0)->pid, 1);
  for (int i = 0; i < 3; ++i) {
    const pid_t before = worker();
    expect_completed(restart());
    EXPECT_NE(worker(), before);
    EXPECT_EQ(cluster().facts(0)->pid, 1);
    must(client, "INSERT INTO t VALUES (" + std::to_string(i) + ")");
  }
  wait("the end of the old workers",
       [&] { return testing_support::processes_of(cluster().store(0)).workers.size() == 1; });
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "3");
}

class StopInRestart : public RestartsTest, public testing::WithParamInterface<std::pair<const char*, HandoverState>> {};

TEST_P(StopInRestart, EndsTheNodeCleanly) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  Writer writer(cluster().sql_url(0), 1'000);
  auto held = hold(GetParam().first, GetParam().second);
  begin_restart();
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  cluster().ask_to_stop(0);
  held->release();
  const auto code = cluster().wait_exit(0, 30s);
  ASSERT_TRUE(code.ok()) << code.error().message;
  EXPECT_EQ(*code, 0);
  wait("the end of everything", [&] { return testing_support::processes_of(cluster().store(0)).size() == 0; });
  ASSERT_TRUE(cluster().start(0).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0));
  writer.stop();
  expect_rows(writer.acknowledged());
}

INSTANTIATE_TEST_SUITE_P(
    Restart, StopInRestart,
    testing::Values(std::pair("supervisor", HandoverState::kTrial), std::pair("new", HandoverState::kStandby),
                    std::pair("new", HandoverState::kSessions), std::pair("old", HandoverState::kSessions),
                    std::pair("old", HandoverState::kStorageReleased),
                    std::pair("new", HandoverState::kStorageReleased), std::pair("new", HandoverState::kOwned),
                    std::pair("supervisor", HandoverState::kOwned), std::pair("supervisor", HandoverState::kDone)),
    [](const auto& info) { return std::string(info.param.first) + "_" + std::string(to_string(info.param.second)); });

}  // namespace
}  // namespace outlast
