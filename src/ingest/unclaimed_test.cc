// Buffers of an earlier configuration: a sink of the same name goes on with them, the others are named.
#include <gtest/gtest.h>

#include <filesystem>

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

class UnclaimedTest : public testing::Test {
 protected:
  SinkConfig sink(const std::string& name, const std::string& buffer = "") const {
    SinkConfig config = quick_sink(name);
    config.buffer.file = !buffer.empty();
    config.buffer.path = buffer;
    return config;
  }
  std::unique_ptr<Pipeline> open(std::vector<SinkConfig> sinks) {
    auto pipeline = Pipeline::open({.sinks = std::move(sinks)}, {.writer = ++writer_, .keep_path = path("keep")},
                                   clock_, sinks_into(journal_));
    EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
    return std::move(pipeline).value();
  }
  /// A process that takes in and ends before it stores anything.
  void leave(const SinkConfig& config, const std::string& text) {
    auto pipeline = open({config});
    RecordBatch batch = batch_of({text});
    EXPECT_EQ(pipeline->put("app", batch, Ack::kReceived, nullptr), Intake::Taken::kYes);
    EXPECT_EQ(pipeline->hand_over().kept.records, 1U);
  }
  void put_stored(Pipeline& pipeline, const std::string& text) {
    RecordBatch batch = batch_of({text});
    Told told;
    EXPECT_EQ(pipeline.put("app", batch, Ack::kStored, told.callback()), Intake::Taken::kYes);
    EXPECT_EQ(told.wait(), std::nullopt);
  }
  static std::vector<UnclaimedBuffer> wait_unclaimed(const Pipeline& pipeline, std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (pipeline.stats().unclaimed.size() != count && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(1ms);
    return pipeline.stats().unclaimed;
  }
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }

  TestDir dir_;
  RealClock clock_;
  Journal journal_;
  std::uint64_t writer_{0};
};

TEST_F(UnclaimedTest, ASinkGoesOnWithItsBufferWhenItsTypeOrPathChanges) {
  leave(sink("s"), "memory");
  leave(sink("s", path("one")), "one");
  leave(sink("s", path("two/")), "two");
  auto pipeline = open({sink("s")});
  pipeline->start_sinks();
  put_stored(*pipeline, "new");
  EXPECT_EQ(journal_.texts(), (Texts{"memory", "one", "two", "new"}));
  EXPECT_TRUE(pipeline->stats().unclaimed.empty());
  pipeline->stop();
  for (const char* name : {"keep/s", "one", "two"}) EXPECT_TRUE(ChunkDirectory::files_left(path(name)).empty()) << name;
}

TEST_F(UnclaimedTest, NamesWhatASinkThatIsGoneHasLeftUntilSomebodyTakesIt) {
  leave(sink("old", path("old")), "a");
  leave(sink("memory"), "b");
  auto pipeline = open({sink("new", path("new"))});
  pipeline->start_sinks();
  const auto found = wait_unclaimed(*pipeline, 2);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].sink, "memory");
  EXPECT_EQ(found[0].path, path("keep/memory"));
  EXPECT_EQ(found[1].sink, "old");
  EXPECT_EQ(found[1].path, path("old"));
  EXPECT_EQ(found[1].held.records, 1U);
  EXPECT_EQ(found[1].held.bytes, batch_of({"a"}).bytes());
  EXPECT_TRUE(journal_.texts().empty());
  pipeline->stop();
  // What the warning says: the files go to another sink.
  for (const std::string& file : ChunkDirectory::files_left(path("old")))
    fs::rename(file, fs::path(path("new")) / fs::path(file).filename());
  auto next = open({sink("new", path("new"))});
  next->start_sinks();
  put_stored(*next, "c");
  EXPECT_EQ(journal_.texts(), (Texts{"a", "c"}));
  EXPECT_EQ(wait_unclaimed(*next, 1)[0].sink, "memory");
}

TEST_F(UnclaimedTest, SeesWhatASinkThatIsGoneHasSetAside) {
  leave(sink("old", path("old")), "a");
  fs::create_directories(path("old/secondary"));
  for (const std::string& file : ChunkDirectory::files_left(path("old")))
    fs::rename(file, fs::path(path("old/secondary")) / fs::path(file).filename());
  auto pipeline = open({sink("new")});
  pipeline->start_sinks();
  EXPECT_EQ(wait_unclaimed(*pipeline, 1).size(), 1U);
}

TEST_F(UnclaimedTest, ForgetsDirectoriesThatAreEmptyButNotThoseThatAreAway) {
  const auto links = [this] {
    return std::distance(fs::directory_iterator(path("keep/known")), fs::directory_iterator());
  };
  open({sink("empty", path("empty")), sink("away", path("away"))})->stop();
  fs::rename(path("away"), path("elsewhere"));
  EXPECT_EQ(links(), 2);
  {
    auto pipeline = open({sink("s")});
    pipeline->start_sinks();
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (links() != 2 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(links(), 2) << "away, and that of s";
}

}  // namespace
}  // namespace outlast::ingest
