#include "ingest/buffer/chunk_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ingest/buffer/chunk_directory.h"
#include "ingest/buffer/chunk_format.h"
#include "ingest/buffer/keep.h"
#include "ingest/testing/batches.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::texts_of;
using Texts = std::vector<std::string>;
namespace fs = std::filesystem;

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class ChunkFileTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }
  /// A finished file with the batches, and its bytes.
  std::string write(const std::string& file, const std::vector<Texts>& batches) {
    ChunkFile chunk(file, {.id = {7, 1}, .tag = "app.web", .created_micros = 5});
    for (const Texts& texts : batches) EXPECT_TRUE(chunk.append(batch_of(texts)).ok());
    EXPECT_TRUE(chunk.sync().ok());
    return bytes_of(file);
  }
  TestDir dir_;
};

TEST_F(ChunkFileTest, GivesBackItsBatchesAndFacts) {
  write(path("a.chunk"), {{"one", "two"}, {std::string(3'000'000, 'x')}, {"three"}});
  const auto recovered = ChunkFile::recover(path("a.chunk"));
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->cut, 0U);
  const Chunk& chunk = *recovered->chunk;
  EXPECT_EQ(chunk.id(), (ChunkId{7, 1}));
  EXPECT_EQ(chunk.tag(), "app.web");
  EXPECT_EQ(chunk.facts().created_micros, 5);
  EXPECT_EQ(chunk.records(), 4U);
  EXPECT_EQ(texts_of(chunk), (Texts{"one", "two", std::string(3'000'000, 'x'), "three"}));
}

TEST_F(ChunkFileTest, KeepsTheIdThatItsRecordsCameUnder) {
  const ChunkFacts facts{
      .id = {7, 1}, .tag = "app.web", .created_micros = 5, .origin = ChunkId{9, 2}, .form = RecordForm::kParsed};
  {
    ChunkFile chunk(path("a.chunk"), facts);
    ASSERT_TRUE(chunk.append(batch_of({"one"})).ok());
  }
  const auto recovered = ChunkFile::recover(path("a.chunk"));
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->chunk->id(), (ChunkId{9, 2})) << "what sinks know it by";
  EXPECT_EQ(recovered->chunk->facts().id, (ChunkId{7, 1})) << "whose file it is";
  EXPECT_EQ(recovered->chunk->form(), RecordForm::kParsed);
  EXPECT_EQ(texts_of(*recovered->chunk), Texts{"one"});
  const std::string header = encode_chunk_header(facts);
  for (std::size_t cut = 0; cut < header.size(); ++cut)
    EXPECT_FALSE(decode_chunk_header(header.substr(0, cut))->has_value()) << cut;
}

TEST_F(ChunkFileTest, CutAtAnyByteItKeepsExactlyTheWholeFrames) {
  const std::string one = write(path("1"), {{"a"}});
  const std::string two = write(path("2"), {{"a"}, {"bb", "cc"}});
  const std::string three = write(path("3"), {{"a"}, {"bb", "cc"}, {"d"}});
  for (std::size_t size = 0; size <= three.size(); ++size) {
    put_bytes(path("cut"), three.substr(0, size));
    const auto recovered = ChunkFile::recover(path("cut"));
    ASSERT_TRUE(recovered.ok()) << size << ": " << recovered.error().message;
    const Texts expected = size == three.size() ? Texts{"a", "bb", "cc", "d"}
                           : size >= two.size() ? Texts{"a", "bb", "cc"}
                           : size >= one.size() ? Texts{"a"}
                                                : Texts{};
    EXPECT_EQ(recovered->chunk == nullptr ? Texts{} : texts_of(*recovered->chunk), expected) << size;
    EXPECT_EQ(fs::exists(path("cut")), !expected.empty()) << size << ": an empty one goes";
    EXPECT_FALSE(fs::exists(path("cut.torn"))) << size << ": a write that ended early is nobody's";
  }
}

TEST_F(ChunkFileTest, AByteThatChangedIsNeverReadAsARecordAndTheRestIsKept) {
  const std::string whole = write(path("whole"), {{"a"}, {"bb"}});
  const std::size_t header = encode_chunk_header({.id = {7, 1}, .tag = "app.web"}).size();
  for (std::size_t at = header; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x11);
    put_bytes(path("d"), damaged);
    const auto recovered = ChunkFile::recover(path("d"));
    ASSERT_TRUE(recovered.ok());
    const Texts texts = recovered->chunk == nullptr ? Texts{} : texts_of(*recovered->chunk);
    EXPECT_TRUE(texts.empty() || texts == Texts{"a"}) << at;
    if (fs::exists(path("d.torn"))) {
      EXPECT_TRUE(damaged.ends_with(bytes_of(path("d.torn"))));
    }
    fs::remove(path("d.torn"));
  }
  std::string damaged = whole;
  damaged[header - 1] ^= 1;
  put_bytes(path("h"), damaged);
  EXPECT_EQ(ChunkFile::recover(path("h")).error().code, Errc::kCorrupt);
  EXPECT_EQ(bytes_of(path("h")), damaged) << "it stays for somebody who can read it";
}

TEST_F(ChunkFileTest, SaysWhenAChunkRotsWhileItWaits) {
  ChunkFile chunk(path("r"), {.id = {7, 1}, .tag = "t"});
  ASSERT_TRUE(chunk.append(batch_of({"one"})).ok());
  ASSERT_TRUE(chunk.append(batch_of({"two"})).ok());
  std::string bytes = bytes_of(path("r"));
  bytes.back() ^= 1;
  put_bytes(path("r"), bytes);
  const auto read = chunk.each_batch([](std::string_view) { return Result<void>(); });
  EXPECT_EQ(read.error().code, Errc::kCorrupt);
}

TEST_F(ChunkFileTest, AWriteThatFailsLeavesWhatWasThere) {
  // A directory that does not exist stands for every reason why a file cannot be made, whoever the test runs as.
  ChunkFile nowhere(path("no/where"), {.id = {7, 1}, .tag = "t"});
  EXPECT_EQ(nowhere.append(batch_of({"x"})).error().code, Errc::kIo);
  EXPECT_EQ(nowhere.records(), 0U);
  EXPECT_TRUE(nowhere.each_batch([](std::string_view) { return Result<void>(); }).ok());
}

TEST_F(ChunkFileTest, TakesBackWhatTheDiskTookHalfOf) {
  // A limit for the size of files ends a write in its middle, as a full disk does.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  ChunkFile chunk(path("half"), {.id = {7, 1}, .tag = "t"});
  ASSERT_TRUE(chunk.append(batch_of({"a"})).ok());
  const auto size = fs::file_size(path("half"));
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{size + 20, limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const auto appended = chunk.append(batch_of({std::string(1'000, 'x')}));
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(appended.error().code, Errc::kIo);
  EXPECT_EQ(fs::file_size(path("half")), size);
  ASSERT_TRUE(chunk.append(batch_of({"b"})).ok());
  EXPECT_EQ(texts_of(chunk), (Texts{"a", "b"}));
  EXPECT_EQ(ChunkFile::recover(path("half"))->cut, 0U);
}

TEST(ChunkId, IsReadBackAndSortsAsItsText) {
  const ChunkId id{0xabc, 0x123456789};
  EXPECT_EQ(id.to_string(), "0000000000000abc-0000000123456789");
  EXPECT_EQ(ChunkId::from(id.to_string()).value(), id);
  for (const char* text : {"", "x", "0000000000000abc-000000012345678g", "0000000000000abc+0000000123456789"})
    EXPECT_EQ(ChunkId::from(text).error().code, Errc::kInvalidArgument);
}

class ChunkDirectoryTest : public ChunkFileTest {
 protected:
  std::unique_ptr<ChunkDirectory> open(std::uint64_t writer) {
    auto directory = ChunkDirectory::open(dir_.path().string(), writer);
    EXPECT_TRUE(directory.ok()) << directory.error().message;
    return std::move(directory).value();
  }
  static void fill(ChunkStore& store, ChunkId id, std::int64_t created, const std::string& text) {
    auto chunk = store.create({.id = id, .tag = "t", .created_micros = created});
    ASSERT_TRUE((*chunk)->append(batch_of({text})).ok());
  }
  static Texts texts(const std::vector<std::shared_ptr<Chunk>>& chunks) {
    Texts all;
    for (const auto& chunk : chunks)
      for (std::string& text : texts_of(*chunk)) all.push_back(std::move(text));
    return all;
  }
};

TEST_F(ChunkDirectoryTest, GivesWhatTheDeadLeftOnceAndOldestFirst) {
  {
    auto dead = open(9);
    fill(*dead, {9, 1}, 30, "first");
    fill(*dead, {9, 2}, 10, "second");  // the wall clock went back meanwhile
    auto other = open(8);
    fill(*other, {8, 1}, 20, "third");
  }
  auto next = open(10);
  fill(*next, {10, 1}, 5, "own");
  EXPECT_EQ(texts(next->left_over()), (Texts{"first", "second", "third"}));
  EXPECT_TRUE(next->left_over().empty());
}

TEST_F(ChunkDirectoryTest, LeavesTheLivingAloneAndTheSecondStarterEmptyHanded) {
  auto living = open(1);
  fill(*living, {1, 1}, 1, "living");
  {
    fill(*open(2), {2, 1}, 2, "dead");
  }
  auto winner = open(3);
  auto loser = open(4);
  EXPECT_EQ(texts(winner->left_over()), (Texts{"dead"}));
  EXPECT_TRUE(loser->left_over().empty());
  living.reset();
  EXPECT_TRUE(loser->left_over().empty()) << "the winner lives";
  EXPECT_EQ(texts(winner->left_over()), (Texts{"living"}));
  winner.reset();
  EXPECT_EQ(texts(loser->left_over()), (Texts{"living", "dead"})) << "nobody had removed them";
}

TEST_F(ChunkDirectoryTest, RefusesASecondWriterOfOneNumber) {
  auto first = open(1);
  EXPECT_EQ(ChunkDirectory::open(dir_.path().string(), 1).error().code, Errc::kAlreadyExists);
}

TEST_F(ChunkDirectoryTest, LeavesFilesThatAreNoChunksWhereTheyAre) {
  put_bytes(path("notes.txt"), "x");
  put_bytes(path(ChunkId{5, 5}.to_string() + ".chunk"), "this is no chunk, however it is called");
  EXPECT_TRUE(open(6)->left_over().empty());
  EXPECT_TRUE(fs::exists(path("notes.txt")));
  EXPECT_TRUE(fs::exists(path(ChunkId{5, 5}.to_string() + ".chunk")));
}

TEST_F(ChunkDirectoryTest, KeepsAChunkOfMemoryForTheNextProcess) {
  MemoryChunkStore memory;
  auto chunk = memory.create({.id = {1, 4}, .tag = "t", .created_micros = 8}).value();
  ASSERT_TRUE(chunk->append(batch_of({"a", "b"})).ok());
  {
    ASSERT_TRUE(keep_chunk(*chunk, *open(1)).ok());
  }
  auto kept = open(2);
  const auto chunks = kept->left_over();
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(chunks[0]->id(), (ChunkId{1, 4}));
  EXPECT_EQ(texts_of(*chunks[0]), (Texts{"a", "b"}));
}

}  // namespace
}  // namespace outlast::ingest
