// A file buffer on a real file system that is full, read-only or away. Each test mounts its own, where that is allowed.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "ingest/pipeline.h"
#include "ingest/testing/journal.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::Journal;
using testing_support::kDeadline;
using testing_support::quick_sink;
using testing_support::RealClock;
using testing_support::sinks_into;
using testing_support::Told;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;

/// A file system of 1 MiB at `path`, which only this thread and those it starts see. The sentence says why there is
/// none.
std::string mount_small_disk(const std::string& path) {
  const auto failed = [](const std::string& what) { return "this test may not " + what + ": " + std::strerror(errno); };
  if (::unshare(CLONE_NEWNS) != 0) return failed("have mounts of its own");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("keep its mounts to itself");
  if (::mount("none", path.c_str(), "tmpfs", 0, "size=1m") != 0) return failed("mount a tmpfs");
  return "";
}

class DiskTest : public testing::Test {
 protected:
  DiskTest() {
    fs::create_directory(disk_);
    sink_ = quick_sink("s");
    sink_.buffer.file = true;
    sink_.buffer.path = buffer_;
    sink_.buffer.limits.chunk_bytes = 64U << 10;
    sink_.buffer.limits.total_bytes = 64U << 20;
    sink_.buffer.limits.sync = SyncPolicy::kAlways;
  }
  /// Runs on a thread that sees the small disk.
  void on_small_disk(const std::function<void()>& test) {
    std::string why_not;
    std::thread([&] {
      why_not = mount_small_disk(disk_);
      if (!why_not.empty()) return;
      test();
      ::umount2(disk_.c_str(), MNT_DETACH);
    }).join();
    if (!why_not.empty()) GTEST_SKIP() << why_not;
  }
  std::unique_ptr<Pipeline> open(Overflow overflow) {
    sink_.buffer.limits.overflow = overflow;
    auto pipeline =
        Pipeline::open({.sinks = {sink_}}, {.writer = ++writer_, .keep_path = keep_}, clock_, sinks_into(journal_));
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    return std::move(pipeline).value();
  }
  /// A record of 10 kB, in order.
  Taken put(Pipeline& pipeline, Told* told = nullptr) {
    std::string text = std::to_string(1'000 + sent_.size());
    text.resize(10'000, '.');
    RecordBatch batch = batch_of({text});
    const Taken taken = pipeline.put("app", batch, told == nullptr ? Ack::kReceived : Ack::kBuffered,
                                     told == nullptr ? nullptr : told->callback());
    if (taken == Taken::kYes) sent_.push_back(text);
    return taken;
  }
  /// The sink is held at a first chunk, and the next is durable.
  void put_behind_a_held_one(Pipeline& pipeline) {
    journal_.hold(true);
    pipeline.start_sinks();
    put(pipeline);
    ASSERT_TRUE(journal_.wait_tries(1));
    Told durable;
    put(pipeline, &durable);
    EXPECT_EQ(durable.wait(), std::nullopt);
  }
  void put_until(Pipeline& pipeline, Taken last) {
    for (int i = 0; i < 1'000; ++i)
      if (put(pipeline) == last) return;
    FAIL() << "the disk is never full";
  }
  static void wait_for(const std::function<bool()>& what) {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    bool met = false;
    while (!(met = what()) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(met);
  }
  static BufferStats buffer_of(const Pipeline& pipeline) { return pipeline.stats().sinks[0].buffer; }
  static bool has_chunk_files(const std::string& path) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(path, error))
      if (entry.path().extension() == ".chunk") return true;
    return false;
  }
  void expect_each_once() {
    EXPECT_TRUE(journal_.wait_texts(sent_.size()));
    EXPECT_EQ(journal_.texts(), sent_);
  }

  TestDir dir_;
  std::string disk_ = (dir_.path() / "disk").string(), buffer_ = disk_ + "/buffer";
  RealClock clock_;
  Journal journal_;
  SinkConfig sink_;
  std::uint64_t writer_{0};
  std::string keep_;
  Texts sent_;
};

TEST_F(DiskTest, AFullOneHoldsSendersBackAndLosesNothing) {
  on_small_disk([this] {
    {
      std::ofstream(disk_ + "/ballast") << std::string(500'000, 'x');
    }
    auto pipeline = open(Overflow::kBlock);
    ASSERT_NO_FATAL_FAILURE(put_until(*pipeline, Taken::kWait));
    const BufferStats full = buffer_of(*pipeline);
    EXPECT_EQ(full.parked.records, 1U) << "what it had given room to";
    EXPECT_NE(full.trouble.find("No space left"), std::string::npos) << full.trouble;
    EXPECT_TRUE(full.full);
    Told room;
    pipeline->on_room([told = room.callback()]() mutable { told({}); });
    EXPECT_FALSE(room.told());
    fs::remove(disk_ + "/ballast");
    pipeline->start_sinks();
    EXPECT_EQ(room.wait(), std::nullopt);
    wait_for([&] { return put(*pipeline) == Taken::kYes; });
    expect_each_once();
    EXPECT_EQ(buffer_of(*pipeline).trouble, "");
    EXPECT_EQ(buffer_of(*pipeline).parked.records, 0U);
  });
}

TEST_F(DiskTest, WhatAFullOneRefusedIsKeptElsewhereForTheNextProcess) {
  on_small_disk([this] {
    keep_ = (dir_.path() / "keep").string();
    auto pipeline = open(Overflow::kBlock);
    ASSERT_NO_FATAL_FAILURE(put_until(*pipeline, Taken::kWait));
    EXPECT_EQ(buffer_of(*pipeline).parked.records, 1U);
    const LeftBehind left = pipeline->hand_over();
    EXPECT_EQ(left.lost.records, 0U);
    EXPECT_EQ(left.kept.records, sent_.size());
    pipeline.reset();
    auto next = open(Overflow::kBlock);
    next->start_sinks();
    EXPECT_TRUE(journal_.wait_texts(sent_.size()));
    EXPECT_EQ(journal_.texts(), sent_);
  });
}

TEST_F(DiskTest, AFullOneRefusesWhereSendersCanBeTold) {
  on_small_disk([this] {
    auto pipeline = open(Overflow::kReject);
    ASSERT_NO_FATAL_FAILURE(put_until(*pipeline, Taken::kRefused));
    EXPECT_EQ(buffer_of(*pipeline).refused.records, 1U);
    pipeline->start_sinks();
    expect_each_once();
    Told told;
    wait_for([&] { return put(*pipeline, &told) == Taken::kYes; });
    EXPECT_EQ(told.wait(), std::nullopt);
    expect_each_once();
  });
}

TEST_F(DiskTest, AFullOneLosesNoMoreThanItsOldestChunk) {
  on_small_disk([this] {
    sink_.buffer.limits.sync = SyncPolicy::kInterval;
    sink_.buffer.limits.sync_interval = 1h;
    auto pipeline = open(Overflow::kDropOldestChunk);
    while (buffer_of(*pipeline).dropped.chunks == 0 && sent_.size() < 1'000) EXPECT_EQ(put(*pipeline), Taken::kYes);
    const BufferStats stats = buffer_of(*pipeline);
    EXPECT_EQ(stats.dropped.chunks, 1U) << "the room of one was enough, though its file is open until it is synced";
    EXPECT_EQ(stats.parked.records, 0U);
    sent_.erase(sent_.begin(), sent_.begin() + static_cast<std::ptrdiff_t>(stats.dropped.records));
    pipeline->start_sinks();
    expect_each_once();
  });
}

TEST_F(DiskTest, AReadOnlyOneTakesNothingAndNothingComesTwice) {
  on_small_disk([this] {
    auto pipeline = open(Overflow::kBlock);
    journal_.hold(true);
    pipeline->start_sinks();
    Told durable;
    put(*pipeline, &durable);
    EXPECT_EQ(durable.wait(), std::nullopt);
    ASSERT_TRUE(journal_.wait_tries(1));  // its file is closed now or soon
    wait_for([this] { return ::mount("none", disk_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0; });
    put(*pipeline);
    EXPECT_NE(buffer_of(*pipeline).trouble.find("Read-only"), std::string::npos) << buffer_of(*pipeline).trouble;
    EXPECT_EQ(put(*pipeline), Taken::kWait);
    journal_.hold(false);
    EXPECT_TRUE(journal_.wait_texts(1)) << "what is in it can still be read";
    ASSERT_EQ(::mount("none", disk_.c_str(), nullptr, MS_REMOUNT, "size=1m"), 0);
    expect_each_once();
    pipeline->stop();
    EXPECT_FALSE(has_chunk_files(buffer_)) << "what could not be removed then would come a second time";
    auto next = open(Overflow::kBlock);
    next->start_sinks();
    Told told;
    EXPECT_EQ(put(*next, &told), Taken::kYes);
    expect_each_once();
  });
}

TEST_F(DiskTest, ADirectoryThatIsAwayForATimeIsWaitedFor) {
  auto pipeline = open(Overflow::kBlock);
  ASSERT_NO_FATAL_FAILURE(put_behind_a_held_one(*pipeline));
  fs::rename(buffer_, disk_ + "/elsewhere");
  wait_for([&] { return put(*pipeline) == Taken::kWait; });
  EXPECT_NE(buffer_of(*pipeline).trouble.find("No such file"), std::string::npos) << buffer_of(*pipeline).trouble;
  journal_.hold(false);
  wait_for([&] { return pipeline->stats().sinks[0].retries > 0; });
  fs::rename(disk_ + "/elsewhere", buffer_);
  expect_each_once();
  EXPECT_EQ(buffer_of(*pipeline).dropped.records, 0U);
}

TEST_F(DiskTest, AnotherDiskOverTheDirectoryIsWaitedFor) {
  on_small_disk([this] {
    fs::create_directory(buffer_);
    auto pipeline = open(Overflow::kBlock);
    ASSERT_NO_FATAL_FAILURE(put_behind_a_held_one(*pipeline));
    ASSERT_EQ(::mount("over", buffer_.c_str(), "tmpfs", MS_RDONLY, nullptr), 0);
    journal_.hold(false);
    wait_for([&] { return pipeline->stats().sinks[0].retries > 0; });
    ASSERT_EQ(::umount2(buffer_.c_str(), MNT_DETACH), 0);
    expect_each_once();
    EXPECT_EQ(buffer_of(*pipeline).dropped.records, 0U);
  });
}

TEST_F(DiskTest, WhatIsStillOpenSurvivesThatSomebodyRemovesIt) {
  sink_.buffer.limits.flush_interval = 1h;
  auto pipeline = open(Overflow::kBlock);
  Told durable, lost, again;
  put(*pipeline, &durable);
  EXPECT_EQ(durable.wait(), std::nullopt);
  fs::remove_all(buffer_);
  fs::create_directories(buffer_);
  put(*pipeline, &lost);
  EXPECT_EQ(lost.wait(), Errc::kIo) << "its file has no name any more";
  put(*pipeline, &again);
  EXPECT_EQ(again.wait(), std::nullopt);
  EXPECT_TRUE(has_chunk_files(buffer_));
  EXPECT_TRUE(ChunkDirectory::files_left(buffer_).empty()) << "the lock went with the directory, and is there again";
  pipeline->start_sinks();
  expect_each_once();
}

TEST_F(DiskTest, AChunkThatSomebodyRemovedIsCountedAsLostAndTheRestGoesOn) {
  auto pipeline = open(Overflow::kBlock);
  journal_.hold(true);
  pipeline->start_sinks();
  Told durable;
  put(*pipeline, &durable);
  EXPECT_EQ(durable.wait(), std::nullopt);
  ASSERT_TRUE(journal_.wait_tries(1));
  for (const auto& entry : fs::directory_iterator(buffer_))
    if (entry.path().extension() == ".chunk") fs::remove(entry.path());
  journal_.hold(false);
  put(*pipeline);
  sent_.erase(sent_.begin());
  expect_each_once();
  EXPECT_EQ(buffer_of(*pipeline).dropped.records, 1U);
}

}  // namespace
}  // namespace outlast::ingest
