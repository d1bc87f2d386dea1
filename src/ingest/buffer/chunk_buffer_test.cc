#include "ingest/buffer/chunk_buffer.h"

#include <gtest/gtest.h>

#include <optional>

#include "ingest/buffer/chunk_directory.h"
#include "ingest/testing/batches.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::TestClock;
using testing_support::texts_of;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;

/// A disk that can be full.
struct Disk {
  bool full{false};
  Errc code{Errc::kDiskFull};
  int syncs{0};
};

class FakeFile final : public Chunk {
 public:
  FakeFile(ChunkFacts facts, Disk& disk) : Chunk(std::move(facts)), disk_(disk) {}
  Result<void> append(const RecordBatch& batch) override {
    if (disk_.full) return Error(disk_.code, "the disk is full");
    batch_.append(batch);
    count(batch.records(), batch.bytes());
    return {};
  }
  Result<void> sync() override {
    ++disk_.syncs;
    return disk_.full ? Result<void>(Error(Errc::kIo, "cannot sync")) : Result<void>();
  }
  Result<void> each_batch(const BatchReader& reader) const override { return reader(batch_.data()); }

 private:
  RecordBatch batch_;
  Disk& disk_;
};

class FakeStore final : public ChunkStore {
 public:
  explicit FakeStore(Disk& disk) : disk_(disk) {}
  Result<std::shared_ptr<Chunk>> create(ChunkFacts facts) override {
    return std::shared_ptr<Chunk>(std::make_shared<FakeFile>(std::move(facts), disk_));
  }
  bool lasting() const override { return true; }

 private:
  Disk& disk_;
};

class ChunkBufferTest : public testing::Test {
 protected:
  ChunkBufferTest() {
    limits_.flush_interval = 60s;
    limits_.flush_threads = 9;
  }
  ChunkBuffer& make(bool lasting = true) {
    auto store = lasting ? std::unique_ptr<ChunkStore>(std::make_unique<FakeStore>(disk_))
                         : std::unique_ptr<ChunkStore>(std::make_unique<MemoryChunkStore>());
    buffer_ = std::make_unique<ChunkBuffer>(limits_, std::move(store), ids_, clock_,
                                            BufferHooks{[this] { ++works_; }, [this] { ++rooms_; }});
    return *buffer_;
  }
  Taken put(const Texts& texts, Ack ack = Ack::kReceived, std::optional<Result<void>>* told = nullptr) {
    const RecordBatch batch = batch_of(texts);
    const Taken taken = buffer_->reserve(batch);
    if (taken == Taken::kRefused) buffer_->refuse(batch);
    if (taken == Taken::kYes)
      buffer_->append("t", batch, ack, [told](Result<void> how) {
        if (told != nullptr) *told = std::move(how);
      });
    return taken;
  }
  Texts take() {
    const auto chunk = buffer_->take();
    if (chunk == nullptr) return {};
    last_ = chunk;
    return texts_of(*chunk);
  }
  static std::uint64_t bytes(const Texts& texts) { return batch_of(texts).bytes(); }

  TestClock clock_;
  ChunkIds ids_{42};
  Disk disk_;
  BufferLimits limits_;
  SeededRandom random_{1};
  int works_{0}, rooms_{0};
  std::unique_ptr<ChunkBuffer> buffer_;
  std::shared_ptr<Chunk> last_;
};

TEST_F(ChunkBufferTest, GivesAChunkWhenItsTimeHasCome) {
  make();
  put({"a"});
  put({"b"});
  EXPECT_EQ(take(), Texts{});
  EXPECT_EQ(buffer_->next_due(), clock_.now() + 60s);
  clock_.advance(60s);
  EXPECT_EQ(take(), (Texts{"a", "b"}));
  EXPECT_EQ(last_->id(), (ChunkId{42, 1}));
  EXPECT_EQ(buffer_->stats().held.records, 2U);
  buffer_->written(*last_);
  EXPECT_EQ(buffer_->stats().held.records, 0U);
  EXPECT_EQ(buffer_->next_due(), std::nullopt);
}

TEST_F(ChunkBufferTest, GivesAChunkWhenItIsFull) {
  limits_.chunk_bytes = bytes({"12345", "12345"});
  make();
  put({"12345"});
  put({"123456"});  // does not fit: begins the next one
  EXPECT_EQ(take(), (Texts{"12345"}));
  EXPECT_EQ(take(), Texts{});
  put({"1234567890123"});
  EXPECT_EQ(take(), (Texts{"123456"}));
  EXPECT_EQ(take(), Texts{});
  put({std::string(1'000, 'x')});
  EXPECT_EQ(take(), (Texts{"1234567890123"}));
  EXPECT_EQ(take(), (Texts{std::string(1'000, 'x')})) << "one batch may be larger than a chunk";
}

TEST_F(ChunkBufferTest, BlocksWhenFullAndSaysWhenThereIsRoom) {
  limits_.total_bytes = bytes({"12345"}) * 2;
  make();
  EXPECT_EQ(put({"12345"}), Taken::kYes);
  EXPECT_EQ(put({"12345"}), Taken::kYes);
  EXPECT_EQ(put({"12345"}), Taken::kWait);
  EXPECT_TRUE(buffer_->is_full());
  EXPECT_EQ(take(), (Texts{"12345", "12345"})) << "what fills the buffer does not wait for its time";
  EXPECT_EQ(rooms_, 0);
  buffer_->written(*last_);
  EXPECT_EQ(rooms_, 1);
  EXPECT_FALSE(buffer_->is_full());
  EXPECT_EQ(put({"12345"}), Taken::kYes);
  EXPECT_EQ(put({std::string(1'000, 'x')}), Taken::kRefused) << "it could wait for ever";
  EXPECT_EQ(buffer_->stats().waits, 1U);
  EXPECT_EQ(buffer_->stats().refused.records, 1U);
}

TEST_F(ChunkBufferTest, ReservesBeforeItTakes) {
  limits_.total_bytes = bytes({"12345"});
  make();
  const RecordBatch batch = batch_of({"12345"});
  EXPECT_EQ(buffer_->reserve(batch), Taken::kYes);
  EXPECT_EQ(buffer_->reserve(batch), Taken::kWait);
  EXPECT_TRUE(buffer_->is_full());
  buffer_->release(batch);
  EXPECT_EQ(rooms_, 1) << "who waits would wait for ever: nothing is there that could leave";
  EXPECT_EQ(buffer_->reserve(batch), Taken::kYes);
}

TEST_F(ChunkBufferTest, RejectsWhenFullAndCounts) {
  limits_.total_bytes = bytes({"12345"});
  limits_.overflow = Overflow::kReject;
  make();
  EXPECT_EQ(put({"12345"}), Taken::kYes);
  EXPECT_EQ(put({"6", "7"}), Taken::kRefused);
  EXPECT_EQ(buffer_->stats().refused.records, 2U);
  EXPECT_FALSE(buffer_->is_full());
}

TEST_F(ChunkBufferTest, DropsTheOldestChunkButNoneThatIsBeingWritten) {
  limits_.chunk_bytes = bytes({"12345"});
  limits_.total_bytes = limits_.chunk_bytes * 3;
  limits_.overflow = Overflow::kDropOldestChunk;
  make();
  std::optional<Result<void>> told;
  put({"11111"});
  put({"22222"}, Ack::kStored, &told);
  put({"33333"});
  EXPECT_EQ(take(), (Texts{"11111"}));
  EXPECT_EQ(put({"44444"}), Taken::kYes);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->error().code, Errc::kUnavailable);
  EXPECT_EQ(buffer_->stats().dropped.records, 1U);
  EXPECT_EQ(buffer_->stats().dropped.chunks, 1U);
  EXPECT_EQ(take(), (Texts{"33333"}));
  EXPECT_EQ(take(), (Texts{"44444"}));
  EXPECT_EQ(put({"55555"}), Taken::kRefused) << "all are being written";
}

TEST_F(ChunkBufferTest, AcknowledgesWhatIsOnDiskOnlyAfterTheSync) {
  limits_.sync = SyncPolicy::kAlways;
  make();
  std::optional<Result<void>> first, second;
  put({"a"}, Ack::kBuffered, &first);
  put({"b"}, Ack::kBuffered, &second);
  EXPECT_FALSE(first);
  EXPECT_TRUE(buffer_->next_sync());
  buffer_->sync();
  EXPECT_TRUE(first && first->ok() && second && second->ok());
  EXPECT_EQ(disk_.syncs, 1) << "one for both";
  EXPECT_FALSE(buffer_->next_sync());
  disk_.full = true;
  first.reset();
  disk_.full = false;
  put({"c"}, Ack::kBuffered, &first);
  disk_.full = true;
  buffer_->sync();
  EXPECT_EQ(first->error().code, Errc::kIo);
  EXPECT_EQ(take(), (Texts{"a", "b", "c"})) << "nothing more goes into a file that cannot be synced";
}

TEST_F(ChunkBufferTest, SyncsNowAndThenByInterval) {
  limits_.sync = SyncPolicy::kInterval;
  make();
  std::optional<Result<void>> told;
  put({"a"}, Ack::kBuffered, &told);
  EXPECT_TRUE(told && told->ok());
  EXPECT_EQ(buffer_->next_sync(), clock_.now() + 1s);
  clock_.advance(1s);
  buffer_->sync();
  EXPECT_EQ(buffer_->next_sync(), std::nullopt);
}

TEST_F(ChunkBufferTest, TellsWhoWaitsForTheSinkOnlyThen) {
  make();
  std::optional<Result<void>> told;
  put({"a"}, Ack::kStored, &told);
  EXPECT_LT(*buffer_->next_due(), clock_.now() + 1s) << "somebody waits: the chunk is not kept back";
  clock_.advance(1s);
  EXPECT_EQ(take(), (Texts{"a"}));
  EXPECT_FALSE(told);
  buffer_->written(*last_);
  EXPECT_TRUE(told && told->ok());
}

TEST_F(ChunkBufferTest, TriesAFailedChunkAgainInItsTurnAndAfterItsTime) {
  limits_.retry.randomize = false;
  limits_.chunk_bytes = 1;
  make();
  put({"a"});
  put({"b"});
  EXPECT_EQ(take(), (Texts{"a"}));
  EXPECT_TRUE(buffer_->failed(*last_, random_));
  EXPECT_EQ(take(), Texts{});
  EXPECT_EQ(buffer_->next_due(), clock_.now() + 1s);
  clock_.advance(1s);
  EXPECT_EQ(take(), (Texts{"a"}));
  EXPECT_EQ(buffer_->failures(), 1U);
  buffer_->written(*last_);
  EXPECT_EQ(buffer_->failures(), 0U);
  EXPECT_EQ(take(), (Texts{"b"}));
}

TEST_F(ChunkBufferTest, GivesUpAllThatWaitAtTheTimeout) {
  limits_.retry.max_times = 0;
  limits_.chunk_bytes = 1;
  make();
  std::optional<Result<void>> told;
  put({"a"});
  put({"b"}, Ack::kStored, &told);
  EXPECT_EQ(take(), (Texts{"a"}));
  EXPECT_FALSE(buffer_->failed(*last_, random_));
  const auto given_up = buffer_->take_waiting();
  ASSERT_EQ(given_up.size(), 2U);
  buffer_->put_back(*given_up[0]);
  buffer_->set_aside(*given_up[1], Error(Errc::kUnavailable, "gone"));
  EXPECT_TRUE(told && !told->ok());
  EXPECT_EQ(take(), (Texts{"a"}));
}

TEST_F(ChunkBufferTest, ParksWhatAFullDiskRefusesAndWritesItFirstWhenThereIsRoom) {
  make();
  disk_.full = true;
  std::optional<Result<void>> told;
  EXPECT_EQ(put({"a"}, Ack::kBuffered, &told), Taken::kYes) << "room had been promised";
  EXPECT_FALSE(told);
  EXPECT_EQ(put({"b"}), Taken::kWait);
  EXPECT_EQ(buffer_->stats().parked.records, 1U);
  EXPECT_EQ(buffer_->stats().trouble, "the disk is full");
  disk_.full = false;
  clock_.advance(1s);
  EXPECT_EQ(take(), Texts{}) << "asks the disk again";
  EXPECT_EQ(rooms_, 1);
  EXPECT_TRUE(told && told->ok());
  EXPECT_EQ(buffer_->stats().trouble, "");
  EXPECT_EQ(put({"b"}), Taken::kYes);
  clock_.advance(60s);
  EXPECT_EQ(take(), (Texts{"a", "b"}));
}

TEST_F(ChunkBufferTest, RefusesWhenTheDiskIsFullAndItMayNotBlock) {
  limits_.overflow = Overflow::kReject;
  make();
  disk_.full = true;
  put({"a"});
  EXPECT_EQ(put({"b"}), Taken::kRefused);
  EXPECT_EQ(buffer_->stats().refused.records, 1U);
  disk_.full = false;
  clock_.advance(1s);
  EXPECT_EQ(put({"c"}), Taken::kYes);
  buffer_->flush_all();
  EXPECT_EQ(take(), (Texts{"a", "c"}));
}

TEST_F(ChunkBufferTest, DropsForAFullDiskButNotForABrokenOne) {
  limits_.overflow = Overflow::kDropOldestChunk;
  for (const Errc code : {Errc::kIo, Errc::kDiskFull}) {
    make();
    put({"old"});
    buffer_->flush_all();
    disk_.full = true;
    disk_.code = code;
    put({"parked"});
    EXPECT_EQ(put({"new"}), Taken::kRefused);
    EXPECT_EQ(buffer_->stats().dropped.chunks, code == Errc::kDiskFull ? 1U : 0U);
    disk_.full = false;
  }
}

TEST_F(ChunkBufferTest, GivesBackWhatAFullDiskRefused) {
  make();
  put({"kept"});
  disk_.full = true;
  std::optional<Result<void>> told, stored;
  disk_.full = false;
  put({"waits"}, Ack::kStored, &stored);
  disk_.full = true;
  put({"refused"}, Ack::kBuffered, &told);
  const auto refused = buffer_->close();
  ASSERT_EQ(refused.size(), 1U) << "files stay where they are";
  EXPECT_EQ(texts_of(*refused[0]), (Texts{"refused"}));
  EXPECT_EQ(told->error().code, Errc::kShuttingDown);
  EXPECT_EQ(stored->error().code, Errc::kShuttingDown);
  EXPECT_EQ(buffer_->stats().dropped.records, 0U);
  EXPECT_EQ(buffer_->stats().held.records, 3U);
}

TEST_F(ChunkBufferTest, GivesBackWhatIsOnlyInMemoryAtTheEnd) {
  make(false);
  put({"a"});
  const auto chunks = buffer_->close();
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(texts_of(*chunks[0]), (Texts{"a"}));
  EXPECT_NE(put({"b"}), Taken::kYes);
}

TEST_F(ChunkBufferTest, PutsWhatWasLeftBehindInFrontOfItsOwn) {
  const TestDir dir;
  for (std::uint64_t writer : {1U, 2U}) {
    auto directory = ChunkDirectory::open(dir.path().string(), writer).value();
    auto chunk =
        directory->create({.id = {writer, 1}, .tag = "t", .created_micros = static_cast<std::int64_t>(writer)});
    ASSERT_TRUE((*chunk)->append(batch_of({"old" + std::to_string(writer)})).ok());
  }
  const std::shared_ptr<ChunkDirectory> directory = ChunkDirectory::open(dir.path().string(), 42).value();
  buffer_ = std::make_unique<ChunkBuffer>(limits_, directory, ids_, clock_, BufferHooks{});
  put({"new"});
  buffer_->flush_all();
  buffer_->adopt(directory->left_over());
  EXPECT_EQ(buffer_->stats().replayed.records, 2U);
  EXPECT_EQ(take(), (Texts{"old1"}));
  ASSERT_TRUE(last_->remove().ok());
  buffer_->written(*last_);
  EXPECT_EQ(take(), (Texts{"old2"}));
  EXPECT_EQ(take(), Texts{}) << "old2 is not written yet";
  EXPECT_EQ(buffer_->stats().oldest_nanos, (clock_.wall_micros() - 2) * 1'000);
  ASSERT_TRUE(last_->remove().ok());
  buffer_->written(*last_);
  EXPECT_EQ(take(), (Texts{"new"}));
}

}  // namespace
}  // namespace outlast::ingest
