#include "ingest/sink_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>

#include "ingest/buffer/keep.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
/// How often the directory is looked through for what a process that has died since left there.
constexpr Duration kAdoptionWait = 5s;
constexpr Duration kLongestWait = 60s;
/// A sink that hangs keeps nobody from stopping for longer.
constexpr Duration kDrainWait = 30s;

Result<void> write_to(Sink& sink, const std::shared_ptr<Chunk>& chunk) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  auto answer = promise->get_future();
  sink.write(chunk, [promise](Result<void> how) { promise->set_value(std::move(how)); });
  promise.reset();
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return Error(Errc::kUnavailable, "the sink ended without saying what became of a chunk");
  }
}

}  // namespace

Result<std::unique_ptr<SinkRunner>> SinkRunner::open(const SinkConfig& config, std::unique_ptr<Sink> sink,
                                                     Surroundings around, std::function<void()> room) {
  std::unique_ptr<SinkRunner> runner(new SinkRunner(config, std::move(sink), std::move(around)));
  runner->stats_.name = config.name;
  TRY(runner->open_buffer(std::move(room)));
  return runner;
}

Result<void> SinkRunner::open_buffer(std::function<void()> room) {
  std::unique_ptr<ChunkStore> store;
  const std::uint64_t writer = around_.ids.writer();
  if (config_.buffer.file) {
    ASSIGN_OR_RETURN(store, ChunkDirectory::open(config_.buffer.path, writer));
  } else {
    if (!around_.keep_path.empty()) {
      ASSIGN_OR_RETURN(kept_, ChunkDirectory::open(around_.keep_path, writer));
    }
    store = std::make_unique<MemoryChunkStore>(kept_.get());
  }
  buffer_ = std::make_unique<ChunkBuffer>(config_.buffer.limits, std::move(store), around_.ids, around_.clock,
                                          BufferHooks{.work = [this] { wake(); }, .room = std::move(room)});
  if (config_.buffer.file && config_.buffer.limits.sync != SyncPolicy::kNever)
    syncer_ = std::thread([this] { sync_loop(); });
  return {};
}

SinkRunner::~SinkRunner() {
  end_threads(false);
}

void SinkRunner::wake() {
  {
    const std::lock_guard lock(mutex_);
    ++signals_;
  }
  changed_.notify_all();
}

std::uint64_t SinkRunner::signals() const {
  const std::lock_guard lock(mutex_);
  return signals_;
}

void SinkRunner::wait(std::uint64_t seen, Instant until) {
  const Duration left = std::clamp<Duration>(until - around_.clock.now(), 0s, kLongestWait);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, left, [&] { return signals_ != seen; });
}

void SinkRunner::start() {
  const std::uint32_t threads = sink_->one_at_a_time() ? 1 : config_.buffer.flush_threads;
  flushing_ = threads;
  for (std::uint32_t i = 0; i < threads; ++i)
    flushers_.emplace_back([this, i] {
      flush_loop(i == 0);
      {
        const std::lock_guard lock(mutex_);
        --flushing_;
      }
      wake();
    });
}

void SinkRunner::adopt_when_due() {
  const Instant now = around_.clock.now();
  if (now < next_adoption_) return;
  buffer_->adopt_left_over();
  next_adoption_ = now + kAdoptionWait;
}

void SinkRunner::flush_loop(bool first) {
  if (first) {
    adopt_when_due();
    {
      const std::lock_guard lock(mutex_);
      adopted_ = true;
    }
    wake();
  } else {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return adopted_; });
  }
  while (!stopping_) {
    const std::uint64_t seen = signals();
    if (first && !draining_) adopt_when_due();
    if (const auto chunk = buffer_->take()) {
      write(chunk);
      continue;
    }
    if (draining_) return;
    const Instant latest = first ? next_adoption_ : around_.clock.now() + kLongestWait;
    wait(seen, std::min(buffer_->next_due().value_or(latest), latest));
  }
}

void SinkRunner::sync_loop() {
  while (!sync_stopping_) {
    const std::uint64_t seen = signals();
    const Instant now = around_.clock.now();
    const Instant next = buffer_->next_sync().value_or(now + kLongestWait);
    if (next <= now)
      buffer_->sync();
    else
      wait(seen, next);
  }
}

void SinkRunner::write(const std::shared_ptr<Chunk>& chunk) {
  auto written = write_to(*sink_, chunk);
  if (!written.ok()) return write_failed(chunk, written.error());
  if (auto removed = chunk->remove(); !removed.ok())
    spdlog::error("{} has the chunk {}, which stays behind and will come a second time: {}", config_.name,
                  chunk->id().to_string(), removed.error().message);
  {
    const std::lock_guard lock(mutex_);
    stats_.written.add(chunk->records(), chunk->bytes(), 1);
    stats_.last_error.clear();
  }
  buffer_->written(*chunk);
}

void SinkRunner::write_failed(const std::shared_ptr<Chunk>& chunk, const Error& why) {
  if (why.code == Errc::kShuttingDown && stopping_) return buffer_->put_back(*chunk);
  {
    const std::lock_guard lock(mutex_);
    stats_.last_error = why.message;
    ++stats_.retries;
  }
  if (is_final(why)) return set_aside(chunk, why);
  bool again = false;
  {
    const std::lock_guard lock(aside_);
    again = buffer_->failed(*chunk, random_);
  }
  if (again) {
    if (buffer_->failures() == 1)
      spdlog::warn("the sink {} does not take a chunk, which is tried again: {}", config_.name, why.message);
    return;
  }
  spdlog::error("the sink {} has been tried long enough; what waits is set aside: {}", config_.name, why.message);
  for (const auto& waiting : buffer_->take_waiting()) set_aside(waiting, why);
}

Result<ChunkStore*> SinkRunner::secondary() {
  if (secondary_ != nullptr) return secondary_.get();
  std::string path = config_.buffer.secondary_path;
  if (path.empty() && config_.buffer.file) path = config_.buffer.path + "/secondary";
  if (path.empty()) return nullptr;
  ASSIGN_OR_RETURN(secondary_, ChunkDirectory::open(path, around_.ids.writer()));
  return secondary_.get();
}

void SinkRunner::set_aside(const std::shared_ptr<Chunk>& chunk, const Error& why) {
  const std::lock_guard lock(aside_);
  auto place = secondary();
  const bool nowhere = place.ok() && *place == nullptr;
  auto kept = !place.ok() ? Result<void>(place.error()) : nowhere ? Result<void>() : keep_chunk(*chunk, **place);
  if (!kept.ok()) {
    spdlog::error("a chunk for {} cannot be set aside and is tried again: {}", config_.name, kept.error().message);
    (void)buffer_->failed(*chunk, random_);
    return;
  }
  if (auto removed = chunk->remove(); !removed.ok()) spdlog::error("{}", removed.error().message);
  if (nowhere) {
    spdlog::error("{} records for {} are dropped, as there is no secondary_path: {}", chunk->records(), config_.name,
                  why.message);
    buffer_->lost(*chunk);
  } else {
    spdlog::error("{} records for {} are set aside in the chunk {}: {}", chunk->records(), config_.name,
                  chunk->id().to_string(), why.message);
    const std::lock_guard counters(mutex_);
    stats_.set_aside.add(chunk->records(), chunk->bytes(), 1);
  }
  buffer_->set_aside(*chunk, why);
}

void SinkRunner::end_threads(bool flush) {
  if (flush) {
    draining_ = true;
    buffer_->flush_all();
    wake();
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kDrainWait, [this] { return flushing_ == 0; });
  }
  stopping_ = true;
  sink_->stop();
  wake();
  for (std::thread& thread : flushers_) thread.join();
  flushers_.clear();
  sync_stopping_ = true;
  wake();
  if (syncer_.joinable()) syncer_.join();
}

LeftBehind SinkRunner::stop(bool flush) {
  end_threads(flush && !flushers_.empty());
  LeftBehind left;
  for (const auto& chunk : buffer_->close()) {
    const auto kept = kept_ == nullptr
                          ? Result<void>(Error(Errc::kNotFound, "there is no directory for what memory holds"))
                          : keep_chunk(*chunk, *kept_);
    if (kept.ok()) continue;
    spdlog::error("{} records for {} are lost: {}", chunk->records(), config_.name, kept.error().message);
    buffer_->lost(*chunk);
    left.lost.add(chunk->records(), chunk->bytes(), 1);
  }
  const BufferStats stats = buffer_->stats();
  left.kept = stats.held;
  left.kept.records -= left.lost.records;
  left.kept.bytes -= left.lost.bytes;
  left.kept.chunks -= left.lost.chunks;
  buffer_->give_up_store();
  kept_.reset();
  secondary_.reset();
  return left;
}

SinkStats SinkRunner::stats() const {
  const std::lock_guard lock(mutex_);
  SinkStats stats = stats_;
  stats.buffer = buffer_->stats();
  stats.failures = buffer_->failures();
  return stats;
}

}  // namespace outlast::ingest
