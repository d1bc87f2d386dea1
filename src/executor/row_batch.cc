#include "executor/row_batch.h"

#include <cstring>

namespace outlast::executor {
namespace {
enum Tag : char { kNull = 0, kInteger = 1, kReal = 2, kText = 3, kBlob = 4 };
static_assert(kNull == static_cast<char>(ValueView::Kind::kNull) && kBlob == static_cast<char>(ValueView::Kind::kBlob));
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

Result<void> RowReader::value(ValueView& out) {
  if (rest_.empty()) return truncated();
  const char tag = rest_.front();
  rest_.remove_prefix(1);
  out.kind = static_cast<ValueView::Kind>(tag);
  switch (tag) {
    case kNull:
      return {};
    case kInteger: {
      ASSIGN_OR_RETURN(const std::uint64_t z, varint());
      out.integer = static_cast<std::int64_t>((z >> 1) ^ (~(z & 1) + 1));
      return {};
    }
    case kReal:
      if (rest_.size() < sizeof out.real) return truncated();
      std::memcpy(&out.real, rest_.data(), sizeof out.real);
      rest_.remove_prefix(sizeof out.real);
      return {};
    case kText:
    case kBlob: {
      ASSIGN_OR_RETURN(const std::uint64_t n, varint());
      if (rest_.size() < n) return truncated();
      out.bytes = rest_.substr(0, n);
      rest_.remove_prefix(n);
      return {};
    }
    default:
      return Error(Errc::kCorrupt, "a row batch holds an unknown kind of value");
  }
}

Result<void> RowReader::next(std::span<ValueView> row) {
  OUTLAST_ASSERT(row.size() == columns_);
  for (ValueView& each : row) TRY(value(each));
  return {};
}

Result<void> RowReader::next(std::vector<Value>& row) {
  row.clear();
  row.reserve(columns_);
  ValueView each;
  for (std::size_t i = 0; i < columns_; ++i) {
    TRY(value(each));
    row.push_back(each.copy());
  }
  return {};
}

Value ValueView::copy() const {
  switch (kind) {
    case Kind::kInteger:
      return integer;
    case Kind::kReal:
      return real;
    case Kind::kText:
      return std::string(bytes);
    case Kind::kBlob:
      return Blob{std::string(bytes)};
    case Kind::kNull:
      break;
  }
  return Null{};
}

}  // namespace outlast::executor
