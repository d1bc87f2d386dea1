#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "ingest/buffer/chunk.h"
#include "ingest/parse/parser.h"

namespace outlast::ingest {

/// How a sink of text writes a record.
enum class LineForm : std::uint8_t {
  kRaw,   ///< As it came, one line each: what a record holds of newlines stays.
  kJson,  ///< to_json_line().
};

/// Gives the chunk's lines to `write`, many at a time. Ends with the first error.
using TextWriter = std::function<Result<void>(std::string_view lines)>;
Result<void> write_lines(const Chunk& chunk, LineForm form, const Decoder& decoder, const TextWriter& write);

}  // namespace outlast::ingest
