// From open() to start_sinks(): what comes lies in a buffer of its own, and goes first afterwards.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

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
using testing_support::quick_sink;
using testing_support::RealClock;
using testing_support::sinks_into;
using testing_support::texts_of;
using testing_support::Told;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;

class SourceOnlyTest : public testing::Test {
 protected:
  SourceOnlyTest() {
    sink_ = quick_sink("s");
    source_only_.file = true;
    source_only_.path = path("parked");
    source_only_.limits.overflow = Overflow::kDropOldestChunk;
    source_only_.limits.sync = SyncPolicy::kNever;
  }
  std::unique_ptr<Pipeline> open(std::uint64_t writer = 1, bool section = true) {
    IngestConfig config{.sinks = {sink_}};
    if (section) config.source_only = source_only_;
    auto pipeline = Pipeline::open(config, {.writer = writer, .keep_path = path("keep")}, clock_, sinks_into(journal_));
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    return std::move(pipeline).value();
  }
  static Taken put(Pipeline& pipeline, const std::string& text) {
    RecordBatch batch = batch_of({text});
    return pipeline.put("app", batch, Ack::kReceived, nullptr);
  }
  void put_stored(Pipeline& pipeline, const std::string& text) {
    RecordBatch batch = batch_of({text});
    Told told;
    EXPECT_EQ(pipeline.put("app", batch, Ack::kStored, told.callback()), Taken::kYes);
    EXPECT_EQ(told.wait(), std::nullopt);
  }
  static BufferStats buffer_of(const Pipeline& pipeline) { return pipeline.stats().sinks[0].buffer; }
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }
  std::size_t files() const { return ChunkDirectory::files_left(path("parked/s")).size(); }

  TestDir dir_;
  RealClock clock_;
  Journal journal_;
  SinkConfig sink_;
  BufferConfig source_only_;
};

TEST_F(SourceOnlyTest, LiesInFilesOfItsOwnAndGoesFirst) {
  auto pipeline = open();
  put(*pipeline, "a");
  put(*pipeline, "b");
  EXPECT_FALSE(std::filesystem::is_empty(path("parked/s")));
  pipeline->start_sinks();
  put_stored(*pipeline, "c");
  EXPECT_EQ(journal_.texts(), (Texts{"a", "b", "c"}));
  const BufferStats stats = buffer_of(*pipeline);
  EXPECT_EQ(stats.source_only.records, 2U);
  EXPECT_EQ(stats.source_only_replayed.records, 2U);
  EXPECT_EQ(stats.taken.records, 3U);
  EXPECT_EQ(stats.held.records, 0U);
  pipeline->stop();
  EXPECT_EQ(files(), 0U);
}

TEST_F(SourceOnlyTest, UsesTheSinksOwnBufferWithoutASection) {
  sink_.buffer.limits.total_bytes = batch_of({"a"}).bytes();
  auto pipeline = open(1, false);
  EXPECT_EQ(put(*pipeline, "a"), Taken::kYes);
  EXPECT_EQ(put(*pipeline, "b"), Taken::kWait) << "its limits hold";
  pipeline->start_sinks();
  EXPECT_TRUE(journal_.wait_texts(1));
  while (put(*pipeline, "c") == Taken::kWait) {
    Told room;
    pipeline->on_room([told = room.callback()]() mutable { told({}); });
    EXPECT_EQ(room.wait(), std::nullopt);
  }
  EXPECT_TRUE(journal_.wait_texts(2));
  EXPECT_EQ(journal_.texts(), (Texts{"a", "c"}));
  EXPECT_EQ(buffer_of(*pipeline).source_only.records, 1U);
  EXPECT_EQ(buffer_of(*pipeline).source_only_replayed.records, 1U);
}

TEST_F(SourceOnlyTest, DropsItsOldestWhenItIsFull) {
  source_only_.limits.chunk_bytes = 1;
  source_only_.limits.total_bytes = 2 * batch_of({"a"}).bytes();
  auto pipeline = open();
  for (const char* text : {"a", "b", "c"}) EXPECT_EQ(put(*pipeline, text), Taken::kYes);
  EXPECT_EQ(buffer_of(*pipeline).dropped.records, 1U);
  pipeline->start_sinks();
  put_stored(*pipeline, "d");
  EXPECT_EQ(journal_.texts(), (Texts{"b", "c", "d"}));
}

TEST_F(SourceOnlyTest, TheReplayNeverStopsTheReader) {
  // More than the sink's own buffer holds, and a sink that takes none of it for as long as the reader reads.
  const std::uint64_t bytes = batch_of({"0000"}).bytes();
  constexpr int kParked = 200, kNew = 100;
  source_only_.limits.chunk_bytes = bytes;
  sink_.buffer.limits.chunk_bytes = bytes;
  sink_.buffer.limits.total_bytes = kNew * bytes;
  auto pipeline = open();
  Texts sent;
  const auto send = [&](int number) {
    sent.push_back(std::to_string(1'000 + number));
    ASSERT_EQ(put(*pipeline, sent.back()), Taken::kYes) << number;
  };
  for (int i = 0; i < kParked; ++i) send(i);
  journal_.hold(true);
  pipeline->start_sinks();
  ASSERT_TRUE(journal_.wait_tries(1));
  for (int i = 0; i < kNew; ++i) send(kParked + i);
  EXPECT_EQ(journal_.tries(), 1) << "all were taken while the first chunk was being replayed";
  EXPECT_EQ(put(*pipeline, "0000"), Taken::kWait) << "now its own room is used up";
  journal_.hold(false);
  EXPECT_TRUE(journal_.wait_texts(sent.size()));
  EXPECT_EQ(journal_.texts(), sent);
}

TEST_F(SourceOnlyTest, TheNextProcessTakesItWhateverItsModeOnceAndInOrder) {
  auto first = open(1);
  put(*first, "a");
  EXPECT_EQ(first->hand_over().kept.records, 1U);
  auto second = open(2);
  put(*second, "b");  // source-only again, and it never gets further
  second->hand_over();
  EXPECT_EQ(files(), 2U);
  auto third = open(3, false);  // a configuration that has no such section
  put(*third, "c");
  third->start_sinks();
  put_stored(*third, "d");
  EXPECT_EQ(journal_.texts(), (Texts{"a", "b", "c", "d"}));
  EXPECT_EQ(buffer_of(*third).replayed.records, 2U);
  third->stop();
  EXPECT_EQ(files(), 0U);
}

TEST_F(SourceOnlyTest, ARestartInTheReplayKeepsTheOrder) {
  source_only_.limits.chunk_bytes = 1;
  sink_.buffer.limits.chunk_bytes = 1;
  journal_.down(true);
  auto old = open(1);
  put(*old, "a");
  put(*old, "b");
  old->start_sinks();
  put(*old, "c");
  auto next = open(2);
  put(*next, "d");
  EXPECT_EQ(old->hand_over().kept.records, 3U);
  journal_.down(false);
  next->start_sinks();
  put_stored(*next, "e");
  EXPECT_EQ(journal_.texts(), (Texts{"a", "b", "c", "d", "e"}));
}

TEST_F(SourceOnlyTest, InMemoryItIsKeptAtTheEndAsTheSinksOwnIs) {
  for (const bool file : {false, true}) {
    source_only_.file = false;
    sink_.buffer.file = file;
    sink_.buffer.path = path("own");
    auto pipeline = open(file ? 3 : 1);
    put(*pipeline, "a");
    EXPECT_EQ(pipeline->stop().lost.records, 0U);
    auto next = open(file ? 4 : 2);
    next->start_sinks();
    put_stored(*next, "b");
  }
  EXPECT_EQ(journal_.texts(), (Texts{"a", "b", "a", "b"}));
}

TEST_F(SourceOnlyTest, NeedsAPlace) {
  source_only_.path.clear();
  auto pipeline = Pipeline::open({.sinks = {}, .source_only = source_only_}, {.writer = 1}, clock_);
  EXPECT_EQ(pipeline.error().code, Errc::kInvalidArgument);
  auto with_store = open();
  put(*with_store, "a");
  EXPECT_TRUE(std::filesystem::exists(path("keep/source-only/s")));
}

}  // namespace
}  // namespace outlast::ingest
