// The one file of the sinks that knows zlib and zstd.
#include "ingest/sink/compress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace outlast::ingest {
namespace {
constexpr std::size_t kRoom = 64U << 10;
const char* const kNoMemory = "there is no memory to compress with";

class GzipCompressor final : public Compressor {
 public:
  GzipCompressor() {
    constexpr int kWindowOfGzip = 15 + 16;
    constexpr int kMemory = 8;
    ready_ =
        deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWindowOfGzip, kMemory, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~GzipCompressor() override { deflateEnd(&stream_); }

  Result<void> compress(std::string_view bytes, bool last, std::string& out) override {
    if (!ready_) return Error(Errc::kOutOfMemory, kNoMemory);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    for (;;) {
      const std::size_t before = out.size();
      out.resize(before + kRoom);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + before);
      stream_.avail_out = kRoom;
      const int result = deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      out.resize(before + kRoom - stream_.avail_out);
      const bool done = last ? result == Z_STREAM_END : stream_.avail_out > 0;
      if (done) break;
    }
    if (last) deflateReset(&stream_);
    return {};
  }

 private:
  z_stream stream_{};
  bool ready_{false};
};

class ZstdCompressor final : public Compressor {
 public:
  ZstdCompressor() : context_(ZSTD_createCCtx()) {}
  ~ZstdCompressor() override { ZSTD_freeCCtx(context_); }

  Result<void> compress(std::string_view bytes, bool last, std::string& out) override {
    if (context_ == nullptr) return Error(Errc::kOutOfMemory, kNoMemory);
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      const std::size_t before = out.size();
      out.resize(before + kRoom);
      ZSTD_outBuffer room{out.data() + before, kRoom, 0};
      const std::size_t left = ZSTD_compressStream2(context_, &room, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      out.resize(before + room.pos);
      if (ZSTD_isError(left) != 0) return Error(Errc::kOutOfMemory, ZSTD_getErrorName(left));
      if (last ? left == 0 : in.pos == in.size) return {};
    }
  }

 private:
  ZSTD_CCtx* context_;
};

}  // namespace

std::string_view suffix_of(Compression compression) {
  constexpr std::string_view kSuffixes[] = {"", ".gz", ".zst"};
  return kSuffixes[static_cast<std::size_t>(compression)];
}

std::unique_ptr<Compressor> Compressor::make(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return std::make_unique<GzipCompressor>();
    case Compression::kZstd:
      return std::make_unique<ZstdCompressor>();
    case Compression::kNone:
      break;
  }
  return nullptr;
}

}  // namespace outlast::ingest
