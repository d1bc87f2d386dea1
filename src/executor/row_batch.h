#pragma once
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
  std::string take() { return std::move(bytes_); }

 private:
  void varint(std::uint64_t v);
  std::string bytes_;
};

/// Reads what RowWriter wrote. Never reads past the end: truncated or foreign bytes give kCorrupt.
class RowReader {
 public:
  explicit RowReader(std::string_view bytes, std::size_t columns) : rest_(bytes), columns_(columns) {}
  bool done() const { return rest_.empty() || columns_ == 0; }
  Result<void> next(std::vector<Value>& row);

 private:
  Result<std::uint64_t> varint();
  std::string_view rest_;
  std::size_t columns_;
};

}  // namespace outlast::executor
