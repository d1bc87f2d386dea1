// Bytes of strange senders: framed in one piece and in two, the second perhaps by a successor; bodies of requests.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "ingest/input/body.h"
#include "ingest/input/framing.h"
#include "ingest/input/unpack.h"

namespace {
using namespace outlast::ingest;

struct Collect : FrameSink {
  void record(std::string_view bytes, FrameFault fault) override { records.emplace_back(bytes, fault); }
  std::vector<std::pair<std::string, FrameFault>> records;
};

void check_framing(Framing framing, std::size_t most, std::string_view bytes, std::size_t cut, bool move) {
  Collect whole, pieces;
  Framer one(framing, most);
  one.feed(bytes, whole);
  one.finish(whole);
  Framer two(framing, most);
  two.feed(bytes.substr(0, cut), pieces);
  if (move) two = Framer(two.state(), most);
  two.feed(bytes.substr(cut), pieces);
  two.finish(pieces);
  if (whole.records != pieces.records) std::abort();
  for (const auto& [record, fault] : whole.records)
    if (record.size() > most) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  const std::size_t cut = bytes.empty() ? 0 : data[1] % (bytes.size() + 1);
  check_framing(static_cast<Framing>(data[0] % 3), 1 + data[2] % 64, bytes, cut, data[0] >= 128);
  RecordBatch batch;
  (void)!split_body(static_cast<BodyFormat>(data[0] % 4), bytes, 64, 0, "peer", batch).ok();
  (void)!unpack(data[0] % 2 == 0 ? Packing::kGzip : Packing::kZstd, bytes, 1 << 16).ok();
  return 0;
}
