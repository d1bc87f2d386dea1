#pragma once
#include <string_view>

namespace outlast::ingest {

/// What one Outlast says to another when it forwards a chunk: a POST of kRecordsType with these headers.
///
/// The chunk's id (buffer/chunk.h). Records that come again under an id are taken no second time, so any client may
/// send one with whatever it posts.
inline constexpr const char* kChunkHeader = "Outlast-Chunk-Id";
/// The tag that the records have where they were read: they keep it, and what their parser there found
/// (RecordForm::kParsed). Only along with kRecordsType.
inline constexpr const char* kTagHeader = "Outlast-Tag";
/// RecordBatch::data().
inline constexpr std::string_view kRecordsType = "application/vnd.outlast.records";

}  // namespace outlast::ingest
