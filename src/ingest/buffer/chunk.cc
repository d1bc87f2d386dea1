#include "ingest/buffer/chunk.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <tuple>

namespace outlast::ingest {
namespace {

class MemoryChunk final : public Chunk {
 public:
  using Chunk::Chunk;
  Result<void> append(const RecordBatch& batch) override {
    data_ += batch.data();
    count(batch.records(), batch.bytes());
    return {};
  }
  Result<void> each_batch(const BatchReader& reader) const override {
    return data_.empty() ? Result<void>() : reader(data_);
  }

 private:
  std::string data_;
};

constexpr std::size_t kHex = 16;

bool read_hex(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, kHex);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string ChunkId::to_string() const {
  char text[2 * kHex + 2];
  std::snprintf(text, sizeof text, "%016llx-%016llx", static_cast<unsigned long long>(writer),
                static_cast<unsigned long long>(sequence));
  return text;
}

Result<ChunkId> ChunkId::from(std::string_view text) {
  ChunkId id;
  if (text.size() != 2 * kHex + 1 || text[kHex] != '-' || !read_hex(text.substr(0, kHex), id.writer) ||
      !read_hex(text.substr(kHex + 1), id.sequence))
    return Error(Errc::kInvalidArgument,
                 "\"" + std::string(text) + "\" is no chunk id, which looks like " + ChunkId{1, 1}.to_string());
  return id;
}

void oldest_first(std::vector<std::shared_ptr<Chunk>>& chunks) {
  std::map<std::uint64_t, std::int64_t> begun;
  for (const auto& chunk : chunks) {
    const auto [first, fresh] = begun.emplace(chunk->facts().id.writer, chunk->facts().created_micros);
    if (!fresh) first->second = std::min(first->second, chunk->facts().created_micros);
  }
  std::ranges::sort(chunks, [&begun](const auto& a, const auto& b) {
    return std::tuple(begun[a->facts().id.writer], a->facts().id) <
           std::tuple(begun[b->facts().id.writer], b->facts().id);
  });
}

Result<std::shared_ptr<Chunk>> MemoryChunkStore::create(ChunkFacts facts) {
  return std::shared_ptr<Chunk>(std::make_shared<MemoryChunk>(std::move(facts)));
}

}  // namespace outlast::ingest
