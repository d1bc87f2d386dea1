#include "storage/log_retention.h"

#include <gtest/gtest.h>

#include "storage/range_log.h"
#include "storage/testing/fault_disk.h"

namespace outlast::storage {
namespace {
using namespace std::chrono_literals;

/// Logs of several ranges of one store, with segments of about four entries.
class LogRetentionTest : public ::testing::Test {
 protected:
  std::shared_ptr<RangeLog> log(const std::string& name) {
    const std::string dir = dir_.path() + "/" + name;
    EXPECT_TRUE(disk_.make_dir(dir).ok());
    RangeLogOptions options{.disk = &disk_, .files = &files_, .dir = dir, .salt = 7, .segment_bytes = 4096};
    EXPECT_TRUE(RangeLog::create(options, {}, "").ok());
    return std::shared_ptr<RangeLog>(RangeLog::open(options).value());
  }
  void grow(RangeLog& log, int entries) {
    for (int i = 0; i < entries; ++i) {
      auto entry = std::make_shared<LogEntry>();
      entry->prev = log.end();
      entry->payload = std::string(1000, 'x');
      const Lsn lsn = entry->prev.lsn.next();
      entry->at = {lsn, Epoch(1), entry_checksum(lsn, Epoch(1), entry->prev, entry->payload)};
      const LogEntryPtr one = entry;
      ASSERT_TRUE(log.append(std::span(&one, 1)).ok());
    }
    ASSERT_TRUE(log.sync().ok());
  }

  testing::TempDir dir_;
  testing::FaultDisk disk_;
  OpenFiles files_{disk_, 16};
  LogRetention::Limits limits_{10'000, 15min};
  Instant now_{};
  LogRetention retention_{[this] { return limits_; }, [this] { return now_; }};
};

TEST_F(LogRetentionTest, KeepsYoungLogAndAsMuchAsTheStoreMayKeepAndFreesTheLongestFreeableFirst) {
  const auto first = log("first"), second = log("second");
  grow(*first, 9);
  ASSERT_TRUE(retention_.offer(first, Lsn(8)).ok());
  now_ += 1min;
  grow(*second, 9);
  ASSERT_TRUE(retention_.offer(second, Lsn(8)).ok());
  const std::uint64_t all = retention_.kept_bytes();
  EXPECT_GT(all, limits_.bytes);
  EXPECT_EQ(first->start().lsn, Lsn(0)) << "more than the limit, and young";
  now_ += 14min + 30s;
  ASSERT_TRUE(retention_.offer(second, Lsn(8)).ok());
  EXPECT_GT(first->start().lsn, Lsn(0)) << "old, of another range than the one that was offered";
  EXPECT_EQ(second->start().lsn, Lsn(0));
  EXPECT_LE(retention_.kept_bytes(), limits_.bytes);
  now_ += 24h;
  ASSERT_TRUE(retention_.offer(second, Lsn(8)).ok());
  EXPECT_EQ(second->start().lsn, Lsn(0)) << "old, and within the limit";
}

TEST_F(LogRetentionTest, ABurstDoesNotFillTheDiskAndLogOfAGoneReplicaCountsNoMore) {
  auto first = log("first");
  const auto second = log("second");
  grow(*first, 60);
  ASSERT_TRUE(retention_.offer(first, Lsn(60)).ok());
  EXPECT_LE(retention_.kept_bytes(), LogRetention::kMostTimes * limits_.bytes) << "young, and far over the limit";
  EXPECT_GT(retention_.kept_bytes(), 2 * limits_.bytes);
  EXPECT_GT(first->start().lsn, Lsn(0));
  first.reset();
  ASSERT_TRUE(retention_.offer(second, Lsn(0)).ok());
  EXPECT_EQ(retention_.kept_bytes(), 0U);
}

}  // namespace
}  // namespace outlast::storage
