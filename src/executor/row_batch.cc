#include "executor/row_batch.h"

#include <cstring>

namespace outlast::executor {
namespace {
enum Tag : char { kNull = 0, kInteger = 1, kReal = 2, kText = 3, kBlob = 4 };
const Error& truncated() {
  static const Error error(Errc::kCorrupt, "a row batch ends in the middle of a value");
  return error;
}
}  // namespace

void RowWriter::varint(std::uint64_t v) {
  while (v >= 0x80) {
    bytes_.push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  bytes_.push_back(static_cast<char>(v));
}
void RowWriter::null() {
  bytes_.push_back(kNull);
}
void RowWriter::integer(std::int64_t v) {
  bytes_.push_back(kInteger);
  varint((static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63));
}
void RowWriter::real(double v) {
  bytes_.push_back(kReal);
  bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
}
void RowWriter::text(std::string_view v) {
  bytes_.push_back(kText);
  varint(v.size());
  bytes_.append(v);
}
void RowWriter::blob(std::string_view v) {
  bytes_.push_back(kBlob);
  varint(v.size());
  bytes_.append(v);
}
void RowWriter::value(const Value& v) {
  struct Visitor {
    RowWriter& out;
    void operator()(Null) const { out.null(); }
    void operator()(std::int64_t x) const { out.integer(x); }
    void operator()(double x) const { out.real(x); }
    void operator()(const std::string& x) const { out.text(x); }
    void operator()(const Blob& x) const { out.blob(x.bytes); }
  };
  std::visit(Visitor{*this}, v);
}

Result<std::uint64_t> RowReader::varint() {
  std::uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return truncated();
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    v |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return v;
  }
  return Error(Errc::kCorrupt, "a number in a row batch is too long");
}

Result<void> RowReader::next(std::vector<Value>& row) {
  row.clear();
  row.reserve(columns_);
  for (std::size_t i = 0; i < columns_; ++i) {
    if (rest_.empty()) return truncated();
    const char tag = rest_.front();
    rest_.remove_prefix(1);
    switch (tag) {
      case kNull:
        row.emplace_back(Null{});
        break;
      case kInteger: {
        ASSIGN_OR_RETURN(const std::uint64_t z, varint());
        row.emplace_back(static_cast<std::int64_t>((z >> 1) ^ (~(z & 1) + 1)));
        break;
      }
      case kReal: {
        double v = 0;
        if (rest_.size() < sizeof v) return truncated();
        std::memcpy(&v, rest_.data(), sizeof v);
        rest_.remove_prefix(sizeof v);
        row.emplace_back(v);
        break;
      }
      case kText:
      case kBlob: {
        ASSIGN_OR_RETURN(const std::uint64_t n, varint());
        if (rest_.size() < n) return truncated();
        std::string bytes(rest_.substr(0, n));
        rest_.remove_prefix(n);
        if (tag == kText)
          row.emplace_back(std::move(bytes));
        else
          row.emplace_back(Blob{std::move(bytes)});
        break;
      }
      default:
        return Error(Errc::kCorrupt, "a row batch holds an unknown kind of value");
    }
  }
  return {};
}

}  // namespace outlast::executor
