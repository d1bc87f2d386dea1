// The stored form of a key, and its hash.
#include <sqlite3.h>

#include <charconv>
#include <cmath>
#include <cstring>

#include "fragments/scheme.h"

namespace outlast::fragments {
namespace {

/// SQLite's rule for NUMERIC affinity: a text that is a number, blanks around it aside, becomes one; a whole double
/// becomes an integer (sqlite.org/datatype3.html, 3).
Value number_from(const std::string& text) {
  constexpr std::string_view kBlank = " \t\n\v\f\r";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return text;
  std::string_view word(text);
  word = word.substr(first, text.find_last_not_of(kBlank) - first + 1);
  if (word.size() > 1 && word[0] == '+' && word[1] != '-') word.remove_prefix(1);
  std::int64_t whole = 0;
  auto end = std::from_chars(word.data(), word.data() + word.size(), whole);
  if (end.ec == std::errc() && end.ptr == word.data() + word.size()) return whole;
  if (word.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return text;
  double real = 0;
  end = std::from_chars(word.data(), word.data() + word.size(), real);
  if (end.ec != std::errc() || end.ptr != word.data() + word.size()) return text;
  return real;
}

Value whole_if_exact(double d) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: SQLite stops at 2^51, larger ones are never keys
  if (std::abs(d) < kExact && d == std::floor(d)) return static_cast<std::int64_t>(d);
  return d;
}

std::string text_from(double d) {
  char out[64];
  return sqlite3_snprintf(sizeof out, out, "%!.15g", d);  // as SQLite itself writes a double into a text column
}

class Fnv {
 public:
  void add(char tag, const void* bytes, std::size_t size) {
    step(static_cast<unsigned char>(tag));
    for (std::size_t i = 0; i < size; ++i) step(static_cast<const unsigned char*>(bytes)[i]);
  }
  std::uint64_t finish() const {
    std::uint64_t h = state_;
    h ^= h >> 33, h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33, h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
  }

 private:
  void step(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3ULL; }
  std::uint64_t state_{0xcbf29ce484222325ULL};
};

}  // namespace

Value with_affinity(KeyType type, const Value& value) {
  if (type == KeyType::kBytes) return value;
  if (type == KeyType::kInteger) {
    Value out = value;
    if (const auto* text = std::get_if<std::string>(&value)) out = number_from(*text);
    if (const auto* real = std::get_if<double>(&out)) return whole_if_exact(*real);
    return out;
  }
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return text_from(*real);
  return value;
}

std::uint64_t key_hash(KeyType type, const Value& key) {
  const Value stored = with_affinity(type, key);
  Fnv hash;
  if (const auto* whole = std::get_if<std::int64_t>(&stored)) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(static_cast<std::uint64_t>(*whole) >> (8 * i));
    hash.add('i', bytes, sizeof bytes);
  } else if (const auto* text = std::get_if<std::string>(&stored)) {
    std::size_t size = text->size();
    while (type == KeyType::kPaddedText && size > 0 && (*text)[size - 1] == ' ') --size;
    hash.add('t', text->data(), size);
  } else if (const auto* blob = std::get_if<executor::Blob>(&stored)) {
    hash.add('b', blob->bytes.data(), blob->bytes.size());
  } else if (const auto* real = std::get_if<double>(&stored)) {  // no row has such a key: any partition is right
    const std::string digits = text_from(*real);
    hash.add('r', digits.data(), digits.size());
  } else {
    hash.add('n', nullptr, 0);
  }
  return hash.finish();
}

}  // namespace outlast::fragments
