// `outlast range` and `outlast meta` against real nodes: what they show, find and rescue.
#include <sqlite3.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;
using testing_support::Finished;
using testing_support::run_outlast;

class RangeCommandsTest : public testing_support::ClusterTest {
 protected:
  /// Runs a command against a node and returns what it printed.
  Finished ask(const std::string& command, int node = 0) {
    return run_outlast(command + " --host=" + cluster().facts(node)->listen_addr, 90);
  }
  /// The JSON document among the lines of the output.
  json::value json_of(const Finished& finished) {
    const std::size_t begin = finished.output.find_first_of("[{");
    const std::size_t end = finished.output.find('\n', begin);
    boost::system::error_code problem;
    json::value value = json::parse(finished.output.substr(begin, end - begin), problem);
    EXPECT_FALSE(problem) << finished.output;
    return value;
  }
  json::object show(const std::string& which, int node = 0) {
    const Finished shown = ask("range show " + which + " --format=json", node);
    EXPECT_EQ(shown.code, 0) << shown.output;
    const json::value value = json_of(shown);
    return value.is_object() ? value.as_object() : json::object{};
  }
  /// "in-sync", "learner", …: what the node says about its replica; empty when it does not answer.
  std::string role(const std::string& which, int node, int asked) {
    const auto id = cluster().facts(node)->node.value;
    const json::object shown = show(which, asked);
    for (const json::value& replica : shown.at("replicas").as_array())
      if (replica.at("node").to_number<std::uint32_t>() == id) return std::string(replica.at("role").as_string());
    return {};
  }
  void start_with_data(int rows) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE DATABASE app");
    auto app = connect(0, "app");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY, payload text NOT NULL)");
    add_rows(app, 1, rows);
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  void add_rows(cli::PgConnection& app, int from, int to) {
    for (int i = from; i <= to; ++i)
      must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ", 'row " + std::to_string(i) + "')");
  }
  std::uint64_t range_of(const std::string& database, int node = 0) {
    const auto ranges = cluster().ranges(node);
    if (ranges.ok())
      for (const auto& range : *ranges)
        if (range.database == database) return range.range.value;
    return 0;
  }
  void wait_role(const std::string& which, int node, int asked, const std::string& wanted) {
    std::string last;
    const auto waited = cluster().wait_until(wanted, 60s, [&] { return (last = role(which, node, asked)) == wanted; });
    ASSERT_TRUE(waited.ok()) << "node " << node + 1 << " is " << last << ", not " << wanted;
  }
  void start_all() {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster().start(i).ok());
    for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(wait_ready(i));
  }
  std::string meta_dir() { return dir() + "/meta"; }
  /// Files only: the processes' sockets are none of the copy's business.
  static void copy_files(const std::string& from, const std::string& to) {
    fs::create_directories(to);
    for (const auto& entry : fs::directory_iterator(from))
      if (entry.is_regular_file()) fs::copy(entry.path(), to + "/" + entry.path().filename().string());
  }
  void restore(const std::string& copy) {
    fs::remove_all(meta_dir());
    copy_files(copy, meta_dir());
  }
};

TEST_F(RangeCommandsTest, ListShowAndVerifyTellTheTruthAndNameAReplicaThatDiffers) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(200));
  const Finished listed = ask("range ls --format=json");
  ASSERT_EQ(listed.code, 0) << listed.output;
  bool found = false;
  for (const json::value& range : json_of(listed).as_array()) {
    if (range.at("database").as_string() != "app") continue;
    found = true;
    EXPECT_EQ(range.at("insync").as_array().size(), 3U);
    EXPECT_GE(range.at("durable_lsn").to_number<std::uint64_t>(), 201U);
    EXPECT_GE(range.at("size_bytes").to_number<std::uint64_t>(), 4096U);
    EXPECT_EQ(range.at("trouble").as_string(), "");
    EXPECT_TRUE(range.at("clean").as_bool());
  }
  EXPECT_TRUE(found) << listed.output;
  EXPECT_NE(ask("range ls").output.find("leaseholder"), std::string::npos);
  EXPECT_NE(ask("range ls --format=csv --database=app").output.find("\napp,"), std::string::npos);
  const json::object shown = show("app");
  ASSERT_EQ(shown.at("replicas").as_array().size(), 3U);
  int leaders = 0;
  for (const json::value& replica : shown.at("replicas").as_array()) {
    leaders += replica.at("role").as_string() == "leaseholder" ? 1 : 0;
    EXPECT_EQ(replica.at("log_end_lsn"), shown.at("replicas").at(0).at("log_end_lsn"));
    EXPECT_EQ(replica.at("accepted").at("cfg"), shown.at("cfg"));
  }
  EXPECT_EQ(leaders, 1);
  EXPECT_EQ(ask("range show no_such_database").code, 1);

  {  // while clients write
    std::atomic<bool> stop{false};
    std::jthread writer([&] {
      auto app = connect(1, "app");
      for (int i = 1000; !stop; ++i) must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ", 'meanwhile')");
    });
    const Finished verified = ask("range verify");
    stop = true;
    EXPECT_EQ(verified.code, 0) << verified.output;
    EXPECT_NE(verified.output.find("0 differ, 0 not compared"), std::string::npos) << verified.output;
  }

  const int victim = (leaseholder_of("app") + 1) % 3;
  const std::string file = cluster().store(victim) + "/ranges/" + std::to_string(range_of("app")) + "/db";
  // Recovery writes again what lies behind the checkpoint mark: wait until that is nothing.
  const std::string id = cluster().facts(victim)->node.to_string();
  ASSERT_TRUE(cluster()
                  .wait_until("everything applied", 30s,
                              [&] {
                                const json::object shown_again = show("app");
                                for (const json::value& replica : shown_again.at("replicas").as_array())
                                  if (std::to_string(replica.at("node").to_number<int>()) == id)
                                    return replica.at("applied_lsn") == shown_again.at("durable_lsn");
                                return false;
                              })
                  .ok());
  const auto stopped = cluster().terminate(victim, 30s);
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(*stopped, 0) << cluster().log_tail(victim);
  {
    std::fstream db(file, std::ios::in | std::ios::out | std::ios::binary);
    db.seekg(4096 + 2000);
    const char byte = static_cast<char>(db.get() ^ 1);
    db.seekp(4096 + 2000);
    db.put(byte);
    ASSERT_TRUE(db.good()) << file;
  }
  ASSERT_TRUE(cluster().start(victim).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(victim));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const Finished differs = ask("range verify app", victim);
  EXPECT_EQ(differs.code, 3) << differs.output;
  const std::string named = "the replica on node " + id + " differs";
  EXPECT_NE(differs.output.find(named), std::string::npos) << differs.output;
}

TEST_F(RangeCommandsTest, UnsafeRecoveryIsRefusedWhileItIsNotNeededAndThenLosesOnlyWhatItSaid) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(20));
  const std::string from = " --from-replica=" + cluster().facts(2)->node.to_string();
  EXPECT_EQ(ask("range recover app" + from).code, 2);
  const Finished needless = ask("range recover app --unsafe --yes" + from);
  EXPECT_EQ(needless.code, 1);
  EXPECT_NE(needless.output.find("nothing is to be done"), std::string::npos) << needless.output;

  // Node 3 stays behind as a learner; then both in-sync replicas are gone.
  cluster().kill_node(2);
  {
    auto app = connect(0, "app");
    add_rows(app, 21, 30);
  }
  ASSERT_TRUE(cluster()
                  .wait_until("S of two", 30s,
                              [&] {  // the idle range keeps its dead member for a while
                                const auto ranges = cluster().ranges(0);
                                return ranges.ok() && std::ranges::any_of(*ranges, [](const auto& r) {
                                         return r.database == "app" && r.insync.size() == 2;
                                       });
                              })
                  .ok());
  cluster().kill_node(0);
  cluster().kill_node(1);
  ASSERT_TRUE(cluster().start(2).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(2));
  Finished looked;
  ASSERT_TRUE(cluster()
                  .wait_until("a recovery that may be done", 60s,
                              [&] {
                                looked = ask("range recover app --unsafe --dry-run" + from, 2);
                                return looked.code == 0;
                              })
                  .ok())
      << looked.output;
  EXPECT_NE(looked.output.find("every acknowledged write after it is lost"), std::string::npos) << looked.output;
  EXPECT_NE(looked.output.find("dry run: nothing was changed"), std::string::npos);
  EXPECT_EQ(ask("range recover app --unsafe" + from, 2).code, 1) << "nobody confirmed";
  const Finished recovered = ask("range recover app --unsafe --yes" + from, 2);
  ASSERT_EQ(recovered.code, 0) << recovered.output;
  const int rows = std::stoi(value(2, "app", "SELECT count(*) FROM t"));
  EXPECT_GE(rows, 20) << "rows that the learner had";
  EXPECT_LE(rows, 30);
  auto app = connect(2, "app");
  must(app, "INSERT INTO t VALUES (1000, 'after the recovery')");
  EXPECT_FALSE(show("app", 2).at("clean").as_bool());

  // The others come back as learners, give up what they had alone, and become members again.
  for (const int node : {0, 1}) ASSERT_TRUE(cluster().start(node).ok());
  for (const int node : {0, 1}) ASSERT_NO_FATAL_FAILURE(wait_ready(node));
  ASSERT_TRUE(
      cluster()
          .wait_until("three replicas", 60s, [&] { return show("app", 2).at("insync").as_array().size() == 3U; })
          .ok());
  EXPECT_EQ(value(0, "app", "SELECT count(*) FROM t"), std::to_string(rows + 1));
  // A replica that has just stepped back is not comparable (1) until it has applied its log; 3 would be a difference.
  Finished verified;
  EXPECT_TRUE(cluster()
                  .wait_until("replicas that can be compared", 30s,
                              [&] {
                                verified = ask("range verify app", 2);
                                return verified.code != 1;
                              })
                  .ok());
  EXPECT_EQ(verified.code, 0) << verified.output;
}

TEST_F(RangeCommandsTest, StoppedStoresBringBackWhatAnOldCopyOfTheMetadataForgot) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(20));
  for (int i = 0; i < 3; ++i) cluster().kill_node(i);
  copy_files(meta_dir(), dir() + "/copy");
  ASSERT_NO_FATAL_FAILURE(start_all());
  eventually(0, "defaultdb", "CREATE DATABASE late");
  eventually(0, "late", "CREATE TABLE t (id bigint PRIMARY KEY, payload text NOT NULL)");
  eventually(0, "late", "INSERT INTO t VALUES (1, 'late')");
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  const auto killed = cluster().kill_worker(holder);
  ASSERT_TRUE(killed.ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(holder, *killed));
  eventually(0, "app", "INSERT INTO t VALUES (21, 'newer than the copy')");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const std::uint64_t late = range_of("late");
  for (int i = 0; i < 3; ++i) cluster().kill_node(i);
  restore(dir() + "/copy");

  ASSERT_TRUE(cluster().start(0).ok());
  const auto code = cluster().wait_exit(0, 30s);
  ASSERT_TRUE(code.ok()) << "a node started on metadata that had lost state";
  EXPECT_EQ(*code, 3);
  EXPECT_NE(cluster().log_tail(0).find("meta rebuild"), std::string::npos) << cluster().log_tail(0);

  const std::string rebuild = "meta rebuild --meta=" + cluster().meta();
  const Finished partial =
      run_outlast(rebuild + " --dry-run --store=" + cluster().store(0) + " --store=" + cluster().store(1), 60);
  EXPECT_NE(partial.output.find("refuse"), std::string::npos) << partial.output;
  const std::string all = " --store=" + cluster().store(0) + "," + cluster().store(1) + "," + cluster().store(2);
  const Finished written = run_outlast(rebuild + all + " --yes", 60);
  ASSERT_EQ(written.code, 0) << written.output;
  EXPECT_NE(written.output.find("recovered_"), std::string::npos) << written.output;
  const Finished again = run_outlast(rebuild + all, 60);
  EXPECT_EQ(again.code, 0) << again.output;
  EXPECT_NE(again.output.find("nothing is to be written"), std::string::npos) << again.output;

  ASSERT_NO_FATAL_FAILURE(start_all());
  EXPECT_EQ(run_outlast(rebuild + all, 60).code, 1) << "the stores are in use";
  EXPECT_EQ(value(0, "app", "SELECT count(*) FROM t"), "21");
  std::string recovered;
  for (const auto& range : *cluster().ranges(0))
    if (range.range.value == late) recovered = range.database;
  EXPECT_TRUE(recovered.starts_with("recovered_")) << recovered;
  EXPECT_EQ(value(1, recovered, "SELECT payload FROM t"), "late");
  EXPECT_EQ(ask("meta status").code, 0);
}

TEST_F(RangeCommandsTest, LiveNodesRefuseARangeThatTheMetadataForgotAndRebuildIt) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(5));
  {  // an online copy, as a backup of the metadata store would take it
    fs::create_directories(dir() + "/copy");
    std::string file;
    for (const auto& entry : fs::directory_iterator(meta_dir()))
      if (entry.path().filename() == "meta.db") file = entry.path();
    ASSERT_FALSE(file.empty());
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
    const std::string sql = "VACUUM INTO '" + dir() + "/copy/" + fs::path(file).filename().string() + "'";
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  eventually(0, "defaultdb", "CREATE DATABASE late");
  eventually(0, "late", "CREATE TABLE t (id bigint PRIMARY KEY, payload text NOT NULL)");
  eventually(0, "late", "INSERT INTO t VALUES (1, 'late')");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const std::uint64_t late = range_of("late");
  ASSERT_GT(late, 0U);
  for (int i = 0; i < 3; ++i) cluster().kill_node(i);
  restore(dir() + "/copy");
  ASSERT_NO_FATAL_FAILURE(start_all());
  for (int node = 0; node < 3; ++node) ASSERT_NO_FATAL_FAILURE(wait_role(std::to_string(late), node, 0, "refusing"));
  const Finished status = ask("meta status");
  EXPECT_EQ(status.code, 1);
  EXPECT_NE(status.output.find("meta rebuild"), std::string::npos) << status.output;
  const Finished planned = ask("meta rebuild --dry-run");
  EXPECT_EQ(planned.code, 0) << planned.output;
  EXPECT_NE(planned.output.find("dry run"), std::string::npos);
  const Finished written = ask("meta rebuild --yes");
  ASSERT_EQ(written.code, 0) << written.output;
  const std::string name = "recovered_" + std::to_string(late);
  EXPECT_EQ(value(2, name, "SELECT payload FROM t"), "late") << written.output;
  EXPECT_EQ(value(0, "app", "SELECT count(*) FROM t"), "5");
  EXPECT_EQ(ask("meta status").code, 0);
}

}  // namespace
}  // namespace outlast
