#include "ingest/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ingest/testing/batches.h"
#include "ingest/testing/journal.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::Journal;
using testing_support::JournalSink;
using testing_support::quick_sink;
using testing_support::RealClock;
using testing_support::texts_of;
using testing_support::Told;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;
class PipelineTest : public testing::Test {
 protected:
  SinkConfig file_buffered(const std::string& name) {
    SinkConfig config = quick_sink(name);
    config.buffer.file = true;
    config.buffer.path = path("buffer-" + name);
    config.buffer.flush_at_shutdown = false;
    return config;
  }
  std::unique_ptr<Pipeline> open(std::vector<SinkConfig> sinks, std::uint64_t writer = 1) {
    auto pipeline =
        Pipeline::open({.sinks = std::move(sinks)}, {.writer = writer, .keep_path = path("keep")}, clock_,
                       [this](const SinkConfig& config, const Decoder&) {
                         return std::unique_ptr<Sink>(std::make_unique<JournalSink>(journals_[config.name]));
                       });
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    return std::move(pipeline).value();
  }
  static Taken put(Pipeline& pipeline, const Texts& texts, Ack ack = Ack::kReceived, Told* told = nullptr,
                   const std::string& tag = "app.web") {
    RecordBatch batch = batch_of(texts);
    const Taken taken = pipeline.put(tag, batch, ack, told == nullptr ? nullptr : told->callback());
    EXPECT_EQ(batch.empty(), taken == Taken::kYes);
    return taken;
  }
  static void wait_for_room(Pipeline& pipeline) {
    Told room;
    pipeline.on_room([told = room.callback()]() mutable { told({}); });
    room.wait();
  }
  static void put_patiently(Pipeline& pipeline, const std::string& text) {
    RecordBatch batch = batch_of({text});
    while (pipeline.put("app.web", batch, Ack::kReceived, nullptr) == Taken::kWait) wait_for_room(pipeline);
  }
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }

  TestDir dir_;
  RealClock clock_;
  std::map<std::string, Journal> journals_;
};

TEST_F(PipelineTest, BringsEachBatchToAllSinksThatItsTagMatches) {
  auto pipeline = open({quick_sink("all"), quick_sink("web", "app.*"), quick_sink("db", "db.**")});
  pipeline->start_sinks();
  Told first, second;
  EXPECT_EQ(put(*pipeline, {"a", "b"}, Ack::kStored, &first), Taken::kYes);
  EXPECT_EQ(first.wait(), std::nullopt);
  EXPECT_EQ(put(*pipeline, {"c"}, Ack::kStored, &second, "db.x.y"), Taken::kYes);
  EXPECT_EQ(second.wait(), std::nullopt);
  EXPECT_EQ(journals_["all"].texts(), (Texts{"a", "b", "c"}));
  EXPECT_EQ(journals_["web"].texts(), (Texts{"a", "b"}));
  EXPECT_EQ(journals_["db"].texts(), (Texts{"c"}));
}

TEST_F(PipelineTest, CountsWhatNoSinkMatches) {
  auto pipeline = open({quick_sink("web", "app.*")});
  Told told;
  EXPECT_EQ(put(*pipeline, {"a"}, Ack::kBuffered, &told, "other"), Taken::kYes);
  EXPECT_EQ(told.wait(), Errc::kNotFound);
  EXPECT_EQ(put(*pipeline, {"b", "c"}, Ack::kReceived, nullptr, "other"), Taken::kYes);
  EXPECT_EQ(pipeline->stats().unmatched.records, 3U);
}

TEST_F(PipelineTest, StoredMeansInEverySink) {
  journals_["down"].down(true);
  auto pipeline = open({quick_sink("up"), quick_sink("down")});
  pipeline->start_sinks();
  Told told;
  put(*pipeline, {"a"}, Ack::kStored, &told);
  EXPECT_TRUE(journals_["up"].wait_tries(1));
  EXPECT_TRUE(journals_["down"].wait_tries(3));
  EXPECT_FALSE(told.told());
  EXPECT_GE(pipeline->stats().sinks[1].retries, 2U);
  journals_["down"].down(false);
  EXPECT_EQ(told.wait(), std::nullopt);
  EXPECT_EQ(pipeline->stats().sinks[1].failures, 0U);
}

TEST_F(PipelineTest, BuffersOnlyUntilItsSinksAreStarted) {
  auto pipeline = open({quick_sink("s")});
  Told told;
  put(*pipeline, {"a"}, Ack::kStored, &told);
  put(*pipeline, {"b"});
  EXPECT_EQ(pipeline->stats().sinks[0].buffer.held.records, 2U);
  pipeline->start_sinks();
  EXPECT_EQ(told.wait(), std::nullopt);
}

TEST_F(PipelineTest, InAHurryNothingWaitsForItsIntervalAndWhatTheDeadLeftIsLookedFor) {
  SinkConfig config = file_buffered("s");
  config.buffer.limits.flush_interval = 1h;
  auto dead = open({config}, 1);
  put(*dead, {"left"});
  auto pipeline = open({config}, 2);
  const auto is_empty = [&pipeline] { return pipeline->stats().sinks[0].is_empty(); };
  pipeline->hurry(true);
  EXPECT_FALSE(is_empty()) << "it has not looked before its sinks are started";
  pipeline->start_sinks();
  Texts want;
  const auto expect_empty = [&](const std::string& last) {
    want.push_back(last);
    EXPECT_TRUE(journals_["s"].wait_texts(want.size()));
    for (const auto end = std::chrono::steady_clock::now() + 30s;
         !is_empty() && std::chrono::steady_clock::now() < end;)
      std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(is_empty());
  };
  put(*pipeline, {"a"});
  expect_empty("a");
  put(*pipeline, {"b"});
  EXPECT_GT(pipeline->stats().sinks[0].bytes_left() + journals_["s"].texts().size(), 0U);
  expect_empty("b");
  dead->hand_over();
  pipeline->hurry(true);
  EXPECT_FALSE(is_empty()) << "not before it has looked again";
  expect_empty("left");
  pipeline->hurry(false);
  put(*pipeline, {"c"});
  EXPECT_FALSE(is_empty());
  EXPECT_EQ(journals_["s"].texts(), want);
}

TEST_F(PipelineTest, HandsOverWhatIsInFilesAndInMemory) {
  for (const bool file : {false, true}) {
    const std::string name = file ? "file" : "memory";
    const SinkConfig config = file ? file_buffered(name) : quick_sink(name);
    auto old = open({config}, 1);
    put(*old, {"a"});
    put(*old, {"b"});
    auto next = open({config}, 2);  // beside the old one, as in a restart
    put(*next, {"c"});
    const LeftBehind left = old->hand_over();
    EXPECT_EQ(left.kept.records, 2U);
    EXPECT_EQ(left.lost.records, 0U);
    EXPECT_NE(put(*old, {"too late"}), Taken::kYes);
    next->start_sinks();
    Told told;
    put(*next, {"d"}, Ack::kStored, &told);
    EXPECT_EQ(told.wait(), std::nullopt);
    EXPECT_EQ(next->stats().sinks[0].buffer.replayed.records, 2U);
    EXPECT_EQ(journals_[name].texts(), (Texts{"a", "b", "c", "d"})) << "what is older goes first";
    next->stop();
    auto last = open({config}, 3);
    last->start_sinks();
    put(*last, {"e"}, Ack::kStored, &(told = Told()));
    EXPECT_EQ(told.wait(), std::nullopt);
    EXPECT_EQ(journals_[name].texts().size(), 5U) << "nothing comes twice";
  }
}

TEST_F(PipelineTest, FlushesMemoryWhenItStops) {
  SinkConfig config = quick_sink("s");
  config.buffer.limits.flush_interval = 1h;
  auto pipeline = open({config});
  pipeline->start_sinks();
  put(*pipeline, {"a"});
  const LeftBehind left = pipeline->stop();
  EXPECT_EQ(left.kept.records, 0U);
  EXPECT_EQ(journals_["s"].texts(), (Texts{"a"}));
}

TEST_F(PipelineTest, KeepsWhatADeadSinkDoesNotTakeWhenItStops) {
  journals_["s"].down(true);
  SinkConfig config = quick_sink("s");
  config.buffer.limits.retry.wait = 1h;
  config.buffer.limits.retry.max_interval.reset();
  auto pipeline = open({config});
  pipeline->start_sinks();
  put(*pipeline, {"a"});
  EXPECT_EQ(pipeline->stop().kept.records, 1U);
  journals_["s"].down(false);
  auto next = open({config}, 2);
  next->start_sinks();
  Told told;
  put(*next, {"b"}, Ack::kStored, &told);
  EXPECT_EQ(told.wait(), std::nullopt);
  EXPECT_EQ(journals_["s"].texts(), (Texts{"a", "b"}));
}

TEST_F(PipelineTest, SetsAsideWhatASinkWillNeverTakeAndGoesOn) {
  SinkConfig config = file_buffered("s");
  journals_["s"].answer(Error(Errc::kInvalidArgument, "what is this"));
  auto pipeline = open({config});
  pipeline->start_sinks();
  Told told, next;
  put(*pipeline, {"bad"}, Ack::kStored, &told);
  EXPECT_EQ(told.wait(), Errc::kInvalidArgument);
  put(*pipeline, {"good"}, Ack::kStored, &next);
  EXPECT_EQ(next.wait(), std::nullopt);
  EXPECT_EQ(journals_["s"].texts(), (Texts{"good"}));
  const SinkStats stats = pipeline->stats().sinks[0];
  EXPECT_EQ(stats.set_aside.records, 1U);
  EXPECT_EQ(stats.buffer.dropped.records, 0U);
  pipeline->stop();
  auto aside = ChunkDirectory::open(config.buffer.path + "/secondary", 9).value();
  const auto chunks = aside->left_over();
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(texts_of(*chunks[0]), (Texts{"bad"}));
}

TEST_F(PipelineTest, GivesUpAfterItsRetriesButKeepsTheRecords) {
  journals_["s"].down(true);
  SinkConfig config = quick_sink("s");
  config.buffer.limits.retry.max_times = 2;
  config.buffer.secondary_path = path("aside");
  auto pipeline = open({config});
  pipeline->start_sinks();
  Told told;
  put(*pipeline, {"a"}, Ack::kStored, &told);
  EXPECT_EQ(told.wait(), Errc::kUnavailable);
  EXPECT_EQ(pipeline->stats().sinks[0].set_aside.records, 1U);
  pipeline->stop();
  auto aside = ChunkDirectory::open(path("aside"), 9).value();
  EXPECT_EQ(aside->left_over().size(), 1U);
}

TEST_F(PipelineTest, MakesInputsWaitAndWakesThemWhenThereIsRoom) {
  journals_["s"].down(true);
  SinkConfig config = quick_sink("s");
  config.buffer.limits.total_bytes = batch_of({"12345"}).bytes();
  auto pipeline = open({config, quick_sink("other")});
  pipeline->start_sinks();
  EXPECT_EQ(put(*pipeline, {"12345"}), Taken::kYes);
  EXPECT_EQ(put(*pipeline, {"67890"}), Taken::kWait);
  EXPECT_EQ(pipeline->stats().sinks[1].buffer.taken.records, 1U) << "all of the batch or nothing of it";
  Told room;
  pipeline->on_room([told = room.callback()]() mutable { told({}); });
  EXPECT_FALSE(room.told());
  journals_["s"].down(false);
  EXPECT_EQ(room.wait(), std::nullopt);
  EXPECT_EQ(put(*pipeline, {"67890"}), Taken::kYes);
  Told at_once;
  auto idle = open({quick_sink("idle")}, 2);
  idle->on_room([told = at_once.callback()]() mutable { told({}); });
  EXPECT_TRUE(at_once.told());
}

TEST_F(PipelineTest, ASinkThatRejectsHoldsNobodyBackWhoIsToldNothing) {
  SinkConfig small = quick_sink("small");
  small.buffer.limits.total_bytes = 1;
  small.buffer.limits.overflow = Overflow::kReject;
  small.buffer.limits.chunk_bytes = 1;
  auto pipeline = open({small, quick_sink("large")});
  Told told;
  EXPECT_EQ(put(*pipeline, {"a"}, Ack::kBuffered, &told), Taken::kRefused);
  EXPECT_EQ(put(*pipeline, {"b"}), Taken::kYes);
  EXPECT_EQ(pipeline->stats().sinks[0].buffer.refused.records, 2U);
  EXPECT_EQ(pipeline->stats().sinks[1].buffer.taken.records, 1U);
}

TEST_F(PipelineTest, AcknowledgesAfterTheFileIsSynced) {
  SinkConfig config = file_buffered("s");
  config.buffer.limits.sync = SyncPolicy::kAlways;
  auto pipeline = open({config});  // no sink runs: only the disk can have it
  Told told;
  put(*pipeline, {"a"}, Ack::kBuffered, &told);
  EXPECT_EQ(told.wait(), std::nullopt);
}

TEST_F(PipelineTest, ManyThreadsLoseAndDoubleNothing) {
  SinkConfig config = file_buffered("s");
  config.buffer.limits.chunk_bytes = 2'000;
  config.buffer.limits.total_bytes = 20'000;
  config.buffer.limits.flush_threads = 2;
  config.buffer.flush_at_shutdown = true;
  auto pipeline = open({config});
  pipeline->start_sinks();
  constexpr int kThreads = 4, kBatches = 300;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kBatches; ++i) put_patiently(*pipeline, std::to_string(t) + "." + std::to_string(i));
    });
  for (std::thread& thread : threads) thread.join();
  pipeline->stop();
  auto next = open({config}, 2);
  next->start_sinks();
  Told last;
  while (put(*next, {"last"}, Ack::kStored, &last) == Taken::kWait) wait_for_room(*next);
  last.wait();
  next->stop();
  Texts texts = journals_["s"].texts();
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(kThreads * kBatches + 1));
  std::ranges::sort(texts);
  EXPECT_EQ(std::ranges::unique(texts).size(), 0U);
}

TEST_F(PipelineTest, RefusesASinkThatNeedsADatabaseWhereThereIsNone) {
  const auto pipeline = Pipeline::open({.sinks = {quick_sink("t")}}, {.writer = 1}, clock_);
  EXPECT_EQ(pipeline.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace outlast::ingest
