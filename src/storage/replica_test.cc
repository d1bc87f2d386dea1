#include "storage/replica.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "storage/incoming.h"
#include "storage/log_writer.h"
#include "storage/replica_store.h"
#include "storage/template_db.h"
#include "storage/testing/fault_disk.h"
#include "storage/testing/local_range.h"

namespace outlast::storage {
namespace {
using testing::FaultDisk;
using testing::LocalSink;
using testing::query;
using testing::run_sql;
using testing::TempDir;

ReplicaIdentity identity(std::uint64_t range, const std::string& store = "store-a") {
  return {RangeId(range), ReplicaId(1), store};
}

/// A leading replica on a disk with faults, and room for a second one that follows.
class ReplicaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(a());
    std::filesystem::create_directories(b());
    store_ = open_store(a());
    replica_ = std::move(store_->create(identity(7))).value();
    lead();
  }
  std::string a() const { return dir_.path() + "/a"; }
  std::string b() const { return dir_.path() + "/b"; }
  std::unique_ptr<ReplicaStore> open_store(const std::string& path) {
    auto store = open_replica_store(disk_, path, options_);
    EXPECT_TRUE(store.ok()) << store.error().to_string();
    return std::move(store).value();
  }
  void lead() {
    sink_ = std::make_unique<LocalSink>(*replica_);
    auto opened = replica_->open_database(*sink_);
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    database_ = *opened;
    connection_ = std::move(database_->connect()).value();
  }
  void step_down() { connection_.reset(), database_.reset(); }
  void fill(int rows) {
    run_sql(*connection_, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
    for (int i = 0; i < rows; ++i)
      ASSERT_EQ(run_sql(*connection_, "INSERT INTO t(b) VALUES(randomblob(900))"), SQLITE_OK);
  }
  std::string count() { return query(connection_->raw(), "SELECT count(*) FROM t"); }

  const TempDir dir_;
  FaultDisk disk_;
  StoreOptions options_;
  std::unique_ptr<ReplicaStore> store_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<LocalSink> sink_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ReplicaTest, BeginsAsASoundEmptyDatabase) {
  EXPECT_EQ(query(connection_->raw(), "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(query(connection_->raw(), "PRAGMA synchronous"), "2");
  EXPECT_EQ(query(connection_->raw(), "PRAGMA foreign_keys"), "1");
  EXPECT_EQ(query(connection_->raw(), "PRAGMA wal_autocheckpoint"), "0");
}

TEST_F(ReplicaTest, GivesEachCommitItsLsnAndAReadNone) {
  fill(0);
  EXPECT_EQ(connection_->take_commit_lsn(), Lsn(1));
  EXPECT_EQ(connection_->take_commit_lsn(), Lsn(0));
  query(connection_->raw(), "SELECT * FROM t");
  run_sql(*connection_, "BEGIN; INSERT INTO t(b) VALUES(1); ROLLBACK");
  run_sql(*connection_, "BEGIN IMMEDIATE; COMMIT");
  EXPECT_EQ(connection_->take_commit_lsn(), Lsn(0));
  connection_->set_request({.gateway = 5, .sequence = 6, .changes = 1, .tag = "INSERT"});
  run_sql(*connection_, "INSERT INTO t(b) VALUES(1)");
  EXPECT_EQ(connection_->take_commit_lsn(), Lsn(2));
  ASSERT_TRUE(sink_->flush().ok());
  EXPECT_EQ(decode(replica_->read(Lsn(1), 1)->front()->payload)->request.sequence, 6U);
}

TEST_F(ReplicaTest, RollsBackACommitThatTheSinkRefusesAndSaysWhy) {
  fill(3);
  sink_->refuse(Error(Errc::kMoving, "the gate is closed"));
  EXPECT_NE(run_sql(*connection_, "INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(connection_->take_commit_error().code, Errc::kMoving);
  EXPECT_EQ(connection_->take_commit_lsn(), Lsn(4)) << "of the last commit that went through";
  EXPECT_EQ(count(), "3");
  sink_->refuse({});
  EXPECT_EQ(run_sql(*connection_, "INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  lead();
  EXPECT_EQ(count(), "4") << "the refused frames must not come back from the old WAL";
}

TEST_F(ReplicaTest, RefusesATransactionAboveTheLimit) {
  step_down();
  replica_.reset();
  options_.txn_bytes_max = 20 * kPageBytes;
  store_ = open_store(a());
  replica_ = std::move(store_->open(RangeId(7))).value();
  lead();
  fill(1);
  EXPECT_NE(run_sql(*connection_, "INSERT INTO t(b) VALUES(zeroblob(100000))"), SQLITE_OK);
  EXPECT_EQ(connection_->take_commit_error().code, Errc::kTooLarge);
  EXPECT_EQ(count(), "1");
}

TEST_F(ReplicaTest, NeverCopiesFramesThatAreNotDurable) {
  fill(20);
  const std::string before = *read_file(disk_, a() + "/ranges/7/db");
  sink_->refuse_durable(Error(Errc::kRangeUnavailable, "a backup is silent"));
  EXPECT_EQ(database_->checkpoint().error().code, Errc::kRangeUnavailable);
  run_sql(*connection_, "PRAGMA wal_checkpoint(TRUNCATE)");
  EXPECT_EQ(*read_file(disk_, a() + "/ranges/7/db"), before);
  EXPECT_EQ(replica_->applied(), Lsn(0));
  EXPECT_FALSE(replica_->damaged());
  sink_->refuse_durable({});
  EXPECT_EQ(*database_->checkpoint(), Lsn(21));
  EXPECT_EQ(database_->wal_bytes(), 0U);
  EXPECT_NE(*read_file(disk_, a() + "/ranges/7/db"), before);
}

TEST_F(ReplicaTest, LetsNobodyLeaveTheWal) {
  fill(5);
  EXPECT_NE(query(connection_->raw(), "PRAGMA journal_mode=delete"), "delete");
  EXPECT_EQ(count(), "5");
}

TEST_F(ReplicaTest, KeepsTheMarkWhileAReaderHoldsFramesBack) {
  fill(3);
  const auto reader = std::move(database_->connect()).value();
  run_sql(*reader, "BEGIN; SELECT count(*) FROM t");
  fill(3);
  EXPECT_EQ(*database_->checkpoint(), Lsn(0));
  EXPECT_GT(database_->wal_bytes(), 0U);
  const auto held = replica_->digest();  // from a copy: the reader is still in the way
  run_sql(*reader, "COMMIT");
  EXPECT_EQ(*database_->checkpoint(), Lsn(7));
  const auto digest = replica_->digest();
  ASSERT_TRUE(held.ok() && digest.ok());
  EXPECT_EQ(held->crc, digest->crc);
  EXPECT_EQ(held->at, digest->at);
}

TEST_F(ReplicaTest, BeginsALongWalAnewAlthoughCommitsNeverPause) {
  fill(1);
  const auto generation = [this] { return read_file(disk_, a() + "/ranges/7/db-wal", 1U << 30)->substr(12, 4); };
  const std::string first = generation();
  run_sql(*connection_, "CREATE TABLE big(b)");
  run_sql(*connection_, "INSERT INTO big VALUES (zeroblob(70000000))");
  // The commit comes while the checkpoint is on its way: SQLite alone would go on at the end of the old frames.
  sink_->meanwhile([this] { fill(1); });
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_EQ(replica_->applied(), sink_->assigned());
  EXPECT_EQ(generation(), first);
  fill(1);
  EXPECT_NE(generation(), first) << "the next commit begins the file again";
  EXPECT_EQ(count(), "3");
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_EQ(query(connection_->raw(), "PRAGMA integrity_check"), "ok");
}

TEST_F(ReplicaTest, LetsALongWalBeWhileAReaderNeedsIt) {
  fill(1);
  run_sql(*connection_, "CREATE TABLE big(b)");
  run_sql(*connection_, "INSERT INTO big VALUES (zeroblob(70000000))");
  const auto reader = std::move(database_->connect()).value();
  run_sql(*reader, "BEGIN; SELECT count(*) FROM t");
  fill(1);
  ASSERT_TRUE(database_->checkpoint().ok());
  fill(1);
  EXPECT_EQ(query(reader->raw(), "SELECT count(*) FROM t"), "1");
  run_sql(*reader, "COMMIT");
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_EQ(replica_->applied(), sink_->assigned());
}

TEST_F(ReplicaTest, IsByteEqualToAReplicaThatOnlyGotTheLog) {
  fill(60);
  run_sql(*connection_, "DELETE FROM t WHERE a%3=0; CREATE INDEX i ON t(b)");
  ASSERT_TRUE(sink_->flush().ok());
  const auto others = open_store(b());
  const auto other = std::move(others->create(identity(7, "store-b"))).value();
  ASSERT_TRUE(other->append(*replica_->read(Lsn(0), 1 << 30)).ok());
  ASSERT_TRUE(other->apply_to(Lsn(1'000)).ok());
  EXPECT_EQ(other->applied(), Lsn(0)) << "never ahead of its own synced log";
  ASSERT_TRUE(other->sync().ok());
  ASSERT_TRUE(other->apply_to(Lsn(30)).ok());
  EXPECT_EQ(other->applied(), Lsn(30));
  ASSERT_TRUE(other->apply_to(Lsn(1'000)).ok());
  const auto here = replica_->digest(), there = other->digest();
  ASSERT_TRUE(here.ok() && there.ok());
  EXPECT_EQ(here->at, there->at);
  EXPECT_EQ(here->crc, there->crc);
  EXPECT_EQ(here->file_size, there->file_size);
}

TEST_F(ReplicaTest, TellsThatItMayHoldLaterPagesAfterReopening) {
  fill(4);
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  replica_.reset();
  replica_ = std::move(store_->open(RangeId(7))).value();
  EXPECT_EQ(replica_->digest().error().code, Errc::kInvalidState);
  EXPECT_EQ(std::move(replica_->snapshot()).value()->point(), SnapshotPoint({}, Lsn(5)));
  ASSERT_TRUE(replica_->apply_to(Lsn(5)).ok());
  EXPECT_TRUE(std::move(replica_->snapshot()).value()->point().exact());
  EXPECT_TRUE(replica_->digest().ok());
  EXPECT_EQ(replica_->cut_after(Lsn(3)).error().code, Errc::kInvalidState) << "below what the file holds";
}

TEST_F(ReplicaTest, SurvivesAFullDiskUnderALeader) {
  fill(3);
  disk_.set_full(true);
  EXPECT_NE(run_sql(*connection_, "INSERT INTO t(b) VALUES(randomblob(9000))"), SQLITE_OK);
  disk_.set_full(false);
  EXPECT_EQ(count(), "3");
  fill(1);
  EXPECT_TRUE(database_->checkpoint().ok());
}

TEST_F(ReplicaTest, ShipsASnapshotInPiecesThroughRestartsWhileCommitsGoOn) {
  fill(200);
  const auto snapshot = std::move(replica_->snapshot()).value();
  const LogPosition at = snapshot->position();
  EXPECT_EQ(at.lsn, Lsn(201));
  fill(20);
  std::unique_ptr<ReplicaStore> others = open_store(b());
  const ReplicaIdentity there = identity(7, "store-b");
  std::uint64_t offset = 0;
  int restarts = 0;
  while (offset < snapshot->file_size()) {
    const auto piece = snapshot->read(offset, 30'000);
    const auto wanted = others->receive_snapshot(there, at, snapshot->file_size(), offset, *piece);
    ASSERT_TRUE(wanted.ok()) << wanted.error().to_string();
    offset = *wanted;
    if (offset > 100'000 && restarts++ == 0) {
      EXPECT_EQ(others->finish_snapshot(there, at).error().code, Errc::kInvalidState);
      others = open_store(b());
      offset = std::move(others->receive_snapshot(there, at, snapshot->file_size(), 0, "")).value();
    }
  }
  auto other = std::move(others->finish_snapshot(there, at)).value();
  EXPECT_EQ(other->applied(), at.lsn);
  EXPECT_EQ(other->log_end(), at);
  ASSERT_TRUE(sink_->flush().ok());
  ASSERT_TRUE(other->append(*replica_->read(at.lsn, 1 << 30)).ok());
  ASSERT_TRUE(other->sync().ok());
  ASSERT_TRUE(other->apply_to(Lsn(1'000)).ok());
  EXPECT_EQ(other->digest()->crc, replica_->digest()->crc);
}

TEST_F(ReplicaTest, SendsTheFileItselfAndACopyOnceACheckpointChangesIt) {
  fill(100);
  ASSERT_TRUE(sink_->flush().ok());
  const std::string file = a() + "/ranges/7/db", copy = a() + "/ranges/7/snapshot.1";
  auto snapshot = std::move(replica_->snapshot()).value();
  const std::string before = read_file(disk_, file).value();
  EXPECT_EQ(snapshot->position().lsn, Lsn(101));
  EXPECT_EQ(snapshot->read(0, 50'000).value(), before.substr(0, 50'000));
  EXPECT_FALSE(exists(disk_, copy));
  fill(50);
  EXPECT_FALSE(exists(disk_, copy)) << "commits alone do not change the file";
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_NE(read_file(disk_, file).value(), before);
  EXPECT_TRUE(exists(disk_, copy));
  EXPECT_EQ(snapshot->read(0, before.size() + 1).value(), before);
  snapshot.reset();
  EXPECT_FALSE(exists(disk_, copy));
}

TEST_F(ReplicaTest, ASnapshotOutlivesTheLeadershipThatItBeganIn) {
  fill(100);
  ASSERT_TRUE(sink_->flush().ok());
  const auto snapshot = std::move(replica_->snapshot()).value();
  const std::string before = read_file(disk_, a() + "/ranges/7/db").value();
  fill(50);
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  ASSERT_TRUE(replica_->apply_to(Lsn(1'000)).ok());
  EXPECT_EQ(snapshot->read(0, before.size() + 1).value(), before);
}

TEST_F(ReplicaTest, ASnapshotWithoutRoomForItsCopyFailsAndTheCheckpointDoesNot) {
  fill(100);
  ASSERT_TRUE(sink_->flush().ok());
  const auto snapshot = std::move(replica_->snapshot()).value();
  fill(1);
  ASSERT_TRUE(sink_->flush().ok());
  const std::uint64_t next = disk_.points() + 1;
  disk_.fail_at(next, Errc::kDiskFull);  // the first thing that a checkpoint does now is to copy
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_EQ(snapshot->read(0, 1'000).error().code, Errc::kDiskFull);
  EXPECT_TRUE(replica_->snapshot().ok());
}

TEST_F(ReplicaTest, SnapshotsArriveSideBySideAndGoOnFromTheirLastSync) {
  fill(200);
  const auto snapshot = std::move(replica_->snapshot()).value();
  const std::string file = *snapshot->read(0, snapshot->file_size());
  ASSERT_GT(file.size(), 12 * kPageBytes);
  const std::string root = b();
  std::filesystem::create_directories(root);
  const auto take = [&](Incoming& incoming, std::uint64_t range, std::uint64_t from, std::uint64_t to) {
    return incoming
        .receive(identity(range, "store-b"), snapshot->position(), file.size(), from,
                 std::string_view(file).substr(from, to - from))
        .value();
  };
  {
    Incoming incoming(disk_, root, 4 * kPageBytes);
    for (std::uint64_t at = 0; at < 10 * kPageBytes; at += kPageBytes)
      for (const std::uint64_t range : {7U, 8U}) EXPECT_EQ(take(incoming, range, at, at + kPageBytes), at + kPageBytes);
  }
  Incoming incoming(disk_, root, 4 * kPageBytes);
  for (const std::uint64_t range : {7U, 8U}) {
    EXPECT_EQ(take(incoming, range, 0, 0), 8 * kPageBytes) << "what came after the last sync is not trusted";
    EXPECT_EQ(take(incoming, range, 8 * kPageBytes, file.size()), file.size());
    const auto dir = incoming.seal(identity(range, "store-b"), snapshot->position());
    ASSERT_TRUE(dir.ok()) << dir.error().to_string();
    EXPECT_EQ(read_file(disk_, *dir + "/db").value(), file);
  }
}

TEST_F(ReplicaTest, ASnapshotThatHoldsLaterPagesIsWholeOnceItsLogHasReachedThem) {
  fill(6);
  ASSERT_TRUE(database_->checkpoint().ok());
  fill(30);
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  lead();  // writes the whole log into the file, and the mark stays
  step_down();
  replica_.reset();
  replica_ = std::move(store_->open(RangeId(7))).value();
  const auto snapshot = std::move(replica_->snapshot()).value();
  const SnapshotPoint point = snapshot->point();
  ASSERT_EQ(point.at.lsn, Lsn(7));
  ASSERT_EQ(point.holds, Lsn(37));
  std::unique_ptr<ReplicaStore> others = open_store(b());
  const std::string file = *snapshot->read(0, snapshot->file_size());
  ASSERT_TRUE(others->receive_snapshot(identity(7, "store-b"), point, file.size(), 0, file).ok());
  EXPECT_FALSE(others->finish_snapshot(identity(7, "store-b"), point.at).ok()) << "it is not exact";
  auto other = std::move(others->finish_snapshot(identity(7, "store-b"), point)).value();
  EXPECT_EQ(other->applied(), Lsn(7));
  for (const std::uint64_t upto : {20U, 37U}) {
    EXPECT_EQ(other->digest().error().code, Errc::kInvalidState) << "before " << upto;
    std::vector<LogEntryPtr> entries = *replica_->read(other->log_end().lsn, 1 << 30);
    std::erase_if(entries, [upto](const LogEntryPtr& entry) { return entry->at.lsn > Lsn(upto); });
    ASSERT_TRUE(other->append(entries).ok() && other->sync().ok() && other->apply_to(Lsn(upto)).ok());
    other.reset();
    other = std::move(others->open(RangeId(7))).value();
  }
  ASSERT_TRUE(replica_->apply_to(Lsn(37)).ok());
  ASSERT_TRUE(other->digest().ok());
  EXPECT_EQ(other->digest()->crc, replica_->digest()->crc);
}

TEST_F(ReplicaTest, ExchangesAReplicaForASnapshotWhereverItIsInterrupted) {
  fill(5);
  const auto snapshot = std::move(replica_->snapshot()).value();
  const std::string file = *snapshot->read(0, snapshot->file_size());
  const ReplicaIdentity there{RangeId(7), ReplicaId(2), "store-b"};
  placement::RangeConfig config;
  config.range = RangeId(7), config.epoch = Epoch(9);
  for (std::uint64_t point = 1;; ++point) {
    const TempDir dir;
    SeededRandom random(point);
    bool done;
    {
      FaultDisk disk;
      auto store = std::move(open_replica_store(disk, dir.path())).value();
      ASSERT_TRUE(std::move(store->create(identity(7, "store-b"))).value()->record_config(config).ok());
      disk.crash_at(disk.points() + point);
      auto got = store->receive_snapshot(there, snapshot->position(), file.size(), 0, file);
      done = got.ok() && store->finish_snapshot(there, snapshot->position()).ok();
      if (!done) disk.lose_unsynced(random);
    }
    const auto disk = make_posix_disk();
    auto store = open_replica_store(*disk, dir.path());
    ASSERT_TRUE(store.ok()) << point << store.error().to_string();
    auto replica = (*store)->open(RangeId(7));
    ASSERT_TRUE(replica.ok()) << point << replica.error().to_string();
    const bool is_new = (*store)->list().front().replica == ReplicaId(2);
    EXPECT_TRUE(is_new || !done);
    EXPECT_EQ((*replica)->applied(), is_new ? Lsn(6) : Lsn(0)) << point;
    EXPECT_EQ((*replica)->recorded_config()->epoch, Epoch(9)) << point << ": the highest epoch was forgotten";
    EXPECT_TRUE((*replica)->digest().ok());
    if (done) break;
    ASSERT_LT(point, 100U);
  }
}

TEST_F(ReplicaTest, OpensOncePerStoreAndSaysWhatIsMissing) {
  EXPECT_EQ(store_->open(RangeId(7)).error().code, Errc::kInvalidState);
  EXPECT_EQ(store_->open(RangeId(8)).error().code, Errc::kNotFound);
  EXPECT_EQ(replica_->open_database(*sink_).error().code, Errc::kInvalidState);
  EXPECT_EQ(replica_->apply_to(Lsn(1)).error().code, Errc::kInvalidState);
  step_down();
  replica_.reset();
  EXPECT_EQ(store_->create(identity(7)).error().code, Errc::kAlreadyExists);
  ASSERT_TRUE(store_->remove(RangeId(7)).ok());
  EXPECT_TRUE(store_->list().empty());
  EXPECT_TRUE(store_->create(identity(7)).ok());
}

TEST_F(ReplicaTest, FilesOfARemovedReplicaGoLaterAndNobodySeesThemMeanwhile) {
  step_down();
  replica_.reset();
  std::vector<Task> later;
  options_.later = [&](Task task) { later.push_back(std::move(task)); };
  store_ = open_store(a());
  const auto files = [&] { return disk_.list(a() + "/ranges")->size(); };
  ASSERT_TRUE(store_->remove(RangeId(7)).ok());
  EXPECT_TRUE(store_->list().empty());
  EXPECT_EQ(files(), 1U);
  ASSERT_TRUE(store_->create(identity(7)).ok()) << "a new one may come before the old one's files are gone";
  EXPECT_EQ(files(), 2U);
  ASSERT_EQ(later.size(), 1U);
  later[0]();
  EXPECT_EQ(files(), 1U);
  ASSERT_TRUE(store_->remove(RangeId(7)).ok());
  store_ = open_store(a());  // a process that ended before it came to that
  EXPECT_EQ(files(), 0U);
  EXPECT_TRUE(store_->list().empty());
}

TEST_F(ReplicaTest, RefusesCommitsOnceFenced) {
  fill(2);
  database_->fence();
  EXPECT_NE(run_sql(*connection_, "INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(connection_->take_commit_error().code, Errc::kFenced);
  EXPECT_EQ(database_->connect().error().code, Errc::kFenced);
}

TEST_F(ReplicaTest, ACommitThatSqliteDropsBehindItsLsnComesBackFromTheLog) {
  fill(0);
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  replica_.reset();
  options_.planted.wal_index_regions = 1;  // memory for some 4,000 frames
  store_ = open_store(a());
  replica_ = std::move(store_->open(RangeId(7))).value();
  lead();
  int committed = 0, code = SQLITE_OK;
  for (; committed < 100 && code == SQLITE_OK; ++committed)
    code = run_sql(*connection_, "INSERT INTO t(b) VALUES(randomblob(400000))");
  EXPECT_EQ(code & 0xff, SQLITE_NOMEM);
  EXPECT_EQ(sink_->dropped(), sink_->assigned());
  EXPECT_EQ(connection_->take_commit_lsn(), sink_->assigned()) << "its writer must not hear that nothing was applied";
  EXPECT_NE(run_sql(*connection_, "INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(connection_->take_commit_error().code, Errc::kFenced);
  EXPECT_FALSE(database_->checkpoint().ok());
  EXPECT_EQ(count(), std::to_string(committed - 1));
  ASSERT_TRUE(sink_->flush().ok());
  step_down();
  replica_.reset();
  options_.planted = {};
  store_ = open_store(a());
  replica_ = std::move(store_->open(RangeId(7))).value();
  lead();
  EXPECT_EQ(count(), std::to_string(committed)) << "the log has it";
  EXPECT_EQ(run_sql(*connection_, "INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
}

TEST_F(ReplicaTest, HoldsNoDescriptorForAnIdleReplica) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const TempDir dir;
  const auto disk = make_posix_disk();
  options_.open_segments_max = 16;
  auto store = std::move(open_replica_store(*disk, dir.path(), options_)).value();
  for (std::uint64_t id = 1; id <= 300; ++id) ASSERT_TRUE(store->create(identity(id)).ok());
  store = std::move(open_replica_store(*disk, dir.path(), options_)).value();
  const auto before = descriptors();
  std::vector<std::unique_ptr<Replica>> all;
  for (const ReplicaIdentity& one : store->list()) all.push_back(std::move(store->open(one.range)).value());
  EXPECT_EQ(all.size(), 300U);
  EXPECT_LE(descriptors() - before, 16);
}

TEST_F(ReplicaTest, StaysConsistentUnderReadersCheckpointsAndSnapshots) {
  fill(10);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  run_sql(*connection_, "CREATE TABLE pair(id INTEGER PRIMARY KEY, v); INSERT INTO pair VALUES(1, 0), (2, 0)");
  const auto reader = std::move(database_->connect()).value();
  std::thread reading([&] {
    while (!done)
      if (const std::string sum = query(reader->raw(), "SELECT sum(v) FROM pair"); sum != "0") ++wrong;
  });
  for (int i = 1; i <= 300; ++i) {
    run_sql(*connection_, "BEGIN; UPDATE pair SET v=v+1 WHERE id=1; UPDATE pair SET v=v-1 WHERE id=2; COMMIT");
    if (i % 20 == 0) EXPECT_TRUE(database_->checkpoint().ok());
    if (i % 100 == 0) EXPECT_EQ(std::move(replica_->snapshot()).value()->position().lsn, sink_->assigned());
  }
  done = true;
  reading.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(database_->checkpoint().ok());
}

TEST(LogWriterTest, WritesWhatIsQueuedInOrderAndSyncsOnce) {
  const TempDir dir;
  FaultDisk disk;
  const auto store = std::move(open_replica_store(disk, dir.path())).value();
  const auto replica = std::move(store->create(identity(1))).value();
  std::vector<std::uint64_t> told;
  LogPosition prev;
  std::uint64_t points = 0;
  {
    std::atomic<bool> started{false}, go{false};  // outlive the writer's thread, which may still look at them
    const auto writer = make_log_writer();
    writer->run(*replica, [&] {
      started = true;
      started.notify_all();
      go.wait(false);
    });
    started.wait(false);  // what comes now waits together
    for (std::uint64_t i = 1; i <= 50; ++i) {
      auto entry = std::make_shared<LogEntry>();
      entry->prev = prev;
      entry->at = prev = {Lsn(i), Epoch(1), entry_checksum(Lsn(i), Epoch(1), prev, "")};
      writer->submit(*replica, {entry}, [&told](Result<Lsn> lsn) { told.push_back(lsn.ok() ? lsn->value : 0); });
    }
    writer->run(*replica, [&] { EXPECT_EQ(told.size(), 50U) << "a task comes after the sync of what went before"; });
    points = disk.points();
    go = true;
    go.notify_all();
  }
  ASSERT_EQ(told.size(), 50U);
  for (std::uint64_t i = 0; i < 50; ++i) EXPECT_EQ(told[i], i + 1);
  EXPECT_EQ(disk.points() - points, 51U) << "fifty writes, one sync";
}

TEST(LogWriterTest, AReplicaDoesNotWaitForAnotherOne) {
  const TempDir dir;
  FaultDisk disk;
  const auto store = std::move(open_replica_store(disk, dir.path())).value();
  const auto slow = std::move(store->create(identity(1))).value(),
             quick = std::move(store->create(identity(2))).value();
  std::atomic<bool> written{false};  // outlives the writer's threads
  const auto writer = make_log_writer(2);
  writer->run(*slow, [&] { written.wait(false); });  // its disk takes as long as the other one's
  auto entry = std::make_shared<LogEntry>();
  entry->at = {Lsn(1), Epoch(1), entry_checksum(Lsn(1), Epoch(1), {}, "")};
  writer->submit(*quick, {entry}, [&](const Result<Lsn>& lsn) {
    EXPECT_TRUE(lsn.ok());
    written = true;
    written.notify_all();
  });
  written.wait(false);
}

TEST(DirectWrites, AreReadAsAnyOther) {
  const TempDir dir;
  const auto disk = make_posix_disk();
  const auto file = std::move(disk->open(dir.path() + "/f", OpenMode::kCreateNew)).value();
  std::string bytes(3 * File::kDirectBytes, 'x');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 4);
  AlignedBytes aligned;
  EXPECT_EQ(aligned.copy_of(bytes), bytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned.copy_of(bytes).data()) % File::kDirectBytes, 0U);
  const auto done = file->write_direct(0, aligned.copy_of(bytes));
  ASSERT_TRUE(done.ok()) << done.error().to_string();
  if (!*done) GTEST_SKIP() << "the file system of " << dir.path() << " takes no direct writes";
  ASSERT_TRUE(file->pwrite(bytes.size(), "and more").ok());
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(read_file(*disk, dir.path() + "/f").value(), bytes + "and more");
}

}  // namespace
}  // namespace outlast::storage
