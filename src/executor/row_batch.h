#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "executor/value.h"

namespace outlast::executor {

/// Rows as bytes, between a leaseholder and a gateway: one tag byte a value (0 NULL, 1 integer, 2 real, 3 text, 4
/// blob), integers as zigzag varints, reals as 8 bytes little-endian, text and blobs as varint length and bytes. The
/// number of columns is known from the reply's columns.
class RowWriter {
 public:
  void null();
  void integer(std::int64_t v);
  void real(double v);
  void text(std::string_view v);
  void blob(std::string_view v);
  void value(const Value& v);
  std::size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  /// Bytes of whole values.
  void append(std::string_view values) { bytes_ += values; }
  /// Takes back what came after the first `size` bytes.
  void cut(std::size_t size) { bytes_.resize(size); }
  std::string take() { return std::move(bytes_); }

 private:
  void varint(std::uint64_t v);
  std::string bytes_;
};

/// One value where RowWriter wrote it; `bytes` of a text or blob live as long as those it was read from.
struct ValueView {
  enum class Kind : std::uint8_t { kNull, kInteger, kReal, kText, kBlob } kind{Kind::kNull};
  std::int64_t integer{0};
  double real{0};
  std::string_view bytes;
  Value copy() const;
};

/// Reads what RowWriter wrote. Never reads past the end: truncated or foreign bytes give kCorrupt.
class RowReader {
 public:
  explicit RowReader(std::string_view bytes, std::size_t columns) : rest_(bytes), columns_(columns) {}
  bool done() const { return rest_.empty() || columns_ == 0; }
  Result<void> next(std::vector<Value>& row);
  /// The same without a copy; `row` has a place for each column.
  Result<void> next(std::span<ValueView> row);
  /// What is not read yet.
  std::string_view rest() const { return rest_; }

 private:
  Result<void> value(ValueView& out);
  Result<std::uint64_t> varint();
  std::string_view rest_;
  std::size_t columns_;
};

}  // namespace outlast::executor
