// Records of a strange sender through every parser, and bytes of a strange disk through the batch and chunk formats.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ingest/buffer/chunk_format.h"
#include "ingest/parse/parser.h"

namespace {
using namespace outlast::ingest;

Decoder make_decoder() {
  Decoder decoder;
  using enum ParserKind;
  (void)decoder.add("json", {.kind = kJson}).ok();
  (void)decoder.add("regexp", {.kind = kRegexp, .expression = "^(?<host>\\S+) (?<time>\\S+) (?<rest>.*)$"}).ok();
  (void)decoder.add("syslog", {.kind = kSyslog, .utc_offset = -3600}).ok();
  (void)decoder.add("logfmt", {.kind = kLogfmt}).ok();
  return decoder;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Decoder decoder = make_decoder();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const char* tag : {"none", "json", "regexp", "syslog", "logfmt"}) {
    const Record record = decoder.decode(tag, {1'700'000'000'000'000, "192.0.2.7:514", bytes});
    if (!record.error.empty() && record.raw != bytes) __builtin_trap();
    const std::string line = to_json_line(record);
    if (line.contains('\n')) __builtin_trap();
    for (std::string_view rest = line; !rest.empty(); rest.remove_prefix(utf8_length(rest)))
      if (utf8_length(rest) == 0) __builtin_trap();
  }
  (void)decode_chunk_header(bytes).ok();
  if (auto batch = RecordBatch::from(std::string(bytes)); batch.ok()) {
    RawRecord record;
    std::size_t records = 0;
    for (auto reader = batch->read(); reader.next(record);) ++records;
    if (records != batch->records()) __builtin_trap();
  }
  return 0;
}
