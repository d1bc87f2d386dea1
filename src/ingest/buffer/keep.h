#pragma once
#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// The chunk in `to` as well, durable, under its id; a file is moved there if it can be. The caller removes it here.
/// Errors: kDiskFull, kIo; then nothing of it is there. Of a damaged file that cannot be moved only its whole batches.
Result<void> keep_chunk(const Chunk& chunk, ChunkStore& to);

}  // namespace outlast::ingest
