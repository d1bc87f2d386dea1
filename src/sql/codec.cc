#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "sql/types.h"

namespace outlast::sql {
namespace {
using executor::Blob;
using executor::Value;

Error invalid(std::string_view text, Oid type) {
  return {Errc::kInvalidText,
          "invalid input syntax for type " + std::string(type_name(type)) + ": \"" + std::string(text) + "\""};
}
Error out_of_range(Oid type) {
  return {Errc::kNumericOutOfRange, std::string(type_name(type)) + " out of range"};
}
Error bad_binary(Oid type) {
  return {Errc::kInvalidBinary, "incorrect binary data format for type " + std::string(type_name(type))};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const auto first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::size_t characters(std::string_view utf8) {
  std::size_t n = 0;
  for (const char c : utf8) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

/// Digits and exponent of the shortest form → PostgreSQL's layout: scientific below 1e-4 and from 10^`digits` on.
std::string lay_out(std::string_view scientific, int digits) {
  const bool negative = scientific.front() == '-';
  if (negative) scientific.remove_prefix(1);
  const auto e = scientific.find('e');
  int exponent = 0;
  const char* from = scientific.data() + e + 1 + (scientific[e + 1] == '+');
  std::from_chars(from, scientific.data() + scientific.size(), exponent);
  std::string mantissa(scientific.substr(0, 1));
  if (e > 2) mantissa += scientific.substr(2, e - 2);
  std::string out = negative ? "-" : "";
  const int size = static_cast<int>(mantissa.size());
  if (exponent < -4 || exponent >= digits) {
    out += mantissa[0];
    if (size > 1) out += "." + mantissa.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const int magnitude = std::abs(exponent);
    out += (magnitude < 10 ? "0" : "") + std::to_string(magnitude);
  } else if (exponent < 0) {
    out += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + mantissa;
  } else if (exponent + 1 >= size) {
    out += mantissa + std::string(static_cast<std::size_t>(exponent + 1 - size), '0');
  } else {
    out += mantissa.substr(0, static_cast<std::size_t>(exponent + 1)) + "." +
           mantissa.substr(static_cast<std::size_t>(exponent + 1));
  }
  return out;
}

template <class Float>
std::string format_float(Float value, int digits) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific);
  return lay_out({text, static_cast<std::size_t>(end.ptr - text)}, digits);
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\\x";
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<Value> decode_bytea(std::string_view text) {
  std::string out;
  if (text.starts_with("\\x")) {
    int high = -1;
    for (const char c : text.substr(2)) {
      const int digit = hex_digit(c);
      if (digit < 0) return Error(Errc::kInvalidText, "invalid hexadecimal digit: \"" + std::string(1, c) + "\"");
      if (high < 0)
        high = digit;
      else
        out += static_cast<char>(high * 16 + digit), high = -1;
    }
    if (high >= 0) return Error(Errc::kInvalidText, "invalid hexadecimal data: odd number of digits");
    return Value(Blob{std::move(out)});
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
    } else if (text.substr(i, 2) == "\\\\") {
      out += '\\', ++i;
    } else if (i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3' && text[i + 2] >= '0' &&
               text[i + 2] <= '7' && text[i + 3] >= '0' && text[i + 3] <= '7') {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')), i += 3;
    } else {
      return invalid(text, oid::kBytea);
    }
  }
  return Value(Blob{std::move(out)});
}

struct Range {
  std::int64_t min, max;
};
Range range_of(Oid type) {
  if (type == oid::kInt2) return {-32768, 32767};
  if (type == oid::kInt4) return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
  if (type == oid::kOid || type == oid::kRegclass || type == oid::kRegproc || type == oid::kRegtype)
    return {0, std::numeric_limits<std::uint32_t>::max()};
  return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
}

Result<Value> decode_integer(std::string_view text, Oid type) {
  std::string_view digits = trimmed(text);
  if (digits.starts_with('+') && digits.size() > 1 && digits[1] != '-') digits.remove_prefix(1);
  std::int64_t n = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (digits.empty() || end.ptr != digits.data() + digits.size() || end.ec == std::errc::invalid_argument)
    return invalid(text, type);
  const Range range = range_of(type);
  if (end.ec != std::errc() || n < range.min || n > range.max)
    return Error(Errc::kNumericOutOfRange,
                 "value \"" + std::string(digits) + "\" is out of range for type " + std::string(type_name(type)));
  return Value(n);
}

Result<Value> decode_float(std::string_view text, Oid type) {
  std::string_view digits = trimmed(text);
  if (digits.starts_with('+') && digits.size() > 1 && digits[1] != '-') digits.remove_prefix(1);
  double d = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), d);
  if (digits.empty() || end.ptr != digits.data() + digits.size() || end.ec == std::errc::invalid_argument)
    return invalid(text, type);
  if (std::isnan(d)) return Error(Errc::kInvalidText, "Outlast does not store NaN; use NULL instead");
  const bool overflow =
      end.ec != std::errc() || (type == oid::kFloat4 && std::isfinite(d) && std::isinf(static_cast<float>(d)));
  if (overflow)
    return Error(Errc::kNumericOutOfRange,
                 "\"" + std::string(digits) + "\" is out of range for type " + std::string(type_name(type)));
  return Value(type == oid::kFloat4 ? static_cast<double>(static_cast<float>(d)) : d);
}

Result<Value> decode_uuid(std::string_view text) {
  std::string digits;
  std::string_view rest = trimmed(text);
  if (rest.starts_with('{') && rest.ends_with('}') && rest.size() > 2) rest = rest.substr(1, rest.size() - 2);
  for (const char c : rest) {
    if (c == '-' && !digits.empty() && digits.size() % 4 == 0) continue;
    if (hex_digit(c) < 0) return invalid(text, oid::kUuid);
    digits += "0123456789abcdef"[hex_digit(c)];
  }
  if (digits.size() != 32 || rest.ends_with('-')) return invalid(text, oid::kUuid);
  for (const std::size_t at : {8U, 13U, 18U, 23U}) digits.insert(at, "-");
  return Value(std::move(digits));
}

bool is_time(Oid type) {
  return type == oid::kDate || type == oid::kTime || type == oid::kTimestamp || type == oid::kTimestamptz;
}

/// A number out of a value, for the binary forms.
Result<std::int64_t> integer_of(const Value& value, Oid type) {
  if (const auto* n = std::get_if<std::int64_t>(&value)) {
    const Range range = range_of(type);
    if (*n < range.min || *n > range.max) return out_of_range(type);
    return *n;
  }
  if (const auto* s = std::get_if<std::string>(&value)) {
    auto parsed = decode_integer(*s, type);
    if (!parsed.ok()) return std::move(parsed).error();
    return std::get<std::int64_t>(*parsed);
  }
  if (const auto* d = std::get_if<double>(&value); d != nullptr && *d == std::floor(*d) && std::abs(*d) < 9e18)
    return integer_of(Value(static_cast<std::int64_t>(*d)), type);
  return Error(Errc::kDatatypeMismatch, "the value cannot be sent as " + std::string(type_name(type)) + "; cast it");
}

Result<double> double_of(const Value& value, Oid type) {
  if (const auto* d = std::get_if<double>(&value)) return *d;
  if (const auto* n = std::get_if<std::int64_t>(&value)) return static_cast<double>(*n);
  if (const auto* s = std::get_if<std::string>(&value)) {
    auto parsed = decode_float(*s, type);
    if (!parsed.ok()) return std::move(parsed).error();
    return std::get<double>(*parsed);
  }
  return Error(Errc::kDatatypeMismatch, "the value cannot be sent as " + std::string(type_name(type)) + "; cast it");
}

template <class Int>
std::string big_endian(Int n) {
  std::string out(sizeof(Int), '\0');
  for (std::size_t i = 0; i < sizeof(Int); ++i) out[sizeof(Int) - 1 - i] = static_cast<char>(n >> (8 * i) & 0xFF);
  return out;
}

std::uint64_t from_big_endian(std::string_view bytes) {
  std::uint64_t n = 0;
  for (const char c : bytes) n = n << 8 | static_cast<unsigned char>(c);
  return n;
}

/// Microseconds (or days, for a date) since 2000-01-01, the epoch of PostgreSQL's binary forms.
constexpr std::int64_t kEpochMicros = 946'684'800'000'000;
constexpr std::int64_t kDayMicros = 86'400'000'000;

Result<std::int64_t> micros_of(const Value& value, Oid type) {
  const auto* s = std::get_if<std::string>(&value);
  const auto text = s == nullptr ? std::nullopt : canonical_time(*s, type == oid::kTime ? oid::kTime : oid::kTimestamp);
  if (!text) return Error(Errc::kInvalidDatetime, "the value cannot be sent as " + std::string(type_name(type)));
  int y = 1970, mo = 1, d = 1, h = 0, mi = 0, sec = 0, used = 0;
  const char* clock = text->c_str();
  if (type != oid::kTime) {
    std::sscanf(clock, "%d-%d-%d %n", &y, &mo, &d, &used);
    clock += used;
  }
  std::sscanf(clock, "%d:%d:%d%n", &h, &mi, &sec, &used);
  std::int64_t fraction = 0, unit = 100'000;
  if (clock[used] == '.')
    for (const char* p = clock + used + 1; *p != 0; ++p, unit /= 10) fraction += (*p - '0') * unit;
  const std::int64_t clock_micros = ((h * 60LL + mi) * 60 + sec) * 1'000'000 + fraction;
  if (type == oid::kTime) return clock_micros;
  const auto date = std::chrono::sys_days(std::chrono::year(y) / mo / d);
  return date.time_since_epoch().count() * kDayMicros + clock_micros - kEpochMicros;
}

Result<std::string> encode_time_binary(const Value& value, Oid type) {
  ASSIGN_OR_RETURN(const std::int64_t micros, micros_of(value, type));
  if (type != oid::kDate) return big_endian(static_cast<std::uint64_t>(micros));
  const std::int64_t days = micros >= 0 ? micros / kDayMicros : -((-micros + kDayMicros - 1) / kDayMicros);
  return big_endian(static_cast<std::uint32_t>(static_cast<std::int32_t>(days)));
}

Result<Value> decode_time_binary(std::string_view bytes, Oid type) {
  const bool date = type == oid::kDate;
  if (bytes.size() != (date ? 4U : 8U)) return bad_binary(type);
  const std::uint64_t raw = from_big_endian(bytes);
  std::int64_t micros = 0;
  if (date)
    micros = static_cast<std::int32_t>(raw) * kDayMicros;
  else
    micros = static_cast<std::int64_t>(raw);
  if (type == oid::kTime) {
    if (micros < 0 || micros > kDayMicros) return bad_binary(type);
    return Value(format_timestamp(micros % kDayMicros).substr(11));
  }
  constexpr std::int64_t kFirst = -63'082'281'600'000'000, kLast = 252'455'616'000'000'000;  // years 1 to 9999
  if (micros < kFirst || micros >= kLast)
    return Error(Errc::kInvalidDatetime, std::string(type_name(type)) + " out of range: Outlast keeps years 1 to 9999");
  const std::string text = format_timestamp(micros + kEpochMicros);
  return Value(date ? text.substr(0, 10) : text);
}

std::string pack_uuid(std::string_view text) {
  std::string out;
  int high = -1;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) continue;
    if (high < 0)
      high = digit;
    else
      out += static_cast<char>(high * 16 + digit), high = -1;
  }
  return out;
}

/// Text has no NUL and is UTF-8.
bool valid_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == 0) return false;
    const std::size_t n = c < 0x80                ? 1
                          : c >= 0xC2 && c < 0xE0 ? 2
                          : c >= 0xE0 && c < 0xF0 ? 3
                          : c >= 0xF0 && c < 0xF5 ? 4
                                                  : 0;
    if (n == 0 || i + n > text.size()) return false;
    for (std::size_t k = 1; k < n; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    i += n;
  }
  return true;
}

}  // namespace

std::string format_double(double value) {
  return format_float(value, 15);
}
std::string format_float4(double value) {
  return format_float(static_cast<float>(value), 6);
}

std::optional<bool> parse_pg_bool(std::string_view text) {
  std::string word;
  for (const char c : trimmed(text)) word += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (word.empty()) return std::nullopt;
  for (const std::string_view yes : {"true", "yes"})
    if (yes.starts_with(word)) return true;
  for (const std::string_view no : {"false", "no"})
    if (no.starts_with(word)) return false;
  if (word == "1" || word == "on") return true;
  if (word == "0" || word == "off" || word == "of") return false;
  return std::nullopt;
}

Result<std::string> encode_text(const Value& value, const PgType& type) {
  if (std::holds_alternative<executor::Null>(value)) return std::string();
  if (const auto* n = std::get_if<std::int64_t>(&value)) {
    if (type.oid == oid::kBool) return std::string(*n != 0 ? "t" : "f");
    return std::to_string(*n);
  }
  if (const auto* d = std::get_if<double>(&value))
    return type.oid == oid::kFloat4 ? format_float4(*d) : format_double(*d);
  if (const auto* b = std::get_if<Blob>(&value)) return hex(b->bytes);
  std::string text = std::get<std::string>(value);
  if (type.oid == oid::kBpchar && type.typmod >= 4) {
    const auto width = static_cast<std::size_t>(type.typmod - 4), have = characters(text);
    if (have < width) text.append(width - have, ' ');
  }
  if (type.oid == oid::kTimestamptz && !text.empty()) text += "+00";
  return text;
}

Result<std::string> encode_binary(const Value& value, const PgType& type) {
  switch (type.oid) {
    case oid::kBool: {
      ASSIGN_OR_RETURN(const std::int64_t n, integer_of(value, oid::kInt8));
      return std::string(1, static_cast<char>(n != 0));
    }
    case oid::kInt2: {
      ASSIGN_OR_RETURN(const std::int64_t n, integer_of(value, type.oid));
      return big_endian(static_cast<std::uint16_t>(n));
    }
    case oid::kInt4:
    case oid::kOid:
    case oid::kRegproc: {
      ASSIGN_OR_RETURN(const std::int64_t n, integer_of(value, type.oid));
      return big_endian(static_cast<std::uint32_t>(n));
    }
    case oid::kInt8: {
      ASSIGN_OR_RETURN(const std::int64_t n, integer_of(value, type.oid));
      return big_endian(static_cast<std::uint64_t>(n));
    }
    case oid::kFloat4: {
      ASSIGN_OR_RETURN(const double d, double_of(value, type.oid));
      return big_endian(std::bit_cast<std::uint32_t>(static_cast<float>(d)));
    }
    case oid::kFloat8: {
      ASSIGN_OR_RETURN(const double d, double_of(value, type.oid));
      return big_endian(std::bit_cast<std::uint64_t>(d));
    }
    case oid::kDate:
    case oid::kTime:
    case oid::kTimestamp:
    case oid::kTimestamptz:
      return encode_time_binary(value, type.oid);
    case oid::kUuid:
      if (const auto* s = std::get_if<std::string>(&value)) return pack_uuid(*s);
      break;
    case oid::kBytea:
      if (const auto* b = std::get_if<Blob>(&value)) return b->bytes;
      break;
    case oid::kJsonb: {
      ASSIGN_OR_RETURN(std::string text, encode_text(value, type));
      return "\x01" + text;
    }
    case oid::kNumeric:
      return Error(Errc::kUndefinedFunction, "no binary output function available for type numeric; ask for text");
    default:
      break;
  }
  return encode_text(value, type);
}

Result<Value> decode_text(std::string_view text, Oid type) {
  if (!valid_text(text)) return Error(Errc::kInvalidText, "invalid byte sequence for encoding \"UTF8\"");
  if (is_time(type)) {
    auto canonical = canonical_time(text, type);
    if (!canonical)
      return Error(Errc::kInvalidDatetime,
                   "invalid input syntax for type " + std::string(type_name(type)) + ": \"" + std::string(text) + "\"");
    return Value(std::move(*canonical));
  }
  switch (type) {
    case oid::kBool: {
      const auto b = parse_pg_bool(text);
      if (!b) return invalid(text, type);
      return Value(static_cast<std::int64_t>(*b));
    }
    case oid::kInt2:
    case oid::kInt4:
    case oid::kInt8:
    case oid::kOid:
    case oid::kRegproc:
      return decode_integer(text, type);
    case oid::kFloat4:
    case oid::kFloat8:
    case oid::kNumeric:
      return decode_float(text, type);
    case oid::kBytea:
      return decode_bytea(text);
    case oid::kUuid:
      return decode_uuid(text);
    default:
      return Value(std::string(text));
  }
}

Result<Value> decode_binary(std::string_view bytes, Oid type) {
  if (is_time(type)) return decode_time_binary(bytes, type);
  const auto length = type_length(type);
  switch (type) {
    case oid::kBool:
      if (bytes.size() != 1) return bad_binary(type);
      return Value(static_cast<std::int64_t>(bytes[0] != 0));
    case oid::kInt2:
    case oid::kInt4:
    case oid::kInt8:
    case oid::kOid:
    case oid::kRegproc: {
      if (bytes.size() != static_cast<std::size_t>(length)) return bad_binary(type);
      const std::uint64_t n = from_big_endian(bytes);
      if (type == oid::kInt2) return Value(static_cast<std::int64_t>(static_cast<std::int16_t>(n)));
      if (type == oid::kInt4) return Value(static_cast<std::int64_t>(static_cast<std::int32_t>(n)));
      return Value(static_cast<std::int64_t>(n));
    }
    case oid::kFloat4:
    case oid::kFloat8: {
      if (bytes.size() != static_cast<std::size_t>(length)) return bad_binary(type);
      const std::uint64_t n = from_big_endian(bytes);
      const double d = type == oid::kFloat4 ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(n)))
                                            : std::bit_cast<double>(n);
      if (std::isnan(d)) return Error(Errc::kInvalidBinary, "Outlast does not store NaN; use NULL instead");
      return Value(d);
    }
    case oid::kBytea:
      return Value(Blob{std::string(bytes)});
    case oid::kUuid:
      if (bytes.size() != 16) return bad_binary(type);
      return decode_uuid(std::string_view(hex(bytes)).substr(2));
    case oid::kJsonb:
      if (!bytes.starts_with('\x01')) return bad_binary(type);
      return decode_text(bytes.substr(1), type);
    case oid::kNumeric:
      return Error(Errc::kInvalidBinary, "Outlast takes numeric parameters in text form only");
    default:
      return decode_text(bytes, type);
  }
}

}  // namespace outlast::sql
