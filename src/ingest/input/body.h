#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "ingest/forward.h"
#include "ingest/record_batch.h"

namespace outlast::ingest {

/// What the body of a request holds.
enum class BodyFormat : std::uint8_t {
  kNdjson,   ///< A JSON value a line: application/x-ndjson.
  kJson,     ///< An array, each element a record; anything else is kNdjson: application/json.
  kText,     ///< A record a line, unchecked: text/plain.
  kRecords,  ///< RecordBatch::data(), from another Outlast: kRecordsType.
};

/// Of a Content-Type, parameters and case aside; none is kJson. nullopt: we do not know it.
std::optional<BodyFormat> body_format(std::string_view content_type);

/// Appends the records of a body, in one pass: JSON is checked while its end is looked for, and not built. Records are
/// the bytes as they came. kInvalidArgument and kTooLarge (a record of more than `record_max`) name the record's index,
/// from 0; the batch is then not to be used.
Result<void> split_body(BodyFormat format, std::string_view body, std::size_t record_max, std::int64_t received_micros,
                        std::string_view peer, RecordBatch& batch);

}  // namespace outlast::ingest
