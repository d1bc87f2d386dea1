#include "ingest/input/unpack.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

#include "base/parse.h"

namespace outlast::ingest {
namespace {
constexpr std::size_t kPiece = 64 << 10;
constexpr int kZstdWindowLogMax = 24;  // 16 MiB of memory; up to level 19 needs 8
constexpr int kGzipOnly = 16 + MAX_WBITS;

Error too_large(std::size_t most) {
  return Error(Errc::kTooLarge, "the unpacked body is larger than " + format_bytes(most) + "; send it in several");
}

// Room for one more piece, but for one byte more than `most` in all: enough to know that it is too much.
std::size_t make_room(std::string& out, std::size_t most) {
  const std::size_t before = out.size();
  out.resize(std::min(before + std::max(kPiece, before), most + 1));
  return before;
}

struct InflateEnd {
  void operator()(z_stream* stream) const { inflateEnd(stream); }
};

Result<std::string> gunzip(std::string_view packed, std::size_t most) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return Error(Errc::kOutOfMemory, "no memory to unpack gzip");
  const std::unique_ptr<z_stream, InflateEnd> end(&stream);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  for (;;) {
    const std::size_t before = make_room(out, most);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(out.size() - before);
    const int rc = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (out.size() > most) return too_large(most);
    if (rc == Z_STREAM_END && stream.avail_in == 0) return out;
    if (rc == Z_STREAM_END && inflateReset(&stream) == Z_OK) continue;
    if (rc != Z_OK) return Error(Errc::kInvalidArgument, "the body is not gzip, or ends too early");
  }
}

struct FreeZstd {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

Result<std::string> unzstd(std::string_view packed, std::size_t most) {
  const std::unique_ptr<ZSTD_DStream, FreeZstd> stream(ZSTD_createDStream());
  if (stream == nullptr) return Error(Errc::kOutOfMemory, "no memory to unpack zstd");
  ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::string out;
  for (;;) {
    const std::size_t before = make_room(out, most);
    ZSTD_outBuffer piece{out.data() + before, out.size() - before, 0};
    const std::size_t rc = ZSTD_decompressStream(stream.get(), &piece, &in);
    const bool full = piece.pos == piece.size;
    out.resize(before + piece.pos);
    if (ZSTD_isError(rc) != 0)
      return Error(Errc::kInvalidArgument, std::string("the body is not zstd: ") + ZSTD_getErrorName(rc));
    if (out.size() > most) return too_large(most);
    if (rc == 0 && in.pos == in.size) return out;
    if (in.pos == in.size && !full) return Error(Errc::kInvalidArgument, "the zstd body ends too early");
  }
}
}  // namespace

Result<std::string> unpack(Packing packing, std::string_view packed, std::size_t most) {
  switch (packing) {
    case Packing::kNone:
      return packed.size() > most ? Result<std::string>(too_large(most)) : std::string(packed);
    case Packing::kGzip:
      return gunzip(packed, most);
    case Packing::kZstd:
      return unzstd(packed, most);
  }
  return Error(Errc::kInternal, "an unknown packing");
}

}  // namespace outlast::ingest
