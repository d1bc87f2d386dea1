// What a record costs from the batch through a file buffer into a file: CPU time of all threads, and records a second.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <string>

#include "ingest/pipeline.h"
#include "ingest/testing/test_clock.h"

namespace outlast::ingest {
namespace {
constexpr std::size_t kRecord = 200;

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void append(benchmark::State& state) {
  const std::string text(kRecord, 'x');
  RecordBatch batch;
  for (auto step : state) {
    batch.clear();
    for (std::int64_t i = 0; i < state.range(0); ++i) batch.append({1, "192.0.2.7:514", text});
    benchmark::DoNotOptimize(batch.data().data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(append)->Arg(64)->Arg(1024);

/// Records of 200 bytes in batches of `range(0)`.
void to_file(benchmark::State& state) {
  const auto directory = std::filesystem::temp_directory_path() / ("outlast_bench." + std::to_string(::getpid()));
  testing_support::RealClock clock;
  SinkConfig sink;
  sink.name = "file";
  sink.match = TagPattern::parse("**").value();
  sink.path = (directory / "out.log").string();
  sink.rotate_bytes = 64U << 20;
  sink.buffer.file = state.range(1) != 0;
  sink.buffer.path = (directory / "buffer").string();
  sink.buffer.limits.chunk_bytes = 8U << 20;
  sink.buffer.limits.flush_interval = std::chrono::seconds(1);
  auto pipeline = Pipeline::open({.sinks = {std::move(sink)}}, {}, clock).value();
  pipeline->start_sinks();
  const std::string text(kRecord, 'x');
  RecordBatch batch;
  const double before = cpu_seconds();
  for (auto step : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) batch.append({1, "192.0.2.7:514", text});
    while (pipeline->put("app", batch, Ack::kReceived, nullptr) == Intake::Taken::kWait) {
      std::promise<void> room;
      pipeline->on_room([&room] { room.set_value(); });
      room.get_future().wait();
    }
  }
  pipeline->stop();
  const double records = static_cast<double>(state.iterations() * state.range(0));
  state.SetItemsProcessed(static_cast<std::int64_t>(records));
  state.counters["cpu_ns_per_record"] = 1e9 * (cpu_seconds() - before) / records;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().starts_with("out.log.")) std::filesystem::remove(entry.path());
  std::filesystem::remove_all(directory);
}
BENCHMARK(to_file)->ArgsProduct({{16, 256}, {0, 1}})->Iterations(4'000)->UseRealTime();

}  // namespace
}  // namespace outlast::ingest

BENCHMARK_MAIN();
