// Bytes of a stranger: start-up packets, frames in two portions, every message body, COPY in both formats.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sql/pgwire/messages.h"
#include "sql/session/copy_format.h"
#include "sql/session/startup_options.h"

namespace {
using namespace outlast::sql;

void feed_startup(std::string_view bytes) {
  if (bytes.size() < 4) return;
  (void)pgwire::startup_length(bytes);
  (void)pgwire::parse_startup(std::string(bytes.substr(4)));
  (void)parse_options(bytes);
}

void feed_frames(std::string_view bytes, std::size_t cut) {
  pgwire::FrameReader reader(64 * 1024);
  for (const std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    reader.append(part);
    for (;;) {
      const auto frame = reader.peek();
      if (!frame.ok()) return;
      if (!*frame) break;
      (void)pgwire::parse_message(**frame);
      (void)reader.type_after_current();
      reader.consume();
    }
  }
}

void feed_copy(std::string_view bytes, bool csv) {
  CopyFormat format{.csv = csv, .header = false, .delimiter = csv ? ',' : '\t', .null_text = csv ? "" : "\\N"};
  CopyParser parser(format, 4096);
  parser.feed(bytes.substr(0, bytes.size() / 2));
  for (int half = 0; half < 2; ++half) {
    for (;;) {
      const auto row = parser.next();
      if (!row.ok()) return;
      if (!*row) break;
    }
    if (half == 0) parser.feed(bytes.substr(bytes.size() / 2));
    parser.finish();
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 4) {
    case 0:
      feed_startup(bytes);
      break;
    case 1:
      feed_frames(bytes, bytes.size() * data[1] / 256);
      break;
    case 2:
      feed_copy(bytes, false);
      break;
    default:
      feed_copy(bytes, true);
  }
  return 0;
}
