// SIGKILL at random points of a process that buffers, syncs, flushes and removes: what it acknowledged arrives once.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <map>
#include <set>

#include "ingest/pipeline.h"
#include "ingest/testing/batches.h"
#include "ingest/testing/test_clock.h"
#include "tests/support/test_dir.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using outlast::testing_support::TestDir;
using testing_support::batch_of;
using testing_support::RealClock;

enum class Mode : std::uint8_t {
  kBuffer,          ///< Source-only to its end, in the sink's own buffer.
  kSink,            ///< With a sink from the beginning.
  kSourceOnly,      ///< Source-only to its end, in front of a memory buffer.
  kSourceOnlyEnds,  ///< The sink begins somewhere in the middle.
};

struct Place {
  std::string buffer, source_only, file;
  Mode mode;
};

IngestConfig config_of(const Place& place) {
  SinkConfig sink;
  sink.kind = SinkKind::kFile;
  sink.name = "file";
  sink.match = TagPattern::parse("**").value();
  sink.path = place.file;
  sink.buffer.file = place.mode != Mode::kSourceOnly;
  sink.buffer.path = place.buffer;
  sink.buffer.limits.chunk_bytes = 400;
  sink.buffer.limits.flush_interval = 1ms;
  sink.buffer.limits.sync = SyncPolicy::kAlways;
  IngestConfig config;
  if (place.mode == Mode::kSourceOnly || place.mode == Mode::kSourceOnlyEnds) {
    config.source_only.emplace(sink.buffer);
    config.source_only->file = true;
    config.source_only->path = place.source_only;
  }
  config.sinks.push_back(std::move(sink));
  return config;
}

/// Puts number after number and tells each one through the pipe once it is acknowledged. Never returns.
[[noreturn]] void be_the_child(const Place& place, std::uint64_t writer, std::uint64_t source_only, int told) {
  RealClock clock;
  auto pipeline = Pipeline::open(config_of(place), {.writer = writer}, clock);
  if (!pipeline.ok()) _exit(1);
  if (place.mode == Mode::kSink) (*pipeline)->start_sinks();
  const std::uint64_t first = writer * 1'000'000;
  for (std::uint64_t number = first;; ++number) {
    if (place.mode == Mode::kSourceOnlyEnds && number == first + source_only) (*pipeline)->start_sinks();
    RecordBatch batch = batch_of({std::to_string(number), "+" + std::to_string(number)});
    std::promise<bool> done;
    const auto taken =
        (*pipeline)->put("t", batch, Ack::kBuffered, [&done](Result<void> how) { done.set_value(how.ok()); });
    if (taken != Intake::Taken::kYes || !done.get_future().get()) _exit(2);
    if (::write(told, &number, sizeof number) != sizeof number) _exit(3);
  }
}

/// Lets a child run until it has told `least` numbers and a little longer, and kills it.
void run_and_kill(const Place& place, std::uint64_t writer, SeededRandom& random,
                  std::set<std::uint64_t>& acknowledged) {
  const std::uint64_t least = random.below(12), spin = random.below(3'000'000), source_only = random.below(12);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(ends[0]);
    be_the_child(place, writer, source_only, ends[1]);
  }
  ::close(ends[1]);
  std::uint64_t number = 0;
  for (std::uint64_t i = 0; i < least && ::read(ends[0], &number, sizeof number) == sizeof number; ++i)
    acknowledged.insert(number);
  for (volatile std::uint64_t i = 0; i < spin; i = i + 1) {
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
  while (::read(ends[0], &number, sizeof number) == sizeof number) acknowledged.insert(number);
  ::close(ends[0]);
}

void flush_the_rest(const Place& place, std::uint64_t writer) {
  RealClock clock;
  auto pipeline = Pipeline::open(config_of(place), {.writer = writer}, clock).value();
  pipeline->start_sinks();
  RecordBatch last = batch_of({"last"});
  std::promise<void> stored;
  pipeline->put("t", last, Ack::kStored, [&stored](Result<void>) { stored.set_value(); });
  ASSERT_EQ(stored.get_future().wait_for(60s), std::future_status::ready);
  EXPECT_EQ(pipeline->stop().kept.records, 0U);
}

void expect_each_once(const std::string& file, const std::set<std::uint64_t>& acknowledged) {
  std::map<std::string, int> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) ++lines[line];
  for (const auto& [line, times] : lines) EXPECT_EQ(times, 1) << line;
  for (const std::uint64_t number : acknowledged) {
    EXPECT_EQ(lines[std::to_string(number)], 1);
    EXPECT_EQ(lines["+" + std::to_string(number)], 1) << "the second record of batch " << number;
  }
  EXPECT_EQ(lines["last"], 1);
}

class KillTest : public testing::TestWithParam<Mode> {};

TEST_P(KillTest, WhatWasAcknowledgedArrivesExactlyOnce) {
  const TestDir dir;
  const Place place{(dir.path() / "buffer").string(), (dir.path() / "source-only").string(),
                    (dir.path() / "out").string(), GetParam()};
  const auto seed = static_cast<std::uint64_t>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE("replay with --gtest_random_seed=" + std::to_string(seed));
  SeededRandom random(seed + 1);
  std::set<std::uint64_t> acknowledged;
  constexpr std::uint64_t kRounds = 25;
  for (std::uint64_t round = 1; round <= kRounds; ++round) run_and_kill(place, round, random, acknowledged);
  EXPECT_FALSE(acknowledged.empty());
  flush_the_rest(place, kRounds + 1);
  expect_each_once(place.file, acknowledged);
}

INSTANTIATE_TEST_SUITE_P(EachMode, KillTest,
                         testing::Values(Mode::kBuffer, Mode::kSink, Mode::kSourceOnly, Mode::kSourceOnlyEnds));

}  // namespace
}  // namespace outlast::ingest
