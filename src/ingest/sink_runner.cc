#include "ingest/sink_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

#include "ingest/buffer/keep.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
/// How often the directory is looked through for what a process that has died since left there.
constexpr Duration kAdoptionWait = 5s;
constexpr Duration kLongestWait = 60s;
/// A sink that hangs keeps nobody from stopping for longer.
constexpr Duration kDrainWait = 30s;

}  // namespace

Result<std::unique_ptr<SinkRunner>> SinkRunner::open(const SinkConfig& config, std::unique_ptr<Sink> sink,
                                                     Surroundings around, std::function<void()> room) {
  std::unique_ptr<SinkRunner> runner(new SinkRunner(config, std::move(sink), std::move(around)));
  runner->stats_.name = config.name;
  TRY(runner->open_buffer(std::move(room)));
  return runner;
}

Result<void> SinkRunner::open_buffer(std::function<void()> room) {
  const BufferConfig& own = config_.buffer;
  const std::string& home = own.file ? own.path : around_.keep_path;
  if (!home.empty()) {
    ASSIGN_OR_RETURN(home_, ChunkDirectory::open(home, around_.ids.writer()));
  }
  std::shared_ptr<ChunkStore> store = home_;
  if (!own.file) store = std::make_shared<MemoryChunkStore>();
  ASSIGN_OR_RETURN(auto apart, open_source_only());
  buffer_ = std::make_unique<ChunkBuffer>(own.limits, std::move(store), around_.ids, around_.clock,
                                          BufferHooks{.work = [this] { wake(); }, .room = std::move(room)});
  const auto syncs = [](bool lasting, const BufferLimits& limits) {
    return lasting && limits.sync != SyncPolicy::kNever;
  };
  if (syncs(own.file, own.limits) || (apart && syncs(apart->store->lasting(), apart->limits)))
    syncer_ = std::thread([this] { sync_loop(); });
  buffer_->begin_source_only(std::move(apart));
  return {};
}

Result<std::optional<BufferPlace>> SinkRunner::open_source_only() {
  std::optional<BufferPlace> place;
  if (!around_.source_only) return place;
  place.emplace(around_.source_only->limits);
  // A sink gets chunks whole.
  place->limits.chunk_bytes = std::min(place->limits.chunk_bytes, config_.buffer.limits.chunk_bytes);
  if (around_.source_only->file) {
    ASSIGN_OR_RETURN(source_only_, ChunkDirectory::open(around_.source_only->path, around_.ids.writer()));
    place->store = source_only_;
  } else {
    place->store = std::make_shared<MemoryChunkStore>();
  }
  return place;
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
  buffer_->end_source_only();
  std::uint32_t threads = config_.buffer.limits.flush_threads;
  if (around_.source_only) threads = std::max(threads, around_.source_only->limits.flush_threads);
  if (sink_->one_at_a_time()) threads = 1;
  flushing_ = threads;
  for (std::uint32_t i = 0; i < threads; ++i)
    flushers_.emplace_back([this, i] {
      flush_loop(i);
      {
        const std::lock_guard lock(mutex_);
        --flushing_;
      }
      wake();
    });
}

void SinkRunner::open_former() {
  for (const std::string& path : around_.former) {
    if (ChunkDirectory::files_left(path).empty()) continue;
    auto directory = ChunkDirectory::open(path, around_.ids.writer());
    if (directory.ok())
      former_.push_back(std::move(directory).value());
    else
      spdlog::error("what a former buffer of the sink {} holds stays there: {}", config_.name,
                    directory.error().message);
  }
}

void SinkRunner::adopt_when_due() {
  const Instant now = around_.clock.now();
  const std::uint32_t wanted = looks_wanted_;
  if (next_adoption_ && now < *next_adoption_ && looks_done_ == wanted) return;
  if (!next_adoption_) open_former();
  next_adoption_ = now + kAdoptionWait;
  remove_written();
  std::vector<std::shared_ptr<Chunk>> own, elsewhere;
  if (home_ != nullptr) own = home_->left_over();
  const auto look_in = [&elsewhere](ChunkDirectory& directory) {
    std::ranges::move(directory.left_over(), std::back_inserter(elsewhere));
  };
  if (source_only_ != nullptr) look_in(*source_only_);
  for (const auto& directory : former_) look_in(*directory);
  buffer_->adopt(std::move(own), std::move(elsewhere));
  looks_done_ = wanted;
}

void SinkRunner::hurry(bool now) {
  buffer_->hurry(now);
  if (now) ++looks_wanted_;
  wake();
}

void SinkRunner::remove_written() {
  const std::lock_guard lock(mutex_);
  std::erase_if(unremoved_, [](const auto& chunk) { return chunk->remove().ok(); });
}

void SinkRunner::wait_for_adoption(bool first) {
  if (!first) {
    std::unique_lock lock(mutex_);
    return changed_.wait(lock, [this] { return adopted_; });
  }
  adopt_when_due();
  {
    const std::lock_guard lock(mutex_);
    adopted_ = true;
  }
  wake();
}

void SinkRunner::flush_loop(std::uint32_t index) {
  const bool first = index == 0;
  wait_for_adoption(first);
  while (!stopping_) {
    const std::uint64_t seen = signals();
    if (first && !draining_) adopt_when_due();
    if (const auto chunk = buffer_->take()) {
      write(chunk);
      continue;
    }
    if (draining_) return;
    // Some came for what was source-only.
    if (index >= config_.buffer.limits.flush_threads && !buffer_->holds_source_only()) return;
    const Instant latest = first ? *next_adoption_ : around_.clock.now() + kLongestWait;
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

/// Of a file buffer: what its disk refused.
Result<void> SinkRunner::keep(const Chunk& chunk) {
  if (config_.buffer.file && refuge_ == nullptr && !around_.keep_path.empty()) {
    ASSIGN_OR_RETURN(refuge_, ChunkDirectory::open(around_.keep_path, around_.ids.writer()));
  }
  ChunkDirectory* const place = config_.buffer.file ? refuge_.get() : home_.get();
  if (place == nullptr) return Error(Errc::kNotFound, "there is no directory for what memory holds");
  return keep_chunk(chunk, *place);
}

LeftBehind SinkRunner::stop(bool flush) {
  end_threads(flush && !flushers_.empty());
  LeftBehind left;
  for (const auto& chunk : buffer_->close()) {
    const auto kept = keep(*chunk);
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
  left.elsewhere = refuge_ != nullptr;
  remove_written();
  buffer_->give_up_store();
  home_.reset();
  refuge_.reset();
  source_only_.reset();
  former_.clear();
  secondary_.reset();
  return left;
}

SinkStats SinkRunner::stats() const {
  const std::lock_guard lock(mutex_);
  SinkStats stats = stats_;
  stats.buffer = buffer_->stats();
  stats.failures = buffer_->failures();
  stats.looks = looks_done_ != looks_wanted_;
  return stats;
}

}  // namespace outlast::ingest
