#include "meta/embedded.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "tests/support/sim_loop.h"
#include "tests/support/test_dir.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

Txn put(std::string key, std::string value) {
  return {.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}};
}
Txn get(std::string key) {
  return {.compares = {}, .then = {Op::get(std::move(key))}, .otherwise = {}};
}

class EmbeddedTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open(EmbeddedOptions options = {}) {
    auto store = open_embedded(dir_.path(), loop_, options);
    OUTLAST_ASSERT(store.ok());
    return *std::move(store);
  }
  Result<TxnReply> run(Store& store, Txn txn, Duration timeout = 20s) {
    std::optional<Result<TxnReply>> reply;
    store.txn(std::move(txn), timeout, [&](Result<TxnReply> r) { reply = std::move(r); });
    if (!loop_.run_until([&] { return reply.has_value(); })) return Error(Errc::kDeadline, "no answer");
    return *std::move(reply);
  }
  std::vector<fs::path> sockets() {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(dir_.path()))
      if (entry.path().extension() == ".sock") found.push_back(entry.path());
    return found;
  }
  /// This test program again, as another process, running the one helper below.
  pid_t spawn_writer(const char* mode) {
    ::setenv("OUTLAST_META_TEST_DIR", dir_.path().c_str(), 1);
    ::setenv("OUTLAST_META_TEST_MODE", mode, 1);
    const char* argv[] = {"meta_test", "--gtest_also_run_disabled_tests", "--gtest_brief=1",
                          "--gtest_filter=EmbeddedHelper.DISABLED_WritesUntilKilled", nullptr};
    pid_t pid = 0;
    OUTLAST_ASSERT(::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, const_cast<char**>(argv), environ) == 0);
    return pid;
  }
  static int reap(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
  }
  testing_support::TestDir dir_;
  testing_support::SimLoop loop_;
};

/// Not a test: the other process of the tests below.
TEST(EmbeddedHelper, DISABLED_WritesUntilKilled) {
  const char* dir = std::getenv("OUTLAST_META_TEST_DIR");
  ASSERT_NE(dir, nullptr);
  const bool endless = std::string(std::getenv("OUTLAST_META_TEST_MODE")) == "endless";
  testing_support::SimLoop loop;
  auto store = open_embedded(dir, loop);
  ASSERT_TRUE(store.ok()) << store.error().to_string();
  for (int i = 0; endless || i < 100; ++i) {
    bool done = false;
    Txn txn;  // both keys or none: what a crash must not tear
    txn.then = {Op::put("/child/a", std::to_string(i)), Op::put("/child/b", std::to_string(i))};
    (*store)->txn(std::move(txn), 20s, [&](Result<TxnReply> reply) { done = reply.ok(); });
    ASSERT_TRUE(loop.run_until([&] { return done; }));
  }
}

TEST_F(EmbeddedTest, AnotherProcessWritesAndThisOneMissesNothing) {
  auto store = open();
  std::vector<Revision> revisions;
  std::string last;
  store->watch("/child/", [&](const WatchBatch& batch) {
    if (batch.kind == WatchBatch::Kind::kReset) return;
    revisions.push_back(batch.revision);
    last = batch.events.at(0).kv.value;
  });
  ASSERT_TRUE(run(*store, get("/x")).ok());
  const pid_t child = spawn_writer("hundred");
  EXPECT_TRUE(loop_.run_until([&] { return last == "99"; }));
  EXPECT_EQ(reap(child), 0);
  ASSERT_EQ(revisions.size(), 100U);
  for (std::size_t i = 1; i < revisions.size(); ++i) EXPECT_EQ(revisions[i].value, revisions[i - 1].value + 1);
}

TEST_F(EmbeddedTest, AKilledWriterLeavesWholeTransactionsAndNoLock) {
  auto store = open();
  std::string a, b;
  int seen = 0;
  store->watch("/child/", [&](const WatchBatch& batch) {
    for (const Event& event : batch.events) (event.kv.key == "/child/a" ? a : b) = event.kv.value;
    EXPECT_EQ(a, b);
    ++seen;
  });
  for (int round = 0; round < 3; ++round) {
    const int before = seen;
    const pid_t child = spawn_writer("endless");
    EXPECT_TRUE(loop_.run_until([&] { return seen > before + 20; }));
    ::kill(child, SIGKILL);
    reap(child);
    const auto reply = run(*store, put("/mine", std::to_string(round)));
    EXPECT_TRUE(reply.ok());
  }
  store.reset();
  store = open();  // with the recovery of SQLite's WAL
  const auto both = run(*store, {.compares = {}, .then = {Op::get("/child/a"), Op::get("/child/b")}, .otherwise = {}});
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->replies[0].kvs.at(0).value, both->replies[1].kvs.at(0).value);
  EXPECT_EQ(both->replies[0].kvs.at(0).mod_revision, both->replies[1].kvs.at(0).mod_revision);
}

TEST_F(EmbeddedTest, AStoppedWriterFreezesWritesTruthfullyButNotReads) {
  auto store = open();
  ASSERT_TRUE(run(*store, put("/a", "1")).ok());
  std::vector<bool> connection;
  store->on_connection([&](bool connected) { connection.push_back(connected); });
  sqlite3* stopped = nullptr;  // holds the writer lock as a process stopped inside a write would
  ASSERT_EQ(sqlite3_open((dir_.path() / "meta.db").c_str(), &stopped), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(stopped, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(run(*store, put("/a", "2"), 50ms).error().code, Errc::kMetaUnavailable);
  EXPECT_FALSE(store->connected());
  const auto read = run(*store, get("/a"));
  ASSERT_TRUE(read.ok()) << "reads need no lock";
  EXPECT_EQ(read->replies[0].kvs.at(0).value, "1") << "nothing was applied";
  ASSERT_EQ(sqlite3_exec(stopped, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(stopped);
  EXPECT_TRUE(run(*store, put("/a", "3")).ok());
  EXPECT_TRUE(store->connected());
  EXPECT_FALSE(connection.empty());
  EXPECT_FALSE(connection.front());
  EXPECT_TRUE(connection.back());
}

TEST_F(EmbeddedTest, FindsCommitsWhosePokeWasLost) {
  auto writer = open(), reader = open({.poll = 20ms});
  std::string last;
  reader->watch("/a", [&](const WatchBatch& batch) {
    for (const Event& event : batch.events) last = event.kv.value;
  });
  ASSERT_TRUE(run(*reader, get("/a")).ok());
  for (const auto& socket : sockets()) fs::remove(socket);
  ASSERT_TRUE(run(*writer, put("/a", "unheard")).ok());
  EXPECT_TRUE(loop_.run_until([&] { return last == "unheard"; }));
}

TEST_F(EmbeddedTest, PokesMakeAWatchFasterThanItsPolling) {
  auto writer = open(), reader = open({.poll = 1h});
  std::string last;
  bool started = false;
  reader->watch("/a", [&](const WatchBatch& batch) {
    started = true;
    for (const Event& event : batch.events) last = event.kv.value;
  });
  ASSERT_TRUE(loop_.run_until([&] { return started; }));
  ASSERT_TRUE(run(*writer, put("/a", "poked")).ok());
  EXPECT_TRUE(loop_.run_until([&] { return last == "poked"; }));
}

TEST_F(EmbeddedTest, ALaggingWatcherIsResetAfterCompaction) {
  auto writer = open(), lagging = open({.poll = 1h});
  std::vector<WatchBatch> batches;
  lagging->watch("/a", [&](const WatchBatch& batch) { batches.push_back(batch); });
  ASSERT_TRUE(loop_.run_until([&] { return batches.size() == 1; }));
  for (const auto& socket : sockets()) fs::remove(socket);  // deaf: it learns nothing until it works itself
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(run(*writer, put("/a", std::to_string(i))).ok());
  bool compacted = false;
  writer->compact(2, [&](Result<Revision> r) { compacted = r.ok(); });
  ASSERT_TRUE(loop_.run_until([&] { return compacted; }));
  ASSERT_EQ(batches.size(), 1U);
  ASSERT_TRUE(run(*lagging, get("/a")).ok());
  ASSERT_TRUE(loop_.run_until([&] { return batches.size() == 2; }));
  EXPECT_EQ(batches[1].kind, WatchBatch::Kind::kReset);
  EXPECT_EQ(batches[1].state.at(0).value, "9");
}

TEST_F(EmbeddedTest, RemovesTheSocketsOfDeadProcesses) {
  auto store = open();
  const pid_t child = spawn_writer("endless");
  bool wrote = false;
  store->watch("/child/", [&](const WatchBatch& batch) { wrote = wrote || !batch.events.empty(); });
  EXPECT_TRUE(loop_.run_until([&] { return wrote; }));
  ::kill(child, SIGKILL);
  reap(child);
  EXPECT_EQ(sockets().size(), 2U);
  ASSERT_TRUE(run(*store, put("/a", "1")).ok());
  ASSERT_TRUE(run(*store, put("/a", "2")).ok());  // begins after the first has poked
  EXPECT_EQ(sockets().size(), 1U);
}

TEST_F(EmbeddedTest, CommitsWhatWaitsTogether) {
  auto store = open();
  constexpr int kRanges = 333;  // a node's ranges after the loss of their leaseholder
  int answers = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kRanges; ++i)
    store->txn(put("/r/" + std::to_string(i), std::string(400, 'x')), 20s, [&](Result<TxnReply> reply) {
      EXPECT_TRUE(reply.ok());
      ++answers;
    });
  ASSERT_TRUE(loop_.run_until([&] { return answers == kRanges; }));
  const auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty("milliseconds", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  EXPECT_LT(took, 2s) << "one fsync each would take longer on most disks";
}

TEST_F(EmbeddedTest, RefusesWhatItCannotRead) {
  EXPECT_EQ(open_embedded(dir_.path() / "absent", loop_).error().code, Errc::kIo);
  std::ofstream(dir_.path() / "meta.db") << std::string(4096, 'x');
  EXPECT_EQ(open_embedded(dir_.path(), loop_).error().code, Errc::kCorrupt);
  fs::remove(dir_.path() / "meta.db");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir_.path() / "meta.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "CREATE TABLE foreign_table(x)", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(open_embedded(dir_.path(), loop_).error().code, Errc::kCorrupt);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(open_embedded(dir_.path(), loop_).error().code, Errc::kWrongVersion);
  sqlite3_close(db);
}

TEST_F(EmbeddedTest, ManyOpenersOfANewDirectoryAgree) {
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(spawn_writer("hundred"));
  for (const pid_t child : children) EXPECT_EQ(reap(child), 0);
  auto store = open();
  const auto reply = run(*store, get("/child/a"));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->revision.value, 300U) << "every transaction of every process has its revision";
}

}  // namespace
}  // namespace outlast::meta
