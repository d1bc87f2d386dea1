// The order in which chunks go, and whose room they take, when source-only ends.
#include <gtest/gtest.h>

#include <optional>

#include "ingest/buffer/chunk_buffer.h"
#include "ingest/testing/batches.h"
#include "ingest/testing/test_clock.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using testing_support::batch_of;
using testing_support::TestClock;
using testing_support::texts_of;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;

/// A store on a disk that can be full.
class Place final : public ChunkStore {
 public:
  Result<std::shared_ptr<Chunk>> create(ChunkFacts facts) override {
    if (full) return Error(Errc::kDiskFull, "the disk is full");
    return MemoryChunkStore().create(std::move(facts));
  }
  bool lasting() const override { return true; }
  bool full{false};
};

class ChunkBufferSourceOnlyTest : public testing::Test {
 protected:
  ChunkBufferSourceOnlyTest() {
    own_.chunk_bytes = 1;
    apart_.chunk_bytes = 1;
  }
  void make() {
    buffer_ = std::make_unique<ChunkBuffer>(own_, own_place_, ids_, clock_, BufferHooks{[this] { ++works_; }, nullptr});
    buffer_->begin_source_only(BufferPlace{apart_, apart_place_});
  }
  Taken put(const std::string& text) {
    const RecordBatch batch = batch_of({text});
    const Taken taken = buffer_->reserve(batch);
    if (taken == Taken::kYes) buffer_->append("t", batch, Ack::kReceived, nullptr);
    return taken;
  }
  /// The chunk's text; empty: none may go now.
  std::string take() {
    auto chunk = buffer_->take();
    if (chunk == nullptr) return "";
    std::string text = texts_of(*chunk).front();
    taken_[text] = std::move(chunk);
    return text;
  }
  void written(const std::string& text) { buffer_->written(*taken_.at(text)); }
  std::shared_ptr<Chunk> chunk(ChunkId id, const std::string& text) {
    auto made = MemoryChunkStore().create({id, "t", clock_.wall_micros()}).value();
    EXPECT_TRUE(made->append(batch_of({text})).ok());
    return made;
  }

  TestClock clock_;
  ChunkIds ids_{9};
  BufferLimits own_, apart_;
  std::shared_ptr<Place> own_place_ = std::make_shared<Place>(), apart_place_ = std::make_shared<Place>();
  std::unique_ptr<ChunkBuffer> buffer_;
  std::map<std::string, std::shared_ptr<Chunk>> taken_;
  int works_{0};
};

TEST_F(ChunkBufferSourceOnlyTest, NoPhaseBeginsBeforeTheOneBeforeHasEnded) {
  own_.flush_threads = 2;
  apart_.flush_threads = 3;
  make();
  for (const char* text : {"s1", "s2", "s3", "s4"}) put(text);
  buffer_->end_source_only();
  put("n1");
  put("n2");
  buffer_->adopt({chunk({1, 1}, "l1")}, {chunk({1, 2}, "l2")});
  EXPECT_EQ(take(), "l1");
  EXPECT_EQ(take(), "l2");
  EXPECT_EQ(take(), "") << "two threads";
  written("l1");
  EXPECT_EQ(take(), "") << "l2 is not written yet";
  EXPECT_FALSE(buffer_->next_due()) << "nobody is to look again before it is";
  const int works = works_;
  written("l2");
  EXPECT_GT(works_, works);
  EXPECT_EQ(take() + take() + take(), "s1s2s3");
  EXPECT_EQ(take(), "") << "three threads";
  written("s2");
  EXPECT_EQ(take(), "s4");
  written("s1");
  written("s3");
  EXPECT_TRUE(buffer_->holds_source_only());
  EXPECT_EQ(take(), "") << "s4 is not written yet";
  written("s4");
  EXPECT_FALSE(buffer_->holds_source_only());
  EXPECT_EQ(take() + take(), "n1n2");
}

TEST_F(ChunkBufferSourceOnlyTest, AReplayThatFailsKeepsItsTurn) {
  SeededRandom random(1);
  make();
  put("s1");
  put("s2");
  buffer_->end_source_only();
  put("n");
  EXPECT_EQ(take(), "s1");
  EXPECT_TRUE(buffer_->failed(*taken_["s1"], random));
  clock_.advance(1h);
  for (const char* text : {"s1", "s2", "n"}) {
    EXPECT_EQ(take(), text);
    written(text);
  }
}

TEST_F(ChunkBufferSourceOnlyTest, TakesNoneOfTheRoomOfItsSinksBuffer) {
  own_.total_bytes = batch_of({"n1"}).bytes();
  own_.overflow = Overflow::kDropOldestChunk;
  make();
  for (const char* text : {"s1", "s2", "s3"}) EXPECT_EQ(put(text), Taken::kYes);
  buffer_->end_source_only();
  buffer_->adopt({}, {chunk({1, 1}, "l1")});
  EXPECT_EQ(put("n1"), Taken::kYes);
  EXPECT_EQ(buffer_->stats().dropped.records, 0U);
  EXPECT_EQ(put("n2"), Taken::kYes) << "n1 goes: what came source-only would make no room";
  for (const char* text : {"l1", "s1", "s2", "s3", "n2"}) {
    EXPECT_EQ(take(), text);
    written(text);
  }
  EXPECT_EQ(buffer_->stats().dropped.records, 1U);
  EXPECT_EQ(buffer_->stats().held.bytes, 0U);
}

TEST_F(ChunkBufferSourceOnlyTest, WhatItsDiskRefusedGoesWhereThereIsRoomAndBeforeWhatIsNew) {
  apart_.overflow = Overflow::kBlock;
  make();
  put("s1");
  apart_place_->full = true;
  put("s2");
  EXPECT_EQ(put("s3"), Taken::kWait);
  EXPECT_EQ(buffer_->stats().parked.records, 1U);
  buffer_->end_source_only();
  EXPECT_EQ(buffer_->stats().parked.records, 0U);
  EXPECT_EQ(put("n"), Taken::kYes);
  for (const char* text : {"s1", "s2", "n"}) {
    EXPECT_EQ(take(), text);
    written(text);
  }
  EXPECT_EQ(buffer_->stats().source_only.records, 2U);
  EXPECT_EQ(buffer_->stats().source_only_replayed.records, 2U);
}

TEST_F(ChunkBufferSourceOnlyTest, ClosesChunksThatHaveGrownOld) {
  apart_.chunk_bytes = 1'000;
  apart_.flush_interval = 10s;
  make();
  put("s1");
  clock_.advance(9s);
  put("s2");
  clock_.advance(1s);
  put("s3");
  EXPECT_EQ(buffer_->stats().held.chunks, 2U);
}

}  // namespace
}  // namespace outlast::ingest
