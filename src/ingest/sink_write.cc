// What becomes of a chunk: written, tried again, set aside or lost.
#include <spdlog/spdlog.h>

#include <future>

#include "ingest/buffer/keep.h"
#include "ingest/sink_runner.h"

namespace outlast::ingest {
namespace {

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

void SinkRunner::write(const std::shared_ptr<Chunk>& chunk) {
  auto written = write_to(*sink_, chunk);
  if (!written.ok()) return write_failed(chunk, written.error());
  if (auto removed = chunk->remove(); !removed.ok()) stays_behind(chunk, removed.error());
  {
    const std::lock_guard lock(mutex_);
    stats_.written.add(chunk->records(), chunk->bytes(), 1);
    stats_.last_error.clear();
  }
  buffer_->written(*chunk);
}

void SinkRunner::stays_behind(const std::shared_ptr<Chunk>& chunk, const Error& why) {
  spdlog::error("{} has the chunk {}, which stays behind, and comes a second time if it cannot be removed later: {}",
                config_.name, chunk->id().to_string(), why.message);
  const std::lock_guard lock(mutex_);
  unremoved_.push_back(chunk);
}

void SinkRunner::write_failed(const std::shared_ptr<Chunk>& chunk, const Error& why) {
  if (why.code == Errc::kShuttingDown && stopping_) return buffer_->put_back(*chunk);
  {
    const std::lock_guard lock(mutex_);
    stats_.last_error = why.message;
    ++stats_.retries;
  }
  if (chunk->is_gone()) return give_up(*chunk, why, "somebody removed the file");
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
  if (nowhere) return give_up(*chunk, why, "there is no secondary_path");
  spdlog::error("{} records for {} are set aside in the chunk {}: {}", chunk->records(), config_.name,
                chunk->id().to_string(), why.message);
  {
    const std::lock_guard counters(mutex_);
    stats_.set_aside.add(chunk->records(), chunk->bytes(), 1);
  }
  buffer_->set_aside(*chunk, why);
}

void SinkRunner::give_up(const Chunk& chunk, const Error& why, const char* reason) {
  spdlog::error("{} records for {} are lost, as {}: {}", chunk.records(), config_.name, reason, why.message);
  buffer_->lost(chunk);
  buffer_->set_aside(chunk, why);
}

}  // namespace outlast::ingest
