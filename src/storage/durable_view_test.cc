#include "storage/durable_view.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "storage/disk.h"
#include "storage/replica_store.h"
#include "storage/testing/fault_disk.h"
#include "storage/testing/local_range.h"

namespace outlast::storage {
namespace {
using testing::LocalSink;
using testing::query;
using testing::run_sql;
using testing::TempDir;

/// A leading replica whose commits become durable when the test says so.
class DurableViewTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = std::move(open_replica_store(*disk_, dir_.path())).value();
    replica_ = std::move(store_->create({RangeId(7), ReplicaId(1), "store-a"})).value();
    sink_ = std::make_unique<LocalSink>(*replica_);
    database_ = std::move(replica_->open_database(*sink_)).value();
    writer_ = std::move(database_->connect()).value();
    run_sql(*writer_, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
  }
  void insert(int rows) {
    for (int i = 0; i < rows; ++i) ASSERT_EQ(run_sql(*writer_, "INSERT INTO t(b) VALUES(randomblob(900))"), SQLITE_OK);
  }
  /// A view at what is durable, and a reader in it.
  void look() {
    auto view = database_->durable_view(sink_->durable());
    ASSERT_TRUE(view.ok()) << view.error().to_string();
    view_ = *view;
    reader_ = std::move(view_->connect()).value();
  }
  void look_away() { reader_.reset(), view_.reset(); }
  static std::string rows(Connection& in) { return query(in.raw(), "SELECT count(*) FROM t"); }

  const TempDir dir_;
  const std::unique_ptr<Disk> disk_ = make_posix_disk();
  std::unique_ptr<ReplicaStore> store_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<LocalSink> sink_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> writer_;
  std::shared_ptr<Database> view_;
  std::unique_ptr<Connection> reader_;
};

TEST_F(DurableViewTest, ShowsWhatIsDurableAndNothingLater) {
  insert(5);
  ASSERT_TRUE(sink_->flush().ok());
  insert(300);
  look();
  EXPECT_EQ(rows(*reader_), "5");
  EXPECT_EQ(query(reader_->raw(), "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(rows(*writer_), "305") << "the database itself goes on with its full log";
  insert(1);
  EXPECT_EQ(rows(*reader_), "5");
  EXPECT_EQ(rows(*std::move(view_->connect()).value()), "5");
}

TEST_F(DurableViewTest, ShowsTheFileWhenNothingInTheWalIsDurable) {
  insert(5);
  ASSERT_EQ(*database_->checkpoint(), Lsn(6));
  insert(7);  // begins the WAL anew
  look();
  EXPECT_EQ(rows(*reader_), "5");
}

TEST_F(DurableViewTest, KnowsTheEndOfTheLastCommitThatWasCheckpointed) {
  insert(5);
  const auto old_reader = std::move(database_->connect()).value();
  ASSERT_EQ(*database_->checkpoint(), Lsn(6));
  run_sql(*old_reader, "BEGIN; SELECT count(*) FROM t");  // keeps the WAL from beginning anew
  insert(7);
  look();
  EXPECT_EQ(rows(*reader_), "5");
}

TEST_F(DurableViewTest, IsBeforeTheFirstCommitAnEmptyDatabase) {
  look();
  EXPECT_EQ(query(reader_->raw(), "SELECT count(*) FROM sqlite_schema"), "0");
}

TEST_F(DurableViewTest, TakesNoWrites) {
  insert(1);
  ASSERT_TRUE(sink_->flush().ok());
  insert(1);
  look();
  const Lsn before = sink_->assigned();
  EXPECT_EQ(run_sql(*reader_, "INSERT INTO t(b) VALUES(1)"), SQLITE_READONLY);
  EXPECT_NE(run_sql(*reader_, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  EXPECT_EQ(sink_->assigned(), before);
  EXPECT_EQ(rows(*reader_), "1");
}

TEST_F(DurableViewTest, KeepsCheckpointsFromMovingTheFileUnderItsReaders) {
  insert(20);
  ASSERT_TRUE(sink_->flush().ok());
  insert(20);
  look();
  run_sql(*reader_, "BEGIN; SELECT count(*) FROM t");
  ASSERT_TRUE(sink_->flush().ok());  // all is durable after all
  EXPECT_EQ(database_->checkpoint().error().code, Errc::kObjectInUse);
  insert(300);
  EXPECT_EQ(rows(*reader_), "20");
  EXPECT_FALSE(replica_->damaged());
  const auto snapshot = replica_->snapshot();  // a learner need not wait for the readers
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().to_string();
  look_away();
  EXPECT_EQ(*database_->checkpoint(), sink_->assigned());
  EXPECT_EQ(rows(*writer_), "340");
  EXPECT_EQ(query(writer_->raw(), "PRAGMA integrity_check"), "ok");
}

TEST_F(DurableViewTest, KeepsTheDatabaseOpenThatItLooksInto) {
  insert(3);
  ASSERT_TRUE(sink_->flush().ok());
  insert(1);
  look();
  writer_.reset(), database_.reset();
  EXPECT_EQ(rows(*reader_), "3");
  ASSERT_TRUE(sink_->flush().ok());
  EXPECT_EQ(replica_->open_database(*sink_).error().code, Errc::kInvalidState);
  look_away();
  EXPECT_TRUE(replica_->open_database(*sink_).ok());
}

TEST_F(DurableViewTest, ASnapshotIsOfTheDurablePrefixWhileCommitsWait) {
  insert(4);
  ASSERT_TRUE(sink_->flush().ok());
  insert(4);
  sink_->refuse_durable(Error(Errc::kRangeUnavailable, "a backup is silent"));
  const auto snapshot = replica_->snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().to_string();
  EXPECT_EQ((*snapshot)->position().lsn, Lsn(5));
}

}  // namespace
}  // namespace outlast::storage
