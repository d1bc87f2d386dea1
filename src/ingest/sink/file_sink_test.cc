#include "ingest/sink/file_sink.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "ingest/sink/stdout_sink.h"
#include "ingest/testing/batches.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::TestClock;
namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string gunzip(const std::string& path) {
  const gzFile file = gzopen(path.c_str(), "rb");
  std::string text(1U << 20, '\0');
  text.resize(static_cast<std::size_t>(std::max(0, gzread(file, text.data(), 1U << 20))));
  gzclose(file);
  return text;
}

std::string unzstd(const std::string& packed) {
  std::string text(1U << 20, '\0');
  const std::size_t size = ZSTD_decompress(text.data(), text.size(), packed.data(), packed.size());
  text.resize(ZSTD_isError(size) != 0 ? 0 : size);
  return text;
}

class FileSinkTest : public testing::Test {
 protected:
  std::string path() const { return (dir_.path() / "sub" / "out.log").string(); }
  FileSink sink(FileSinkOptions options = {}) {
    options.path = path();
    return {std::move(options), decoder_, clock_};
  }
  std::shared_ptr<Chunk> chunk(std::uint64_t sequence, const std::vector<std::string>& texts) {
    auto chunk = MemoryChunkStore().create({.id = {1, sequence}, .tag = "t"}).value();
    EXPECT_TRUE(chunk->append(batch_of(texts)).ok());
    return chunk;
  }
  static Result<void> write(FileSink& sink, std::shared_ptr<const Chunk> chunk) {
    Result<void> result = Error(Errc::kInternal, "no answer");
    sink.write(std::move(chunk), [&result](Result<void> how) { result = std::move(how); });
    return result;
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir_.path() / "sub"))
      names.insert(entry.path().filename().string());
    names.erase("out.log.mark");
    return names;
  }
  TestDir dir_;
  TestClock clock_;
  Decoder decoder_;
};

TEST_F(FileSinkTest, WritesALineForEachRecord) {
  FileSink raw = sink();
  ASSERT_TRUE(write(raw, chunk(1, {"one", "two"})).ok());
  ASSERT_TRUE(write(raw, chunk(2, {std::string(600'000, 'x'), ""})).ok());
  EXPECT_EQ(bytes_of(path()), "one\ntwo\n" + std::string(600'000, 'x') + "\n\n");
}

TEST_F(FileSinkTest, WritesAnObjectForEachRecord) {
  FileSink json = sink({.form = LineForm::kJson, .sync = true});
  ASSERT_TRUE(write(json, chunk(1, {"one"})).ok());
  EXPECT_EQ(bytes_of(path()), R"({"time":"2023-11-14T22:13:20Z","host":"192.0.2.7","tag":"t","message":"one"})"
                              "\n");
}

TEST_F(FileSinkTest, AChunkThatComesAgainTakesItsOwnPlace) {
  {
    FileSink before = sink();
    ASSERT_TRUE(write(before, chunk(1, {"one"})).ok());
    ASSERT_TRUE(write(before, chunk(2, {"two", "three"})).ok());
  }
  // The process was killed in the middle of chunk 2.
  fs::resize_file(path(), 6);
  FileSink after = sink();
  ASSERT_TRUE(write(after, chunk(2, {"two", "three"})).ok());
  EXPECT_EQ(bytes_of(path()), "one\ntwo\nthree\n");
  ASSERT_TRUE(write(after, chunk(2, {"two", "three"})).ok());
  ASSERT_TRUE(write(after, chunk(3, {"four"})).ok());
  EXPECT_EQ(bytes_of(path()), "one\ntwo\nthree\nfour\n");
}

TEST_F(FileSinkTest, RotatesBySizeBetweenChunks) {
  FileSink rotating = sink({.rotate_bytes = 5});
  for (std::uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(write(rotating, chunk(i, {"abcdef"})).ok());
  EXPECT_EQ(files(), (std::set<std::string>{"out.log", "out.log.20231114-231320", "out.log.20231114-231320.1"}));
}

TEST_F(FileSinkTest, RotatesWithEachPeriod) {
  TestClock clock;
  FileSink daily({.path = path(), .rotate_time = 24h}, decoder_, clock);
  ASSERT_TRUE(write(daily, chunk(1, {"now"})).ok());  // the file's time is the machine's: years behind the clock
  ASSERT_TRUE(write(daily, chunk(2, {"later"})).ok());
  EXPECT_EQ(files().size(), 2U);
  EXPECT_EQ(bytes_of(path()), "later\n");
}

TEST_F(FileSinkTest, OpensTheFileAnewThatSomebodyMovedAway) {
  FileSink moved = sink();
  ASSERT_TRUE(write(moved, chunk(1, {"one"})).ok());
  fs::rename(path(), path() + ".1");
  ASSERT_TRUE(write(moved, chunk(2, {"two"})).ok());
  EXPECT_EQ(bytes_of(path()), "two\n");
  EXPECT_EQ(bytes_of(path() + ".1"), "one\n");
}

TEST_F(FileSinkTest, CompressesEachChunkByItself) {
  FileSink gzip = sink({.compression = Compression::kGzip});
  FileSink zstd = sink({.compression = Compression::kZstd});
  const std::string large(400'000, 'y');
  for (FileSink* each : {&gzip, &zstd}) {
    ASSERT_TRUE(write(*each, chunk(1, {"one"})).ok());
    ASSERT_TRUE(write(*each, chunk(2, {large})).ok());
  }
  EXPECT_EQ(gunzip(path() + ".gz"), "one\n" + large + "\n");
  EXPECT_EQ(unzstd(bytes_of(path() + ".zst")), "one\n" + large + "\n");
}

TEST_F(FileSinkTest, SaysWhatTheDiskSays) {
  fs::create_directories(path());  // a directory stands where the file should
  FileSink blocked = sink();
  EXPECT_EQ(write(blocked, chunk(1, {"one"})).error().code, Errc::kIo);
}

TEST(StdoutSink, WritesLinesToItsDescriptor) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Decoder decoder;
  StdoutSink sink(LineForm::kRaw, decoder, ends[1]);
  auto chunk = MemoryChunkStore().create({.id = {1, 1}, .tag = "t"}).value();
  ASSERT_TRUE(chunk->append(batch_of({"a", "b"})).ok());
  bool ok = false;
  sink.write(chunk, [&ok](Result<void> how) { ok = how.ok(); });
  EXPECT_TRUE(ok);
  char text[16];
  EXPECT_EQ(std::string_view(text, static_cast<std::size_t>(::read(ends[0], text, sizeof text))), "a\nb\n");
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace outlast::ingest
