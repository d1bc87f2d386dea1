// Walks every write point of random workloads: the process dies there (with or without a power cut), the store is
// opened again, and what comes back must be a prefix of history that contains everything acknowledged.
// Replay a failure: OUTLAST_SEED=<seed> [OUTLAST_CRASH_STEPS=<n>] storage_test --gtest_filter='Crash*'
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "storage/replica_store.h"
#include "storage/testing/fault_disk.h"
#include "storage/testing/local_range.h"

namespace outlast::storage {
namespace {
using testing::FaultDisk;
using testing::LocalSink;
using testing::run_sql;
using testing::TempDir;

const ReplicaIdentity kIdentity{RangeId(7), ReplicaId(1), "00000000-0000-4000-8000-000000000001"};

struct Plan {
  std::uint64_t seed{1};
  int steps{18};
  bool group{false};  ///< Sync every few transactions, as under load, instead of after each.
  StoreOptions options;
};

/// What a run reached: content by LSN when asked for, and what it would have acknowledged.
struct History {
  std::map<std::uint64_t, std::uint32_t> content;
  std::uint64_t acknowledged{0};
};

std::string blob(Random& random, int bytes) {
  std::string hex = "x'";
  for (int i = 0; i < bytes; ++i) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(random.below(256)));
    hex += two;
  }
  return hex + "'";
}

/// One transaction: DML, DDL, savepoints, rollbacks, and ones that spill out of the small cache.
void work(Connection& c, Random& random) {
  const auto id = [&] { return std::to_string(random.below(200)); };
  switch (random.below(11)) {
    case 0:
      run_sql(c, "BEGIN; INSERT INTO t(b) VALUES(" + blob(random, 50) +
                     "); SAVEPOINT s; DELETE FROM t WHERE a%3=0;"
                     "INSERT INTO t(b) SELECT b FROM t LIMIT 30; ROLLBACK TO s; INSERT INTO t(b) VALUES(" +
                     blob(random, 9) + "); COMMIT");
      break;
    case 1:
      run_sql(c, "BEGIN; INSERT INTO t(b) SELECT zeroblob(1500) FROM t LIMIT 50; UPDATE t SET b=" + blob(random, 300) +
                     " WHERE a%5=1; ROLLBACK");
      break;
    case 2:
      run_sql(c, "BEGIN");
      for (int i = 0; i < 20; ++i) run_sql(c, "INSERT INTO t(b) VALUES(" + blob(random, 1100) + ")");
      run_sql(c, "UPDATE t SET b=" + blob(random, 300) + " WHERE a%7=2; COMMIT");
      break;
    case 3:
      run_sql(c, "DELETE FROM t WHERE a%4=" + std::to_string(random.below(4)));
      break;
    case 4: {
      const std::string name = "x" + std::to_string(random.below(3));
      if (run_sql(c, "CREATE TABLE " + name + "(p, q); CREATE INDEX i" + name + " ON " + name + "(q)") != SQLITE_OK)
        run_sql(c, "DROP TABLE " + name);
      break;
    }
    case 5:
      run_sql(c, "PRAGMA user_version=" + id());
      break;
    case 6:
      run_sql(c, "UPDATE t SET b=" + blob(random, 10) + " WHERE a=" + id());
      break;
    default:
      run_sql(c, "INSERT INTO t(b) VALUES(" + blob(random, 30 + static_cast<int>(random.below(600))) +
                     "); INSERT OR REPLACE INTO u VALUES(" + id() + "," + id() + ")");
  }
}

/// Notes the content behind every commit of `writer`, as `reader` sees it.
struct Recorder {
  LocalSink* sink;
  sqlite3* reader;
  History* history;
  static int on_commit(void* self, sqlite3*, const char*, int) {
    const auto* r = static_cast<Recorder*>(self);
    r->history->content[r->sink->assigned().value] = testing::content_digest(r->reader);
    return SQLITE_OK;
  }
};

/// Runs the plan on `disk` until it ends or the disk dies. With `history->content` wanted, `record` is true.
Result<void> run(Disk& disk, const std::string& path, const Plan& plan, bool record, History& history) {
  SeededRandom random(plan.seed);
  ASSIGN_OR_RETURN(const auto store, open_replica_store(disk, path, plan.options));
  ASSIGN_OR_RETURN(const auto replica, store->create(kIdentity));
  LocalSink sink(*replica);
  std::shared_ptr<Database> database;
  std::unique_ptr<Connection> writer, reader;
  Recorder recorder{&sink, nullptr, &history};
  const auto lead = [&]() -> Result<void> {
    ASSIGN_OR_RETURN(database, replica->open_database(sink));
    ASSIGN_OR_RETURN(writer, database->connect());
    ASSIGN_OR_RETURN(reader, database->connect());
    recorder.reader = reader->raw();
    if (record) sqlite3_wal_hook(writer->raw(), Recorder::on_commit, &recorder);
    run_sql(*writer, "PRAGMA cache_size=8");
    return {};
  };
  const auto settle = [&](bool flush) -> Result<void> {
    if (flush) TRY(sink.flush());
    history.acknowledged = sink.durable().value;
    return {};
  };
  TRY(lead());
  history.content[0] = testing::content_digest(reader->raw());
  for (const char* ddl : {"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", "CREATE TABLE u(k INTEGER PRIMARY KEY, v)",
                          "CREATE INDEX tb ON t(b)"}) {
    run_sql(*writer, ddl);
    TRY(settle(!plan.group));
  }
  for (int i = 0; i < plan.steps; ++i) {
    work(*writer, random);
    TRY(settle(!plan.group || i % 4 == 3));
    if (i % 9 == 8) {
      auto mark = database->checkpoint();
      history.acknowledged = sink.durable().value;
      if (!mark.ok()) return std::move(mark).error();
    }
    if (i == plan.steps / 2) {  // the lease moves away, the replica applies as a backup, the lease comes back
      writer.reset(), reader.reset(), database.reset();
      TRY(settle(true));
      TRY(replica->apply_to(sink.durable()));
      TRY(lead());
    }
  }
  return settle(true);
}

/// Opens what a crash left, as a leader would, and judges it. "" or what is wrong.
std::string judge(Disk& disk, const std::string& path, const Plan& plan, const History& truth, const History& reached,
                  bool go_on) {
  auto store = open_replica_store(disk, path, plan.options);
  if (!store.ok()) return "store: " + store.error().to_string();
  if ((*store)->list().empty()) return reached.acknowledged == 0 ? "" : "the replica is gone";
  auto replica = (*store)->open(kIdentity.range);
  if (!replica.ok()) return "open: " + replica.error().to_string();
  const Lsn end = (*replica)->log_end().lsn;
  if (end.value < reached.acknowledged)
    return "recovered " + end.to_string() + " of " + std::to_string(reached.acknowledged) + " acknowledged";
  LocalSink sink(**replica);
  auto database = (*replica)->open_database(sink);
  if (!database.ok()) return "database: " + database.error().to_string();
  auto connection = (*database)->connect();
  if (!connection.ok()) return "connect: " + connection.error().to_string();
  if (const std::string ok = testing::query((*connection)->raw(), "PRAGMA integrity_check"); ok != "ok")
    return "integrity: " + ok;
  const auto wanted = truth.content.find(end.value);
  if (wanted == truth.content.end()) return "no content known at " + end.to_string();
  if (testing::content_digest((*connection)->raw()) != wanted->second) return "other content at " + end.to_string();
  if (!go_on) return "";
  run_sql(**connection, "CREATE TABLE after_crash(x)");
  if (!sink.flush().ok() || !(*database)->checkpoint().ok()) return "cannot go on after recovery";
  return "";
}

/// One crash at `point`, half of them followed by another one during recovery.
std::string crash_once(const Plan& plan, std::uint64_t point, const History& truth) {
  const TempDir dir;
  History reached;
  SeededRandom random(plan.seed * 1'000'003 + point);
  {
    FaultDisk disk;
    disk.crash_at(point);
    if (run(disk, dir.path(), plan, false, reached).ok() || !disk.crashed()) return "";
    disk.lose_unsynced(random);
  }
  if (random.below(2) == 0) {
    FaultDisk disk;
    disk.crash_at(1 + random.below(30));
    const std::string wrong = judge(disk, dir.path(), plan, truth, reached, false);
    if (!disk.crashed()) return wrong;
    disk.lose_unsynced(random);
  }
  const auto disk = make_posix_disk();
  return judge(*disk, dir.path(), plan, truth, reached, true);
}

/// Number of points and the content at every LSN.
std::uint64_t reference(const Plan& plan, History& truth) {
  const TempDir dir;
  FaultDisk disk;
  const auto ran = run(disk, dir.path(), plan, true, truth);
  EXPECT_TRUE(ran.ok()) << ran.error().to_string();
  return disk.points();
}

TEST(Crash, RecoversAPrefixWithEverythingAcknowledgedFromEveryWritePoint) {
  const std::uint64_t seed = testing::seed_or(1);
  const char* text = std::getenv("OUTLAST_CRASH_STEPS");  // more steps, more points: for long runs
  const int steps = text != nullptr ? std::atoi(text) : 9;
  for (const bool group : {false, true}) {
    const Plan plan{
        .seed = seed + (group ? 1 : 0),
        .steps = group ? steps + 12 : steps,
        .group = group,
        .options = {.log_retain = [] { return LogRetention::Limits{0, {}}; }, .log_segment_bytes = 100'000}};
    History truth;
    const std::uint64_t points = reference(plan, truth);
    ASSERT_GT(points, 100U) << "the workload has become too tame";
    std::uint64_t bad = 0;
    for (std::uint64_t point = 1; point <= points; ++point)
      if (const std::string wrong = crash_once(plan, point, truth); !wrong.empty() && ++bad < 5)
        ADD_FAILURE() << "OUTLAST_SEED=" << seed << " group " << group << " point " << point << ": " << wrong;
    std::printf("seed %llu %s: %llu LSNs, %llu crash points, %llu bad\n", static_cast<unsigned long long>(seed),
                group ? "group" : "single", static_cast<unsigned long long>(truth.content.rbegin()->first),
                static_cast<unsigned long long>(points), static_cast<unsigned long long>(bad));
  }
}

/// How many of some crash points go wrong with a bug planted.
std::uint64_t bad_points(const StoreOptions::Planted& planted, std::uint64_t wanted) {
  std::uint64_t bad = 0;
  for (std::uint64_t seed = 1; seed <= 6 && bad < wanted; ++seed) {
    Plan plan{.seed = seed,
              .steps = 18,
              .group = true,
              .options = {.log_retain = [] { return LogRetention::Limits{0, {}}; }, .log_segment_bytes = 100'000}};
    History truth;
    const std::uint64_t points = reference(plan, truth);
    plan.options.planted = planted;
    for (std::uint64_t point = points / 3; point <= points && bad < wanted; point += 7)
      if (!crash_once(plan, point, truth).empty()) ++bad;
  }
  return bad;
}

TEST(Crash, WouldFindAReplayThatTakesTheFirstImageOfAPage) {
  EXPECT_GT(bad_points({.image = ImageChoice::kFirst}, 1), 0U);
}

TEST(Crash, WouldFindAMarkThatMovesBeforeTheDatabaseFileIsSynced) {
  EXPECT_GT(bad_points({.mark_before_sync = true}, 1), 0U);
}

TEST(Crash, WouldFindFramesThatAreTakenInWriteOrder) {
  EXPECT_GT(bad_points({.frames_as_written = true}, 1), 0U);
}

}  // namespace
}  // namespace outlast::storage
