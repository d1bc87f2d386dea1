// What moves: SessionState, and how many at once.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/wire/two_workers.h"

namespace outlast::testing {
namespace {
using namespace std::chrono_literals;

/// A client's end and a server's of one connection.
std::pair<int, int> connection() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {ends[0], ends[1]};
}
proto::SessionState sample_state(int number) {
  proto::SessionState state;
  state.set_user("ann");
  state.set_database("defaultdb");
  state.set_cancel_pid(1 << 20 | number);
  state.set_cancel_key("key!");
  return state;
}

TEST(SqlMoveState, WhatANewerWorkerKnowsSurvives) {
  TwoWorkers workers;
  proto::SessionState newer = sample_state(7);
  newer.GetReflection()->MutableUnknownFields(&newer)->AddVarint(900, 42);
  auto* known = newer.add_variables();
  known->set_name("application_name");
  known->set_value("app");
  known->set_reported("app");
  known->GetReflection()->MutableUnknownFields(known)->AddLengthDelimited(901, "of a variable");
  auto* unknown = newer.add_variables();
  unknown->set_name("setting_of_tomorrow");
  unknown->set_value("on");
  auto* prepared = newer.add_prepared();
  prepared->set_name("s");
  prepared->set_text("SELECT 1");
  prepared->GetReflection()->MutableUnknownFields(prepared)->AddVarint(902, 1);
  auto* odd = newer.add_prepared();
  odd->set_name("tomorrow");
  odd->set_text("SELEKT a statement of tomorrow");
  newer.mutable_seen()->set_range(3);
  newer.mutable_seen()->set_epoch(4);
  newer.mutable_seen()->set_lsn(5);
  newer.mutable_seen()->GetReflection()->MutableUnknownFields(newer.mutable_seen())->AddVarint(903, 1);
  const auto [client_fd, server_fd] = connection();
  ASSERT_TRUE(workers.old.take_in(newer, server_fd, nullptr).ok());
  WireClient client(client_fd);
  EXPECT_TRUE(has(ask(client, "EXECUTE s"), "DataRow \"1\""));
  EXPECT_EQ(ask(client, "EXECUTE tomorrow"), "ErrorResponse ERROR 42601\nReadyForQuery I\n");
  ASSERT_TRUE(workers.there());
  ASSERT_TRUE(workers.back());
  const proto::SessionState last = workers.last();
  EXPECT_EQ(last.GetReflection()->GetUnknownFields(last).field(0).varint(), 42U);
  bool kept_unknown = false, kept_rest = false;
  for (const auto& variable : last.variables()) {
    kept_unknown = kept_unknown || (variable.name() == "setting_of_tomorrow" && variable.value() == "on");
    kept_rest = kept_rest || (variable.name() == "application_name" &&
                              variable.GetReflection()->GetUnknownFields(variable).field_count() == 1);
  }
  EXPECT_TRUE(kept_unknown);
  EXPECT_TRUE(kept_rest);
  ASSERT_EQ(last.prepared_size(), 2);
  EXPECT_EQ(last.prepared(0).GetReflection()->GetUnknownFields(last.prepared(0)).field_count(), 1);
  EXPECT_EQ(last.prepared(1).text(), "SELEKT a statement of tomorrow");
  EXPECT_EQ(last.seen().lsn(), 5U);
  EXPECT_EQ(last.seen().GetReflection()->GetUnknownFields(last.seen()).field_count(), 1);
}

TEST(SqlMoveState, WhatCannotBeHadIsNamedAndTheClientConnectsAgain) {
  TwoWorkers workers;
  auto state = sample_state(8);
  auto* bad = state.add_variables();
  bad->set_name("datestyle");
  bad->set_value("German");
  const auto [client_fd, server_fd] = connection();
  const auto taken = workers.old.take_in(state, server_fd, nullptr);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(has(taken.error().message, "DateStyle")) << taken.error().message;
  WireClient client(client_fd);
  EXPECT_EQ(until(client, "nothing"), "ErrorResponse FATAL 57P01\nclose\n");
  EXPECT_TRUE(eventually([&] { return workers.old.load().all() == 0; }));
  EXPECT_FALSE(workers.old.take_in(sample_state(9), ::open("/dev/null", O_RDONLY | O_CLOEXEC), nullptr).ok());
}

// tests/golden/README.md
TEST(SqlMoveState, BytesOfAnEarlierProgramAreASession) {
  const std::string name = "session_state.bin";
  proto::SessionState state;
  if (const char* directory = std::getenv("OUTLAST_WRITE_GOLDEN")) {
    state = sample_state(77);
    auto* variable = state.add_variables();
    variable->set_name("application_name");
    variable->set_fallback("boot");
    variable->set_value("golden");
    variable->set_reported("golden");
    auto* prepared = state.add_prepared();
    prepared->set_name("s");
    prepared->set_text("SELECT $1 + 1");
    prepared->add_parameter_types(23);
    state.mutable_seen()->set_range(3);
    state.mutable_seen()->set_epoch(4);
    state.mutable_seen()->set_lsn(5);
    state.set_skip_to_sync(true);
    state.set_output(bytes_of("Raw \"E\\0\\0\\0\\x13SERROR\\0C42601\\0\\0\""));
    state.set_input(bytes_of("Sync") + bytes_of("Query \"EXECUTE s(41)\"").substr(0, 3));
    std::ofstream(std::string(directory) + "/" + name, std::ios::binary) << state.SerializeAsString();
    return;
  }
  std::ifstream in(std::string(OUTLAST_WIRE_DIR) + "/../golden/v1/" + name, std::ios::binary);
  ASSERT_TRUE(state.ParseFromIstream(&in));
  TwoWorkers workers;
  const auto [client_fd, server_fd] = connection();
  ASSERT_TRUE(workers.old.take_in(state, server_fd, nullptr).ok());
  WireClient client(client_fd);
  EXPECT_EQ(until(client, "ReadyForQuery"), "ErrorResponse ERROR 42601\nReadyForQuery I\n");
  ASSERT_TRUE(client.send(bytes_of("Query \"EXECUTE s(41)\"").substr(3)).ok());
  EXPECT_TRUE(has(until(client, "ReadyForQuery"), "DataRow \"42\""));
  EXPECT_TRUE(has(ask(client, "SHOW application_name"), "DataRow \"golden\""));
  EXPECT_TRUE(has(ask(client, "RESET application_name"), "ParameterStatus application_name \"boot\""));
}

/// Lowers the limit of open files while it lives.
class FewFiles {
 public:
  explicit FewFiles(rlim_t files) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now{std::min(files, before_.rlim_max), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~FewFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewFiles(const FewFiles&) = delete;

 private:
  rlimit before_{};
};

TEST(SqlMoveState, ThousandsMoveWithoutAnotherDescriptor) {
  const char* asked = std::getenv("OUTLAST_MOVE_SESSIONS");  // for measuring
  const int count = asked != nullptr ? std::atoi(asked) : 2000;
  const FewFiles few(static_cast<rlim_t>(2 * count + 100));
  TwoWorkers workers;
  std::vector<WireClient> clients;
  clients.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto [client_fd, server_fd] = connection();
    ASSERT_TRUE(workers.old.take_in(sample_state(i + 1), server_fd, nullptr).ok());
    clients.emplace_back(client_fd);
  }
  ASSERT_TRUE(eventually([&] { return workers.old.load().idle == static_cast<std::size_t>(count); }));
  const auto began = std::chrono::steady_clock::now();
  workers.move(workers.old, workers.new_worker);
  ASSERT_TRUE(eventually([&] { return workers.moves == count; }));
  const auto took = std::chrono::steady_clock::now() - began;
  std::printf("%d idle sessions moved in %lld ms\n", count,
              static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  EXPECT_EQ(workers.old.metrics().sessions_open, 0);
  for (std::size_t i = 0; i < clients.size(); i += 100)
    EXPECT_TRUE(has(ask(clients[i], "SHOW application_name"), "ReadyForQuery I"));
  EXPECT_EQ(workers.new_worker.load().all(), static_cast<std::size_t>(count));
}

TEST(SqlMoveState, ARealClientNoticesNothing) {
  if (std::system("command -v psql > /dev/null") != 0) GTEST_SKIP() << "psql is not installed";
  TwoWorkers workers;
  const std::string out = ::testing::TempDir() + "outlast_move_psql.txt";
  const std::string command = "PGSSLMODE=disable psql -XAtq -v ON_ERROR_STOP=1 -h 127.0.0.1 -U ann -p " +
                              std::to_string(workers.port()) + " defaultdb > " + out + " 2>&1";
  FILE* psql = ::popen(command.c_str(), "w");
  ASSERT_NE(psql, nullptr);
  const auto say = [&](const std::string& line, std::uint64_t statements) {
    std::fputs((line + "\n").c_str(), psql);
    std::fflush(psql);
    EXPECT_TRUE(eventually(
        [&] { return workers.old.metrics().statements + workers.new_worker.metrics().statements >= statements; }));
  };
  say("PREPARE p(int) AS SELECT $1 * 2;", 1);
  ASSERT_TRUE(eventually([&] { return workers.old.load().idle == 1; }));
  ASSERT_TRUE(workers.there());
  say("EXECUTE p(21);", 2);
  ASSERT_TRUE(eventually([&] { return workers.new_worker.load().idle == 1; }));
  ASSERT_TRUE(workers.back());
  say("EXECUTE p(4);", 3);
  EXPECT_EQ(::pclose(psql), 0);
  std::ifstream answers(out);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(answers), {}), "42\n8\n");
  ::unlink(out.c_str());
}
}  // namespace
}  // namespace outlast::testing
