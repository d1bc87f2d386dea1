#pragma once
#include <cstdint>
#include <string_view>

namespace outlast::sql::pgwire {

/// Reads big-endian fields from a byte string. A read past the end gives zero or empty and turns ok() false for good,
/// so that a parser may check once at its end. Thread-safety: none. Lifetime: points into the bytes given.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  bool ok() const { return ok_; }
  bool finished() const { return ok_ && rest_.empty(); }  ///< Read to the end, and not past it.
  std::size_t left() const { return rest_.size(); }
  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }

  std::string_view bytes(std::size_t n) {
    if (n > rest_.size()) return fail();
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  /// Up to the next NUL, which is taken too.
  std::string_view cstring() {
    const std::size_t end = rest_.find('\0');
    if (end == std::string_view::npos) return fail();
    const std::string_view out = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return out;
  }

 private:
  std::uint64_t number(std::size_t n) {
    std::uint64_t value = 0;
    for (const char c : bytes(n)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::string_view fail() {
    ok_ = false;
    rest_ = {};
    return {};
  }
  std::string_view rest_;
  bool ok_{true};
};

}  // namespace outlast::sql::pgwire
