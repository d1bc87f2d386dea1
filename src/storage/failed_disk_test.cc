// A disk that fails a sync or a write (protocol A4.8).
#include <gtest/gtest.h>

#include <filesystem>

#include "storage/failed_mark.h"
#include "storage/replica_store.h"
#include "storage/testing/fault_disk.h"
#include "storage/testing/local_range.h"

namespace outlast::storage {
namespace {
using testing::FaultDisk;
using testing::LocalSink;
using testing::run_sql;
using testing::TempDir;

constexpr RangeId kRange{7};

class FailedDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    restart();
    replica_ = std::move(store_->create({kRange, ReplicaId(1), "store"})).value();
    lead();
    ASSERT_EQ(run_sql(*connection_, "CREATE TABLE t(b)"), SQLITE_OK);
  }
  void lead() {
    sink_ = std::make_unique<LocalSink>(*replica_);
    auto opened = replica_->open_database(*sink_);
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    database_ = *opened;
    connection_ = std::move(database_->connect()).value();
  }
  /// A new process on the same disk.
  void restart() {
    connection_.reset(), database_.reset(), sink_.reset(), replica_.reset(), store_.reset();
    store_ = std::move(open_replica_store(disk_, dir_.path(), options_)).value();
  }
  void lose_power(Random& random) {
    disk_.crash();
    disk_.restart(random, true);
    restart();
  }
  bool insert() { return run_sql(*connection_, "INSERT INTO t VALUES(randomblob(900))") == SQLITE_OK; }
  std::string dir() const { return dir_.path() + "/ranges/7"; }

  const TempDir dir_;
  FaultDisk disk_;
  StoreOptions options_;
  std::unique_ptr<ReplicaStore> store_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<LocalSink> sink_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(FailedDiskTest, AReplicaWhoseSyncFailedIsOpenedByNoLaterProcess) {
  ASSERT_TRUE(insert() && sink_->flush().ok());
  ASSERT_TRUE(insert());
  disk_.fail_at(disk_.points() + 2, Errc::kIo);  // the sync behind the write
  EXPECT_EQ(sink_->flush().error().code, Errc::kIo);
  EXPECT_TRUE(has_failed_mark(disk_, dir())) << "before anybody could hear of the failure";
  disk_.disarm();
  restart();
  const auto opened = store_->open(kRange);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kCorrupt);
  EXPECT_NE(opened.error().message.find("rebuilt from another one"), std::string::npos) << opened.error().message;
  EXPECT_EQ(store_->list().size(), 1U);
  ASSERT_TRUE(store_->remove(kRange).ok());
  EXPECT_TRUE(store_->create({kRange, ReplicaId(2), "store"}).ok()) << "the next replica is free of it";
}

TEST_F(FailedDiskTest, EveryFailureOfTheDatabaseFileLeavesTheMark) {
  int damaged = 0;
  for (std::uint64_t point = 1;; ++point) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(insert() && sink_->flush().ok());
    disk_.fail_at(disk_.points() + point, Errc::kIo);
    const auto done = database_->checkpoint();
    disk_.disarm();
    if (done.ok()) break;
    EXPECT_EQ(replica_->damaged(), has_failed_mark(disk_, dir())) << "at point " << point;
    damaged += replica_->damaged() ? 1 : 0;
    restart();
    const bool marked = has_failed_mark(disk_, dir());
    ASSERT_EQ(store_->salvage(kRange).ok(), marked);
    replica_ = std::move(store_->open(kRange)).value();
    lead();
  }
  EXPECT_GE(damaged, 2) << "a write and the sync";
}

TEST_F(FailedDiskTest, AnOnlyReplicaIsSalvagedWithTheEndOfItsLogWrittenAgain) {
  ASSERT_TRUE(insert() && sink_->flush().ok());
  ASSERT_TRUE(insert());
  disk_.fail_at(disk_.points() + 2, Errc::kIo);
  ASSERT_FALSE(sink_->flush().ok());
  disk_.disarm();
  restart();
  EXPECT_EQ(store_->salvage(RangeId(8)).error().code, Errc::kNotFound);
  auto salvaged = store_->salvage(kRange);
  ASSERT_TRUE(salvaged.ok()) << salvaged.error().to_string();
  const LogPosition end = (*salvaged)->log_end();
  EXPECT_EQ(end.lsn, Lsn(3));
  salvaged->reset();
  SeededRandom random(1);
  lose_power(random);
  EXPECT_EQ(store_->salvage(kRange).error().code, Errc::kNotFound) << "the mark is gone for good";
  auto opened = store_->open(kRange);
  ASSERT_TRUE(opened.ok()) << opened.error().to_string();
  EXPECT_EQ((*opened)->log_end(), end) << "what was read once must survive a loss of power";
}

TEST_F(FailedDiskTest, AMarkIsLeftThoughItCannotBeSynced) {
  disk_.on_point = [this] { disk_.fail_at(disk_.points() + 1, Errc::kIo); };
  EXPECT_FALSE(store_->distrust(kRange).ok()) << "nothing at all can be written";
  EXPECT_FALSE(has_failed_mark(disk_, dir()));
  disk_.on_point = {};
  disk_.fail_at(disk_.points() + 3, Errc::kIo);  // creation, content, sync
  EXPECT_TRUE(store_->distrust(kRange).ok());
  EXPECT_TRUE(has_failed_mark(disk_, dir()));
  disk_.disarm();
  EXPECT_TRUE(store_->distrust(kRange).ok());
  EXPECT_TRUE(store_->distrust(RangeId(99)).ok()) << "there is nothing to distrust";
  restart();
  EXPECT_EQ(store_->open(kRange).error().code, Errc::kCorrupt);
}

TEST_F(FailedDiskTest, AReplicaWhoseCreationFailedAnywhereIsRemovedAndCreatedAgain) {
  const RangeId range{8};
  SeededRandom random(1);
  int failed = 0;
  for (std::uint64_t point = 1;; ++point) {
    disk_.fail_at(disk_.points() + point, Errc::kIo);
    const bool created = store_->create({range, ReplicaId(point), "store"}).ok();
    disk_.disarm();
    ASSERT_TRUE(store_->remove(range).ok()) << "at point " << point;
    ASSERT_TRUE(store_->create({range, ReplicaId(1000 + point), "store"}).ok()) << "at point " << point;
    ASSERT_TRUE(store_->remove(range).ok());
    lose_power(random);
    ASSERT_EQ(store_->list().size(), 1U) << "no loss of power brings it back, at point " << point;
    if (created) break;
    ++failed;
  }
  EXPECT_GE(failed, 10) << "directories, files, their syncs, the name and its sync";
}

TEST_F(FailedDiskTest, ARemovalThatFailedAnywhereIsAskedForAgain) {
  const RangeId range{8};
  SeededRandom random(1);
  int failed = 0;
  for (std::uint64_t point = 1;; ++point) {
    ASSERT_TRUE(store_->create({range, ReplicaId(point), "store"}).ok());
    disk_.fail_at(disk_.points() + point, Errc::kIo);
    const bool removed = store_->remove(range).ok();
    disk_.disarm();
    ASSERT_TRUE(store_->remove(range).ok()) << "at point " << point;
    EXPECT_EQ(store_->list().size(), 1U);
    lose_power(random);
    ASSERT_EQ(store_->list().size(), 1U) << "no loss of power brings it back, at point " << point;
    if (removed) break;
    ++failed;
  }
  EXPECT_GE(failed, 5) << "the name, its sync, the files";
}

TEST_F(FailedDiskTest, ARemovalTakesWhatAHalfDoneExchangeForASnapshotLeft) {
  ASSERT_TRUE(store_->create({RangeId(8), ReplicaId(1), "store"}).ok());
  ASSERT_TRUE(disk_.rename(dir_.path() + "/ranges/8", dir_.path() + "/ranges/8.old").ok());
  ASSERT_TRUE(store_->remove(RangeId(8)).ok());
  restart();
  EXPECT_EQ(store_->list().size(), 1U);
}

TEST_F(FailedDiskTest, TryingTheDiskLeavesNothingBehind) {
  EXPECT_TRUE(try_disk(disk_, dir_.path()).ok());
  EXPECT_FALSE(exists(disk_, dir_.path() + "/TRY"));
  disk_.fail_at(disk_.points() + 3, Errc::kIo);
  EXPECT_EQ(try_disk(disk_, dir_.path()).error().code, Errc::kIo);
}

}  // namespace
}  // namespace outlast::storage
