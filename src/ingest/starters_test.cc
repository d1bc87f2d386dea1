// Several processes start over what a killed one left: each chunk goes through exactly one of them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "base/loop.h"
#include "ingest/buffer/chunk_directory.h"
#include "ingest/testing/batches.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::texts_of;

/// One end of a pipe between a test and its children; one record is one write, which no other process's can divide.
struct Journal {
  int read_end{-1}, write_end{-1};
  Journal() {
    int ends[2];
    OUTLAST_ASSERT(::pipe(ends) == 0, "no pipe");
    (void)::fcntl(ends[0], F_SETPIPE_SZ, 4'096);  // whoever runs ahead waits soon
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Journal() {
    ::close(read_end);
    if (write_end >= 0) ::close(write_end);
  }
};

constexpr std::size_t kEntry = 40;  ///< Bytes: "CHUNKID writer"

void tell(const Journal& journal, const std::string& what) {
  std::string entry = what;
  entry.resize(kEntry, ' ');
  if (::write(journal.write_end, entry.data(), kEntry) != kEntry) _exit(3);
}

/// Takes over what it may and says so before it removes it, as a sink that knows chunk ids does; then leaves chunks of
/// its own. Never returns.
[[noreturn]] void be_a_starter(const std::string& path, std::uint64_t writer, const Journal& journal) {
  auto directory = ChunkDirectory::open(path, writer);
  if (!directory.ok()) _exit(1);
  ChunkIds ids(writer);
  for (;;) {
    for (const auto& chunk : (*directory)->left_over()) {
      if (texts_of(*chunk).size() != 1) _exit(4);
      tell(journal, chunk->id().to_string() + " " + std::to_string(writer));
      if (!chunk->remove().ok()) _exit(5);
    }
    auto chunk = (*directory)->create({.id = ids.next(), .tag = "t", .created_micros = 1});
    if (!chunk.ok() || !(*chunk)->append(batch_of({"x"})).ok()) _exit(6);
    tell(journal, (*chunk)->id().to_string() + " made");
  }
}

class StartersTest : public testing::Test {
 protected:
  pid_t start(std::uint64_t writer) {
    const pid_t child = ::fork();
    if (child == 0) be_a_starter(path_, writer, journal_);
    return child;
  }
  void read_entries(std::uint64_t count) {
    char entry[kEntry];
    for (std::uint64_t i = 0; i < count && ::read(journal_.read_end, entry, kEntry) == kEntry; ++i)
      note(std::string(entry, kEntry));
  }
  void note(const std::string& entry) {
    const std::string id = entry.substr(0, 33);
    const std::string what = entry.substr(34, entry.find(' ', 34) - 34);
    const std::uint64_t writer = what == "made" ? ChunkId::from(id)->writer : std::stoull(what);
    last_said_[writer] = ++entries_;
    if (what == "made")
      made_.insert(id);
    else
      takings_[id].push_back({writer, entries_});
  }
  void end(pid_t child) {
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "a starter ended by itself with " << WEXITSTATUS(status);
  }

  TestDir dir_;
  std::string path_ = (dir_.path() / "buffer").string();
  Journal journal_;
  std::set<std::string> made_;
  struct Taking {
    std::uint64_t writer, when;
  };
  std::map<std::string, std::vector<Taking>> takings_;
  std::map<std::uint64_t, std::uint64_t> last_said_;  ///< A sign of life.
  std::uint64_t entries_{0};
};

TEST_F(StartersTest, EachChunkGoesThroughOneOfThem) {
  const auto seed = static_cast<std::uint64_t>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE("replay with --gtest_random_seed=" + std::to_string(seed));
  SeededRandom random(seed + 1);
  std::uint64_t writer = 0;
  for (int round = 0; round < 12; ++round) {
    std::vector<pid_t> starters;
    for (int i = 0; i < 2; ++i) starters.push_back(start(++writer));
    if (random.below(2) == 0) std::swap(starters[0], starters[1]);
    for (const pid_t starter : starters) {
      read_entries(10 + random.below(100));
      end(starter);
    }
  }
  ::close(std::exchange(journal_.write_end, -1));
  read_entries(~std::uint64_t{0});
  // One that was killed between saying so and removing the file leaves it to the next: but never while it lives.
  for (const auto& [id, takings] : takings_)
    for (std::size_t i = 1; i < takings.size(); ++i)
      EXPECT_LT(last_said_[takings[i - 1].writer], takings[i].when) << id << " was taken from one that lived";
  auto last = ChunkDirectory::open(path_, ++writer).value();
  for (const auto& chunk : last->left_over()) made_.erase(chunk->id().to_string());
  for (const std::string& id : made_) EXPECT_TRUE(takings_.contains(id)) << id << " is nowhere";
  EXPECT_FALSE(takings_.empty());
}

}  // namespace
}  // namespace outlast::ingest
