// Damage that a scrub must find, and what it must not take for damage.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "storage/log_format.h"
#include "storage/replica_store.h"
#include "storage/testing/fault_disk.h"
#include "storage/testing/local_range.h"

namespace outlast::storage {
namespace {
using testing::LocalSink;
using testing::run_sql;
using testing::TempDir;

class ReplicaScrubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    disk_ = make_posix_disk();
    store_ = open_replica_store(*disk_, dir_.path()).value();
    replica_ = store_->create({RangeId(7), ReplicaId(1), "store"}).value();
    lead();
  }
  void lead() {
    sink_ = std::make_unique<LocalSink>(*replica_);
    database_ = replica_->open_database(*sink_).value();
    connection_ = database_->connect().value();
  }
  void step_down() { connection_.reset(), database_.reset(); }
  void fill(int rows) {
    run_sql(*connection_, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
    for (int i = 0; i < rows; ++i)
      ASSERT_EQ(run_sql(*connection_, "INSERT INTO t(b) VALUES(randomblob(900))"), SQLITE_OK);
    ASSERT_TRUE(sink_->flush().ok());
  }
  static Result<void> run_to_end(Scrub& scrub, std::size_t piece = 10'000) {
    for (;;) {
      ASSIGN_OR_RETURN(const std::size_t bytes, scrub.check_log(piece));
      if (bytes == 0) break;
    }
    for (;;) {
      ASSIGN_OR_RETURN(const std::size_t bytes, scrub.check_file(piece));
      if (bytes == 0) return {};
    }
  }
  Result<void> scrub() { return run_to_end(*replica_->start_scrub()); }
  std::string db() const { return dir_.path() + "/ranges/7/db"; }
  std::string segment() const {
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path() + "/ranges/7"))
      if (entry.path().filename().string().starts_with("log.")) return entry.path();
    return {};
  }
  static void flip(const std::string& file, std::uint64_t offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const auto byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(byte);
    ASSERT_TRUE(stream.good()) << file;
  }

  const TempDir dir_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<ReplicaStore> store_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<LocalSink> sink_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ReplicaScrubTest, PassesASoundReplicaAtEveryPointOfItsLife) {
  EXPECT_TRUE(scrub().ok()) << "empty";
  fill(50);
  EXPECT_TRUE(scrub().ok()) << "nothing checkpointed yet";
  ASSERT_TRUE(database_->checkpoint().ok());
  EXPECT_TRUE(scrub().ok()) << "leading";
  fill(50);
  step_down();
  EXPECT_TRUE(scrub().ok()) << "following, behind its log";
  ASSERT_TRUE(replica_->apply_to(replica_->log_end().lsn).ok());
  EXPECT_TRUE(scrub().ok()) << "following, all applied";
  lead();
  run_sql(*connection_, "DELETE FROM t; VACUUM");
  ASSERT_TRUE(sink_->flush().ok());
  ASSERT_TRUE(database_->checkpoint().ok());
  const auto after = scrub();
  EXPECT_TRUE(after.ok()) << (after.ok() ? "" : after.error().to_string());
}

TEST_F(ReplicaScrubTest, FindsABitFlippedInTheDatabaseFile) {
  fill(50);
  ASSERT_TRUE(database_->checkpoint().ok());
  flip(db(), 5 * kPageBytes + 123);
  const auto found = scrub();
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, Errc::kCorrupt);
  EXPECT_NE(found.error().message.find("page 6"), std::string::npos) << found.error().message;
}

TEST_F(ReplicaScrubTest, FindsABitFlippedInTheLog) {
  fill(50);
  flip(segment(), std::filesystem::file_size(segment()) / 2);
  const auto found = scrub();
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, Errc::kCorrupt);
}

TEST_F(ReplicaScrubTest, IsNotMisledByWhatIsWrittenWhileItReads) {
  fill(50);
  ASSERT_TRUE(database_->checkpoint().ok());
  const auto pass = replica_->start_scrub();
  while (pass->check_log(10'000).value() > 0) continue;
  ASSERT_EQ(run_sql(*connection_, "UPDATE t SET b = randomblob(900)"),
            SQLITE_OK);  // every page, after the log was read
  ASSERT_TRUE(sink_->flush().ok());
  ASSERT_TRUE(database_->checkpoint().ok());
  std::size_t bytes = 0;
  for (;;) {
    const auto piece = pass->check_file(10'000);
    ASSERT_TRUE(piece.ok()) << piece.error().to_string();
    if (*piece == 0) break;
    bytes += *piece;
  }
  EXPECT_GT(bytes, 10 * kPageBytes) << "it looked at hardly anything";
}

}  // namespace
}  // namespace outlast::storage
