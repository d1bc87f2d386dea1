#include "ingest/buffer/keep.h"

#include <spdlog/spdlog.h>

#include <cstdio>

#include "ingest/buffer/chunk_file.h"

namespace outlast::ingest {
namespace {

Result<void> copy(const Chunk& from, Chunk& to) {
  auto read = from.each_batch([&to](std::string_view batch) -> Result<void> {
    ASSIGN_OR_RETURN(const RecordBatch records, RecordBatch::from(std::string(batch)));
    return to.append(records);
  });
  if (!read.ok() && read.error().code != Errc::kCorrupt) return std::move(read).error();
  if (!read.ok()) spdlog::error("{}; the rest of it is lost", read.error().message);
  return to.sync();
}

}  // namespace

Result<void> keep_chunk(const Chunk& chunk, ChunkStore& to) {
  ASSIGN_OR_RETURN(const auto kept, to.create(chunk.facts()));
  const auto* from_file = dynamic_cast<const ChunkFile*>(&chunk);
  const auto* to_file = dynamic_cast<const ChunkFile*>(kept.get());
  if (from_file != nullptr && to_file != nullptr &&
      std::rename(from_file->path().c_str(), to_file->path().c_str()) == 0)
    return {};
  auto copied = copy(chunk, *kept);
  if (!copied.ok()) (void)kept->remove().ok();
  return copied;
}

}  // namespace outlast::ingest
