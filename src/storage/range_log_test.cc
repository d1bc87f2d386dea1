#include "storage/range_log.h"

#include <gtest/gtest.h>

#include "storage/testing/fault_disk.h"

namespace outlast::storage {
namespace {
using testing::FaultDisk;
using testing::TempDir;

class RangeLogTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(RangeLog::create(options(), {}, "").ok()); }
  RangeLogOptions options() {
    return {.disk = &disk_, .files = &files_, .dir = dir_.path(), .salt = 7, .segment_bytes = 4'000};
  }
  std::unique_ptr<RangeLog> open() {
    auto log = RangeLog::open(options());
    EXPECT_TRUE(log.ok()) << log.error().to_string();
    return log.ok() ? std::move(log).value() : nullptr;
  }
  /// Appends `count` entries of about 1,000 bytes, without a sync.
  static void grow(RangeLog& log, int count, Epoch epoch = Epoch(1)) {
    for (int i = 0; i < count; ++i) {
      auto entry = std::make_shared<LogEntry>();
      entry->prev = log.end();
      entry->payload = std::string(900, static_cast<char>('a' + entry->prev.lsn.value % 26));
      const Lsn lsn = entry->prev.lsn.next();
      entry->at = {lsn, epoch, entry_checksum(lsn, epoch, entry->prev, entry->payload)};
      const LogEntryPtr one = entry;
      ASSERT_TRUE(log.append(std::span(&one, 1)).ok());
    }
  }
  static void grow_synced(RangeLog& log, int count, Epoch epoch = Epoch(1)) {
    for (int i = 0; i < count; ++i) {
      grow(log, 1, epoch);
      ASSERT_TRUE(log.sync().ok());
    }
  }
  std::vector<std::string> segments() {
    std::vector<std::string> found;
    for (const std::string& name : *make_posix_disk()->list(dir_.path()))
      if (name.starts_with("log.")) found.push_back(dir_.path() + "/" + name);
    return found;
  }
  static void flip(const std::string& path, std::uint64_t at) {
    const auto disk = make_posix_disk();
    auto file = disk->open(path, OpenMode::kWrite);
    char byte;
    ASSERT_TRUE((*file)->pread(at, &byte, 1).ok());
    byte = static_cast<char>(byte ^ 4);
    ASSERT_TRUE((*file)->pwrite(at, std::string_view(&byte, 1)).ok());
  }
  /// Opens and reads everything: how damage shows.
  Result<Lsn> read_all() {
    ASSIGN_OR_RETURN(const auto log, RangeLog::open(options()));
    Lsn at = log->start().lsn;
    while (at < log->end().lsn) {
      ASSIGN_OR_RETURN(const auto entries, log->read(at, 3'000));
      at = entries.back()->at.lsn;
    }
    return at;
  }
  const TempDir dir_;
  FaultDisk disk_;
  OpenFiles files_{disk_, 2};
};

TEST_F(RangeLogTest, ReadsBackAcrossSegmentsAndReopening) {
  {
    const auto log = open();
    grow_synced(*log, 20);
    grow_synced(*log, 3, Epoch(4));
  }
  EXPECT_GT(segments().size(), 4U);
  const auto log = open();
  EXPECT_EQ(log->end().lsn, Lsn(23));
  EXPECT_EQ(log->end().epoch, Epoch(4));
  LogPosition prev;
  for (Lsn at; at < Lsn(23);) {
    const auto entries = log->read(at, 2'500);
    ASSERT_TRUE(entries.ok());
    for (const LogEntryPtr& entry : *entries) {
      EXPECT_EQ(entry->prev, prev);
      EXPECT_EQ(*log->position_at(entry->at.lsn), entry->at);
      EXPECT_EQ(entry->at.epoch, entry->at.lsn <= Lsn(20) ? Epoch(1) : Epoch(4));
      prev = entry->at;
    }
    at = prev.lsn;
  }
  EXPECT_EQ(log->position_at(Lsn(24)).error().code, Errc::kNotFound);
}

TEST_F(RangeLogTest, TakesOnlyWhatContinuesItUndamaged) {
  const auto log = open();
  grow_synced(*log, 3, Epoch(2));
  auto entry = std::make_shared<LogEntry>();
  entry->prev = {Lsn(3), Epoch(2), log->end().checksum ^ 1};
  entry->at = {Lsn(4), Epoch(2), entry_checksum(Lsn(4), Epoch(2), entry->prev, "")};
  LogEntryPtr one = entry;
  EXPECT_EQ(log->append(std::span(&one, 1)).error().code, Errc::kLogMismatch);
  entry = std::make_shared<LogEntry>();
  entry->prev = log->end();
  entry->at = {Lsn(4), Epoch(1), entry_checksum(Lsn(4), Epoch(1), entry->prev, "")};
  one = entry;
  EXPECT_EQ(log->append(std::span(&one, 1)).error().code, Errc::kLogMismatch) << "an older epoch";
  entry = std::make_shared<LogEntry>();
  entry->prev = log->end();
  entry->at = {Lsn(4), Epoch(2), 1234};
  one = entry;
  EXPECT_EQ(log->append(std::span(&one, 1)).error().code, Errc::kCorrupt);
  EXPECT_FALSE(log->damaged());
  EXPECT_EQ(log->end().lsn, Lsn(3));
}

TEST_F(RangeLogTest, CutsATornTailSilently) {
  {
    const auto log = open();
    grow_synced(*log, 10);
    grow(*log, 1);
  }
  const std::string last = segments().back();
  const std::uint64_t size = *disk_.file_size(last);
  for (const std::uint64_t lost : {1U, 200U, 900U, 950U}) {
    ASSERT_TRUE((*make_posix_disk()->open(last, OpenMode::kWrite))->truncate(size - lost).ok());
    EXPECT_EQ(*read_all(), Lsn(10)) << lost;
  }
  const auto log = open();
  grow_synced(*log, 2);
  EXPECT_EQ(*read_all(), Lsn(12));
}

TEST_F(RangeLogTest, CallsABadRecordDamageOnceItHadBeenSynced) {
  {
    const auto log = open();
    grow_synced(*log, 14);
  }
  const auto files = segments();
  SeededRandom random(5);
  for (std::size_t i = 0; i < files.size(); ++i) {
    // The last record is vouched for by nobody: there a flip reads as a torn tail.
    const std::uint64_t size = *disk_.file_size(files[i]) - (i + 1 == files.size() ? 964 : 0);
    for (int k = 0; k < 40 && size > 100; ++k) {
      const std::uint64_t at = random.below(size);
      flip(files[i], at);
      const auto read = read_all();
      EXPECT_FALSE(read.ok()) << files[i] << " byte " << at << " came back as " << (read.ok() ? read->value : 0);
      if (!read.ok()) EXPECT_EQ(read.error().code, Errc::kCorrupt) << read.error().to_string();
      flip(files[i], at);
    }
  }
  EXPECT_EQ(*read_all(), Lsn(14));
}

TEST_F(RangeLogTest, CutsBackKeepingTheLatestConfiguration) {
  {
    const auto log = open();
    ASSERT_TRUE(log->record_config("epoch 1").ok());
    grow_synced(*log, 12);
    ASSERT_TRUE(log->record_config("epoch 2").ok());
    ASSERT_TRUE(log->cut_after(Lsn(5)).ok());
    EXPECT_EQ(log->end().lsn, Lsn(5));
    EXPECT_EQ(log->config(), "epoch 2");
    EXPECT_EQ(log->position_at(Lsn(6)).error().code, Errc::kNotFound);
    grow_synced(*log, 4, Epoch(2));
  }
  const auto log = open();
  EXPECT_EQ(log->end().lsn, Lsn(9));
  EXPECT_EQ(log->position_at(Lsn(6))->epoch, Epoch(2));
  EXPECT_EQ(log->config(), "epoch 2");
}

TEST_F(RangeLogTest, FinishesACutWhereverItWasInterrupted) {
  for (std::uint64_t point = 1;; ++point) {
    const TempDir dir;
    FaultDisk disk;
    OpenFiles files(disk);
    RangeLogOptions here = options();
    here.disk = &disk, here.files = &files, here.dir = dir.path();
    ASSERT_TRUE(RangeLog::create(here, {}, "").ok());
    auto log = std::move(RangeLog::open(here)).value();
    grow_synced(*log, 9);
    ASSERT_TRUE(log->record_config("epoch 7").ok());
    disk.crash_at(disk.points() + point);
    const bool done = log->cut_after(Lsn(4)).ok();
    EXPECT_EQ(log->damaged(), !done);
    if (done) break;
    SeededRandom random(point);
    disk.lose_unsynced(random);
    log.reset();
    FaultDisk after;
    OpenFiles again(after);
    here.disk = &after, here.files = &again;
    auto reopened = RangeLog::open(here);
    ASSERT_TRUE(reopened.ok()) << point << ": " << reopened.error().to_string();
    EXPECT_TRUE((*reopened)->end().lsn == Lsn(4) || (*reopened)->end().lsn == Lsn(9)) << point;
    EXPECT_EQ((*reopened)->config(), "epoch 7") << point;
    ASSERT_LT(point, 100U);
  }
}

TEST_F(RangeLogTest, TrimsWholeSegmentsAndNeverTheConfiguration) {
  {
    const auto log = open();
    ASSERT_TRUE(log->record_config("the configuration").ok());
    grow_synced(*log, 20);
    const std::size_t closed = log->take_freeable(Lsn(10)).size();
    ASSERT_GT(closed, 0U);
    EXPECT_TRUE(log->take_freeable(Lsn(10)).empty()) << "each is told once";
    EXPECT_EQ(log->start().lsn, Lsn(0)) << "telling removes nothing";
    for (std::size_t i = 0; i <= closed; ++i) ASSERT_TRUE(log->drop_first().ok());
    EXPECT_LE(log->start().lsn, Lsn(10));
    EXPECT_GT(log->start().lsn, Lsn(4));
    EXPECT_EQ(log->position_at(Lsn(2)).error().code, Errc::kCompacted);
    EXPECT_EQ(log->read(Lsn(2), 100).error().code, Errc::kCompacted);
    EXPECT_EQ(log->read(log->start().lsn, 1)->front()->prev, log->start());
  }
  const auto log = open();
  EXPECT_EQ(log->config(), "the configuration");
  EXPECT_GT(log->start().lsn, Lsn(4));
  EXPECT_EQ(log->end().lsn, Lsn(20));
}

TEST_F(RangeLogTest, ASegmentThatACutMadeTheLastOneIsNotFreedWithItsNewEntries) {
  const auto log = open();
  grow_synced(*log, 12);
  ASSERT_FALSE(log->take_freeable(Lsn(10)).empty());
  while (log->start().lsn < Lsn(4)) {
    const Lsn before = log->start().lsn;
    ASSERT_TRUE(log->drop_first().ok());
    if (log->start().lsn == before) break;
  }
  const Lsn start = log->start().lsn;
  ASSERT_TRUE(log->cut_after(start.next()).ok());
  grow_synced(*log, 14);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(log->drop_first().ok());
  EXPECT_EQ(log->start().lsn, start);
  EXPECT_EQ(log->read(start, 1 << 20)->size(), 15U);
}

TEST_F(RangeLogTest, SurvivesAFullDisk) {
  const auto log = open();
  grow_synced(*log, 2);
  disk_.set_full(true);
  auto entry = std::make_shared<LogEntry>();
  entry->prev = log->end();
  entry->at = {Lsn(3), Epoch(1), entry_checksum(Lsn(3), Epoch(1), entry->prev, "")};
  const LogEntryPtr one = entry;
  EXPECT_EQ(log->append(std::span(&one, 1)).error().code, Errc::kDiskFull);
  EXPECT_FALSE(log->damaged());
  disk_.set_full(false);
  grow_synced(*log, 5);
  EXPECT_EQ(*read_all(), Lsn(7));
}

TEST_F(RangeLogTest, AFullDiskAtAnyStepOfACutDoesNoDamage) {
  int refused = 0;
  for (std::uint64_t point = 1;; ++point) {
    const auto log = open();
    ASSERT_TRUE(log->record_config("the configuration").ok());
    grow_synced(*log, static_cast<int>(6 - log->end().lsn.value));
    const std::uint64_t before = disk_.points();
    disk_.fail_at(before + point, Errc::kDiskFull);
    const auto cut = log->cut_after(Lsn(2));
    const bool reached = disk_.points() >= before + point;
    disk_.fail_at(0, Errc::kDiskFull);
    if (log->damaged()) {  // a failed sync is damage, whatever the reason
      EXPECT_EQ(cut.error().code, Errc::kIo);
    } else {
      refused += cut.ok() ? 0 : 1;
      const auto again = log->cut_after(Lsn(2));
      ASSERT_TRUE(again.ok()) << "point " << point << ": " << again.error().to_string();
      EXPECT_EQ(log->end().lsn, Lsn(2));
      EXPECT_EQ(log->config(), "the configuration");
      grow_synced(*log, 1);
    }
    if (!reached) break;
    ASSERT_LT(point, 100U);
  }
  EXPECT_GT(refused, 3) << "too few steps that need room";
  EXPECT_TRUE(read_all().ok());
}

TEST(Space, KeepsAReserveAndDoesNotFlicker) {
  constexpr std::uint64_t kMiB = 1U << 20;
  const Space large{64 * kMiB, 100'000 * kMiB};
  EXPECT_EQ(reserve_of(large), 64 * kMiB);
  EXPECT_EQ(reserve_of({0, 100 * kMiB}), 5 * kMiB);
  EXPECT_FALSE(is_low(large, false));
  EXPECT_TRUE(is_low({64 * kMiB - 1, 100'000 * kMiB}, false));
  EXPECT_TRUE(is_low({79 * kMiB, 100'000 * kMiB}, true));
  EXPECT_FALSE(is_low({80 * kMiB, 100'000 * kMiB}, true));
}

TEST_F(RangeLogTest, NeverTriesAFailedSyncAgain) {
  const auto log = open();
  grow(*log, 1);
  disk_.fail_at(disk_.points() + 1, Errc::kIo);
  EXPECT_EQ(log->sync().error().code, Errc::kIo);
  EXPECT_TRUE(log->damaged());
  EXPECT_EQ(log->sync().error().code, Errc::kIo);
  EXPECT_EQ(log->read(Lsn(0), 1).error().code, Errc::kIo);
}

}  // namespace
}  // namespace outlast::storage
