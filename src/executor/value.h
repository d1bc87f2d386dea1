#pragma once
#include <cstdint>
#include <string>
#include <variant>

namespace outlast::executor {

struct Null {
  friend bool operator==(Null, Null) = default;
};
struct Blob {
  std::string bytes;
  friend bool operator==(const Blob&, const Blob&) = default;
};
/// A SQLite value: NULL, 64-bit integer, double, UTF-8 text, bytes.
using Value = std::variant<Null, std::int64_t, double, std::string, Blob>;

}  // namespace outlast::executor
