#include "ingest/record_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace outlast::ingest {
namespace {
static_assert(std::endian::native == std::endian::little, "records are kept little-endian");

constexpr std::size_t kLength = sizeof(std::uint32_t);
constexpr std::size_t kFixed = sizeof(std::int64_t) + sizeof(std::uint8_t);
constexpr std::size_t kPeerMax = 255;

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
char* store(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

char* store(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

Error no_record_at(std::size_t at, std::string_view data) {
  return {Errc::kCorrupt, "there is no whole record at byte " + std::to_string(at) + " of a batch of " +
                              std::to_string(data.size()) + " bytes"};
}

}  // namespace

void RecordBatch::append(const RawRecord& record) {
  const std::string_view peer = record.peer.substr(0, kPeerMax);
  const std::size_t length = kFixed + peer.size() + record.bytes.size();
  OUTLAST_ASSERT(length <= std::numeric_limits<std::uint32_t>::max(), "an input let a record of 4 GiB pass");
  const std::size_t before = data_.size();
  const std::size_t after = before + kLength + length;
  // libstdc++ 12 gives the function one more than the size that was asked for: it is not used.
  data_.resize_and_overwrite(after, [&](char* data, std::size_t) {
    char* at = store(data + before, static_cast<std::uint32_t>(length));
    at = store(at, record.received_micros);
    at = store(at, static_cast<std::uint8_t>(peer.size()));
    store(store(at, peer), record.bytes);
    return after;
  });
  ++records_;
}

void RecordBatch::append(const RecordBatch& other) {
  data_ += other.data_;
  records_ += other.records_;
}

void RecordBatch::clear() {
  data_.clear();
  records_ = 0;
}

Result<std::size_t> RecordBatch::count(std::string_view data) {
  std::size_t records = 0;
  for (std::size_t at = 0; at < data.size(); ++records) {
    const std::size_t rest = data.size() - at;
    if (rest < kLength + kFixed) return no_record_at(at, data);
    const std::size_t length = load<std::uint32_t>(data.data() + at);
    if (length > rest - kLength || length < kFixed) return no_record_at(at, data);
    const auto peer = load<std::uint8_t>(data.data() + at + kLength + sizeof(std::int64_t));
    if (peer > length - kFixed) return no_record_at(at, data);
    at += kLength + length;
  }
  return records;
}

Result<RecordBatch> RecordBatch::from(std::string data) {
  ASSIGN_OR_RETURN(const std::size_t records, count(data));
  RecordBatch batch;
  batch.data_ = std::move(data);
  batch.records_ = records;
  return batch;
}

bool RecordBatch::Reader::next(RawRecord& record) {
  if (rest_.empty()) return false;
  const std::size_t length = load<std::uint32_t>(rest_.data());
  const char* at = rest_.data() + kLength;
  const std::size_t peer = load<std::uint8_t>(at + sizeof(std::int64_t));
  record.received_micros = load<std::int64_t>(at);
  record.peer = {at + kFixed, peer};
  record.bytes = {at + kFixed + peer, length - kFixed - peer};
  rest_.remove_prefix(kLength + length);
  return true;
}

}  // namespace outlast::ingest
