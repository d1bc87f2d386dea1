// Records that come under an id, through a pipeline: each sink gets them once.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "ingest/input/http.h"
#include "ingest/pipeline.h"
#include "ingest/sink/forward_sink.h"
#include "ingest/testing/batches.h"
#include "ingest/testing/journal.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::kDeadline;
using testing_support::quick_sink;
using testing_support::RealClock;
using testing_support::texts_of;
using testing_support::Told;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;
constexpr ChunkId kId{0xa7, 1};

/// The same with "ID: text text", a chunk each, and what is in them.
class ChunkJournal : public testing_support::Journal {
 public:
  Result<void> take(const Chunk& chunk, const Decoder& decoder) {
    TRY(Journal::take(chunk));
    const std::lock_guard lock(mutex_);
    std::string line = chunk.id().to_string() + ":";
    for (const std::string& text : texts_of(chunk)) line += " " + text;
    chunks_.push_back(std::move(line));
    return chunk.each_batch([&](std::string_view batch) -> Result<void> {
      RawRecord raw;
      for (RecordBatch::Reader reader(batch); reader.next(raw);)
        records_.push_back(decoder.decode(chunk.tag(), raw, chunk.form()));
      return {};
    });
  }
  std::vector<std::string> chunks() {
    const std::lock_guard lock(mutex_);
    return chunks_;
  }
  std::vector<Record> records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> chunks_;
  std::vector<Record> records_;
};

class ChunkJournalSink final : public Sink {
 public:
  ChunkJournalSink(ChunkJournal& journal, const Decoder& decoder) : journal_(journal), decoder_(decoder) {}
  void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) override {
    done(journal_.take(*chunk, decoder_));
  }

 private:
  ChunkJournal& journal_;
  const Decoder& decoder_;
};

class NamedTest : public testing::Test {
 protected:
  SinkConfig file_buffered(const std::string& name) {
    SinkConfig config = quick_sink(name);
    config.buffer.file = true;
    config.buffer.path = (dir_.path() / ("buffer-" + name)).string();
    config.buffer.flush_at_shutdown = false;
    config.buffer.limits.sync = SyncPolicy::kAlways;
    return config;
  }
  std::unique_ptr<Pipeline> open(std::vector<SinkConfig> sinks, std::uint64_t writer = 1,
                                 std::vector<InputConfig> inputs = {}) {
    auto pipeline = Pipeline::open(
        {.inputs = std::move(inputs), .sinks = std::move(sinks)},
        {.writer = writer, .keep_path = (dir_.path() / "keep").string()}, clock_,
        [this](const SinkConfig& config, const Decoder& decoder) {
          return std::unique_ptr<Sink>(std::make_unique<ChunkJournalSink>(journals_[config.name], decoder));
        });
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    return std::move(pipeline).value();
  }
  static Taken put(Pipeline& pipeline, const ChunkId& id, Ack ack, Told& told, const Texts& texts = {"a", "b"},
                   const std::string& tag = "app.web") {
    RecordBatch batch = batch_of(texts);
    return pipeline.put_named({id, tag}, batch, ack, told.callback());
  }
  static std::string line(const std::string& texts, const ChunkId& id = kId) { return id.to_string() + ": " + texts; }

  TestDir dir_;
  RealClock clock_;
  std::map<std::string, ChunkJournal> journals_;
};

TEST_F(NamedTest, TheyKeepTheirIdAndAreMixedWithNothing) {
  auto pipeline = open({quick_sink("s")});
  Told first, second, third;
  RecordBatch before = batch_of({"before"}), after = batch_of({"after"});
  pipeline->put("app.web", before, Ack::kStored, first.callback());
  EXPECT_EQ(put(*pipeline, kId, Ack::kStored, second), Taken::kYes);
  pipeline->put("app.web", after, Ack::kStored, third.callback());
  pipeline->start_sinks();
  for (Told* told : {&first, &second, &third}) EXPECT_EQ(told->wait(), std::nullopt);
  const auto chunks = journals_["s"].chunks();
  EXPECT_EQ(chunks.size(), 2U);
  EXPECT_EQ(std::ranges::count(chunks, line("a b")), 1);
}

TEST_F(NamedTest, ARepeatIsAnsweredWithTheFirstOne) {
  journals_["s"].hold(true);
  auto pipeline = open({quick_sink("s")});
  Told first, in_line, being_written, received, afterwards, other;
  put(*pipeline, kId, Ack::kStored, first);
  put(*pipeline, kId, Ack::kStored, in_line);
  pipeline->start_sinks();
  ASSERT_TRUE(journals_["s"].wait_tries(1));
  put(*pipeline, kId, Ack::kStored, being_written);
  put(*pipeline, kId, Ack::kReceived, received);
  EXPECT_EQ(received.wait(), std::nullopt);
  EXPECT_FALSE(first.told() || in_line.told() || being_written.told());
  EXPECT_EQ(pipeline->stats().sinks[0].buffer.taken.records, 2U);
  journals_["s"].hold(false);
  for (Told* told : {&first, &in_line, &being_written}) EXPECT_EQ(told->wait(), std::nullopt);
  put(*pipeline, kId, Ack::kStored, afterwards);
  EXPECT_EQ(afterwards.wait(), std::nullopt);
  put(*pipeline, {kId.writer, 2}, Ack::kStored, other, {"c"});
  EXPECT_EQ(other.wait(), std::nullopt);
  EXPECT_EQ(journals_["s"].chunks(), (Texts{line("a b"), line("c", {kId.writer, 2})}));
}

TEST_F(NamedTest, AFullBufferKnowsARepeat) {
  SinkConfig config = quick_sink("s");
  config.buffer.limits.total_bytes = batch_of({"a", "b"}).bytes();
  auto pipeline = open({config});
  Told first, again, other;
  EXPECT_EQ(put(*pipeline, kId, Ack::kBuffered, first), Taken::kYes);
  EXPECT_EQ(put(*pipeline, {kId.writer, 2}, Ack::kBuffered, other), Taken::kWait);
  EXPECT_EQ(put(*pipeline, kId, Ack::kBuffered, again), Taken::kYes);
  EXPECT_EQ(again.wait(), std::nullopt);
}

TEST_F(NamedTest, WhatWasDroppedIsTakenAgainAndWhatWasSetAsideIsNot) {
  SinkConfig small = quick_sink("small");
  small.buffer.limits.total_bytes = batch_of({"a", "b"}).bytes();
  small.buffer.limits.overflow = Overflow::kDropOldestChunk;
  auto pipeline = open({small});
  Told dropped, other, again;
  put(*pipeline, kId, Ack::kStored, dropped);
  put(*pipeline, {kId.writer, 2}, Ack::kBuffered, other);
  EXPECT_EQ(dropped.wait(), Errc::kUnavailable);
  put(*pipeline, kId, Ack::kStored, again);
  pipeline->start_sinks();
  EXPECT_EQ(again.wait(), std::nullopt);
  EXPECT_EQ(journals_["small"].chunks(), Texts{line("a b")});

  journals_["s"].answer(Error(Errc::kInvalidArgument, "never"));
  auto strict = open({file_buffered("s")}, 2);
  strict->start_sinks();
  Told aside, later;
  put(*strict, kId, Ack::kStored, aside);
  EXPECT_EQ(aside.wait(), Errc::kInvalidArgument);
  put(*strict, kId, Ack::kStored, later);
  EXPECT_EQ(later.wait(), Errc::kInvalidArgument);
  EXPECT_EQ(strict->stats().sinks[0].set_aside.records, 2U);
}

TEST_F(NamedTest, TheNextProcessKnowsWhatTheOneBeforeLeft) {
  for (const bool file : {false, true})
    for (const bool early : {false, true}) {
      const std::string name = std::string(file ? "file" : "memory") + (early ? "-early" : "-late");
      const SinkConfig config = file ? file_buffered(name) : quick_sink(name);
      Told first, again, last;
      auto old = open({config}, 1);
      put(*old, kId, Ack::kBuffered, first);
      EXPECT_EQ(first.wait(), std::nullopt);
      EXPECT_EQ(old->hand_over().kept.records, 2U);
      auto next = open({config}, 2);
      if (early) put(*next, kId, Ack::kStored, again);  // before it has looked at what is left
      next->start_sinks();
      if (!early) put(*next, kId, Ack::kStored, again);
      EXPECT_EQ(again.wait(), std::nullopt);
      put(*next, {kId.writer, 2}, Ack::kStored, last, {"last"});
      EXPECT_EQ(last.wait(), std::nullopt);
      EXPECT_EQ(journals_[name].chunks(), (Texts{line("a b"), line("last", {kId.writer, 2})})) << name;
      next->stop();
    }
}

TEST_F(NamedTest, ASinkThatHasThemGetsThemNoSecondTime) {
  journals_["slow"].hold(true);
  SinkConfig slow = quick_sink("slow");
  slow.buffer.limits.total_bytes = batch_of({"a", "b"}).bytes();
  auto pipeline = open({quick_sink("quick"), slow});
  pipeline->start_sinks();
  Told other, first, waits, again;
  put(*pipeline, {kId.writer, 2}, Ack::kBuffered, other, {"x", "y"}, "t");
  EXPECT_EQ(put(*pipeline, kId, Ack::kStored, waits), Taken::kWait) << "no sink takes it while one has no room";
  ASSERT_TRUE(journals_["quick"].wait_tries(1));
  journals_["slow"].hold(false);
  Taken taken = Taken::kWait;
  while ((taken = put(*pipeline, kId, Ack::kStored, first)) == Taken::kWait) {
    Told room;
    pipeline->on_room([told = room.callback()]() mutable { told({}); });
    room.wait();
  }
  EXPECT_EQ(first.wait(), std::nullopt);
  put(*pipeline, kId, Ack::kStored, again);
  EXPECT_EQ(again.wait(), std::nullopt);
  const Texts both{line("x y", {kId.writer, 2}), line("a b")};
  EXPECT_EQ(journals_["quick"].chunks(), both);
  EXPECT_EQ(journals_["slow"].chunks(), both);
}

TEST_F(NamedTest, ManySendersOfOneIdAreOne) {
  auto pipeline = open({file_buffered("s"), quick_sink("t")});
  pipeline->start_sinks();
  std::vector<std::thread> senders;
  for (int t = 0; t < 4; ++t)
    senders.emplace_back([&] {
      for (std::uint64_t i = 1; i <= 100; ++i) {
        Told told;
        EXPECT_EQ(put(*pipeline, {kId.writer, i}, i % 2 == 0 ? Ack::kStored : Ack::kBuffered, told), Taken::kYes);
        EXPECT_EQ(told.wait(), std::nullopt);
      }
    });
  for (std::thread& sender : senders) sender.join();
  pipeline->stop();
  for (const char* name : {"s", "t"}) {
    Texts chunks = journals_[name].chunks();
    std::ranges::sort(chunks);
    EXPECT_EQ(std::ranges::unique(chunks).size(), 0U);
    EXPECT_LE(chunks.size(), 100U);
  }
  EXPECT_EQ(journals_["t"].chunks().size(), 100U);
}

TEST(KnownChunks, RemembersSoManyForSoLong) {
  KnownChunks known;
  const Instant start{};
  known.remember(kId, Error(Errc::kInvalidArgument, "no"), start);
  known.remember(kId, {}, start + 1s);
  ASSERT_TRUE(known.find(kId, start + KnownChunks::kKeep));
  EXPECT_FALSE(known.find(kId, start + KnownChunks::kKeep)->ok()) << "what became of the first one";
  EXPECT_FALSE(known.find(kId, start + KnownChunks::kKeep + 1s));
  for (std::uint64_t i = 0; i <= KnownChunks::kMost; ++i) known.remember({1, i}, {}, start);
  EXPECT_FALSE(known.find({1, 0}, start));
  EXPECT_TRUE(known.find({1, 1}, start));
}

/// Two nodes: the sink of one sends to the input of the other.
TEST_F(NamedTest, WhatIsForwardedArrivesAsItWasReadAndOnce) {
  auto receiver = open({quick_sink("s", "app.*")});
  receiver->start_sinks();
  HttpInput input({.name = "in", .tag = "forwarded", .ack = Ack::kStored, .listen = {"http", "127.0.0.1", 0}},
                  *receiver);
  ASSERT_TRUE(input.start().ok());
  Decoder decoder;
  ASSERT_TRUE(decoder.add("app.web", {.kind = ParserKind::kJson}).ok());
  ForwardSink forward({.target = HttpTarget::parse("http://127.0.0.1:" + std::to_string(input.port())).value()},
                      decoder);
  const auto chunk = MemoryChunkStore().create({.id = kId, .tag = "app.web"}).value();
  const std::string binary("no json\0\xff\n!", 11);
  RecordBatch batch;
  batch.append(
      {1'700'000'000'123'456, "[2001:db8::1]:514", R"({"a":1,"host":"other","tag":"x","deep":{"b":[1,"é"]}})"});
  batch.append({5, "", R"({"time":"2026-01-02T03:04:05.5Z"})"});
  batch.append({6, "192.0.2.7:1", binary});
  batch.append({7, "web1", R"({"long":")" + std::string(200'000, 'x') + "\"}"});
  ASSERT_TRUE(chunk->append(batch).ok());
  for (int i = 0; i < 3; ++i) {
    Result<void> result = Error(Errc::kInternal, "no answer");
    forward.write(chunk, [&result](Result<void> how) { result = std::move(how); });
    ASSERT_TRUE(result.ok()) << result.error().message;
  }
  const auto records = journals_["s"].records();
  ASSERT_EQ(records.size(), 4U);
  RawRecord raw;
  std::size_t at = 0;
  for (auto reader = batch.read(); reader.next(raw); ++at) {
    const Record expected = decoder.decode("app.web", raw);
    EXPECT_EQ(records[at].time_micros, expected.time_micros);
    EXPECT_EQ(records[at].host, expected.host);
    EXPECT_EQ(records[at].tag, expected.tag);
    EXPECT_EQ(records[at].fields, expected.fields);
    EXPECT_EQ(records[at].raw, expected.raw);
    EXPECT_EQ(records[at].error, expected.error);
  }
  EXPECT_EQ(records[0].host, "2001:db8::1");
  EXPECT_EQ(records[2].raw, binary);
}

}  // namespace
}  // namespace outlast::ingest
