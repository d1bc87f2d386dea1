// A sink that is down for minutes, and wall clocks that jump: on a clock that the test moves.
#include <gtest/gtest.h>

#include "ingest/pipeline.h"
#include "ingest/testing/journal.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::Journal;
using testing_support::sinks_into;
using testing_support::TestClock;
using testing_support::texts_of;
using testing_support::Told;
using Texts = std::vector<std::string>;

class OutageTest : public testing::Test {
 protected:
  OutageTest() {
    sink_.kind = SinkKind::kTable;  // made by the test
    sink_.name = "s";
    sink_.match = TagPattern::parse("**").value();
    sink_.buffer.file = true;
    sink_.buffer.path = path("buffer");
    sink_.buffer.limits.chunk_bytes = 1;
    sink_.buffer.limits.retry.randomize = false;
  }
  std::unique_ptr<Pipeline> open() {
    auto pipeline = Pipeline::open({.sinks = {sink_}}, {.writer = 1}, clock_, sinks_into(journal_));
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    (*pipeline)->start_sinks();
    return std::move(pipeline).value();
  }
  /// One more record; whoever waits looks at the clock again.
  void put(Pipeline& pipeline) {
    sent_.push_back(std::to_string(1'000 + sent_.size()));
    RecordBatch batch = batch_of({sent_.back()});
    ASSERT_EQ(pipeline.put("app", batch, Ack::kReceived, nullptr), Intake::Taken::kYes);
  }
  /// A second passes, and a record comes.
  void second(Pipeline& pipeline) {
    clock_.advance(1s);
    put(pipeline);
  }
  /// Its n-th try of this outage has failed, and it knows when the next is due.
  void wait_failed(Pipeline& pipeline, std::uint32_t tries) {
    const auto end = std::chrono::steady_clock::now() + testing_support::kDeadline;
    while (pipeline.stats().sinks[0].failures != tries && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(1ms);
    ASSERT_EQ(pipeline.stats().sinks[0].failures, tries);
  }
  Texts set_aside() const {
    Texts texts;
    for (const auto& chunk : ChunkDirectory::open(path("buffer/secondary"), 9).value()->left_over())
      for (std::string& text : texts_of(*chunk)) texts.push_back(std::move(text));
    return texts;
  }
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }

  TestDir dir_;
  TestClock clock_;
  Journal journal_;
  SinkConfig sink_;
  Texts sent_;
};

TEST_F(OutageTest, ASinkThatIsDownForMinutesIsAskedLessAndLessAndThenGetsAllOnce) {
  sink_.buffer.limits.retry.max_interval = 64s;
  journal_.down(true);
  auto pipeline = open();
  put(*pipeline);
  ASSERT_NO_FATAL_FAILURE(wait_failed(*pipeline, 1));
  // Waits of 1, 2, 4, 8, 16, 32, 64, 64 seconds: tries after 1, 3, 7, 15, 31, 63, 127, 191.
  std::uint32_t tries = 1;
  for (int at = 1, next = 1, wait = 1; at <= 200; ++at) {
    second(*pipeline);
    if (at < next) continue;
    ASSERT_NO_FATAL_FAILURE(wait_failed(*pipeline, ++tries)) << at;
    wait = std::min(wait * 2, 64);
    next += wait;
  }
  EXPECT_EQ(journal_.tries(), 9);
  EXPECT_TRUE(journal_.texts().empty());
  journal_.down(false);
  clock_.advance(64s);
  put(*pipeline);
  EXPECT_TRUE(journal_.wait_texts(sent_.size()));
  EXPECT_EQ(journal_.texts(), sent_);
  EXPECT_EQ(pipeline->stats().sinks[0].set_aside.records, 0U);
}

TEST_F(OutageTest, AtTheTimeoutAllThatWaitIsSetAsideAndTheNextGoesOn) {
  sink_.buffer.limits.retry.timeout = 2min;
  journal_.down(true);
  auto pipeline = open();
  put(*pipeline);
  ASSERT_NO_FATAL_FAILURE(wait_failed(*pipeline, 1));
  std::uint32_t tries = 1;
  for (int at = 1, next = 1; at <= 120; ++at) {
    second(*pipeline);
    if (at < next) continue;
    ASSERT_NO_FATAL_FAILURE(wait_failed(*pipeline, ++tries)) << at;
    next = 2 * next + 1;
  }
  const auto end = std::chrono::steady_clock::now() + testing_support::kDeadline;
  const auto aside = [&] { return pipeline->stats().sinks[0].set_aside.records; };
  while (aside() == 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  journal_.down(false);
  clock_.advance(1h);
  put(*pipeline);
  while (journal_.texts().empty() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  pipeline->stop();
  Texts all = set_aside();
  EXPECT_GE(all.size(), 120U);
  EXPECT_EQ(pipeline->stats().sinks[0].set_aside.records, all.size());
  for (std::string& text : journal_.texts()) all.push_back(std::move(text));
  EXPECT_EQ(all, sent_) << "each in one of the two places";
}

TEST_F(OutageTest, ChunksWaitByTheMonotonicClockWhateverTheWallClockDoes) {
  sink_.buffer.limits.chunk_bytes = 1'000;
  sink_.buffer.limits.flush_interval = 60s;
  for (const Duration jump : {Duration(5h), Duration(-10h)}) {
    ChunkIds ids(7);
    ChunkBuffer buffer(sink_.buffer.limits, std::make_shared<MemoryChunkStore>(), ids, clock_, {});
    SeededRandom random(1);
    const RecordBatch batch = batch_of({"a"});
    ASSERT_EQ(buffer.reserve(batch), Intake::Taken::kYes);
    buffer.append("t", batch, Ack::kReceived, nullptr);
    clock_.advance(20s);
    clock_.set_wall(jump);
    EXPECT_EQ(buffer.take(), nullptr);
    EXPECT_EQ(buffer.stats().oldest_nanos, Duration(20s).count());
    EXPECT_EQ(*buffer.next_due(), clock_.now() + 40s);
    clock_.advance(40s);
    const auto chunk = buffer.take();
    ASSERT_NE(chunk, nullptr);
    EXPECT_TRUE(buffer.failed(*chunk, random));
    clock_.set_wall(jump);
    EXPECT_EQ(buffer.take(), nullptr);
    clock_.advance(1s);
    EXPECT_NE(buffer.take(), nullptr);
  }
}

TEST_F(OutageTest, WhatAnEarlierProcessLeftIsNeverOfTheFuture) {
  auto left = MemoryChunkStore().create({{1, 1}, "t", clock_.wall_micros()}).value();
  ASSERT_TRUE(left->append(batch_of({"a"})).ok());
  clock_.set_wall(-3h);
  ChunkIds ids(7);
  ChunkBuffer buffer({}, std::make_shared<MemoryChunkStore>(), ids, clock_, {});
  buffer.adopt({left});
  EXPECT_EQ(buffer.stats().oldest_nanos, 0);
  clock_.advance(5s);
  EXPECT_EQ(buffer.stats().oldest_nanos, Duration(5s).count());
}

}  // namespace
}  // namespace outlast::ingest
