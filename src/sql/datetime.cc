#include <array>
#include <charconv>

#include "sql/types.h"

namespace outlast::sql {
namespace {

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's algorithm).
std::int64_t days_from_civil(std::int64_t y, int m, int d) {
  y -= m <= 2;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t yoe = y - era * 400;
  const std::int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

struct Civil {
  std::int64_t year;
  int month, day;
};
Civil civil_from_days(std::int64_t z) {
  z += 719468;
  const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const std::int64_t doe = z - era * 146097;
  const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const std::int64_t mp = (5 * doy + 2) / 153;
  const int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  return {yoe + era * 400 + (month <= 2), month, static_cast<int>(doy - (153 * mp + 2) / 5 + 1)};
}

bool valid_date(int y, int m, int d) {
  static constexpr std::array kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (y < 1 || y > 9999 || m < 1 || m > 12 || d < 1) return false;
  const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
  return d <= kDays[static_cast<std::size_t>(m - 1)] + (m == 2 && leap ? 1 : 0);
}

/// A cursor over the text; every taker leaves it in place when it does not match.
struct Scanner {
  std::string_view rest;
  bool skip(char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }
  bool number(int& out, std::size_t min_digits, std::size_t max_digits) {
    std::size_t n = 0;
    int value = 0;
    while (n < rest.size() && n < max_digits && rest[n] >= '0' && rest[n] <= '9')
      value = value * 10 + (rest[n++] - '0');
    if (n < min_digits) return false;
    rest.remove_prefix(n);
    out = value;
    return true;
  }
};

bool scan_date(Scanner& in, std::int64_t& days) {
  int y = 0, m = 0, d = 0;
  if (!in.number(y, 4, 4) || !in.skip('-') || !in.number(m, 1, 2) || !in.skip('-') || !in.number(d, 1, 2)) return false;
  if (!valid_date(y, m, d)) return false;
  days = days_from_civil(y, m, d);
  return true;
}

bool scan_time(Scanner& in, std::int64_t& micros) {
  int h = 0, m = 0, s = 0;
  if (!in.number(h, 1, 2) || !in.skip(':') || !in.number(m, 2, 2)) return false;
  std::int64_t fraction = 0;
  if (in.skip(':')) {
    if (!in.number(s, 2, 2)) return false;
    if (in.skip('.')) {
      std::int64_t unit = 100'000, digits = 0;
      bool round_up = false;
      for (; !in.rest.empty() && in.rest.front() >= '0' && in.rest.front() <= '9'; in.rest.remove_prefix(1), ++digits) {
        if (digits < 6)
          fraction += (in.rest.front() - '0') * unit, unit /= 10;
        else if (digits == 6)
          round_up = in.rest.front() >= '5';
      }
      fraction += round_up ? 1 : 0;
    }
  }
  if (h > 24 || m > 59 || s > 60 || (h == 24 && (m > 0 || s > 0 || fraction > 0))) return false;
  micros = ((h * 60LL + m) * 60 + s) * 1'000'000 + fraction;
  return true;
}

/// "Z", "UTC", "+02", "-05:30", "+0200"; seconds east of UTC.
bool scan_zone(Scanner& in, int& seconds) {
  seconds = 0;
  if (in.rest == "Z" || in.rest == "z" || in.rest == "UTC" || in.rest == "utc") return in.rest = {}, true;
  int sign = 0;
  if (in.skip('+'))
    sign = 1;
  else if (in.skip('-'))
    sign = -1;
  else
    return false;
  int h = 0, m = 0;
  if (!in.number(h, 1, 2)) return false;
  if (in.skip(':') ? !in.number(m, 2, 2) : (!in.rest.empty() && !in.number(m, 2, 2))) return false;
  if (h > 15 || m > 59) return false;
  seconds = sign * (h * 60 + m) * 60;
  return true;
}

/// At least `width` characters, as "%0*lld".
void append_number(std::string& to, std::int64_t value, std::size_t width) {
  std::array<char, 20> text{};
  const char* const end = std::to_chars(text.data(), text.data() + text.size(), value < 0 ? -value : value).ptr;
  const auto size = static_cast<std::size_t>(end - text.data()) + (value < 0 ? 1 : 0);
  if (value < 0) to += '-';
  if (size < width) to.append(width - size, '0');
  to.append(text.data(), static_cast<std::size_t>(end - text.data()));
}

std::string format_clock(std::int64_t micros) {
  const std::int64_t seconds = micros / 1'000'000, fraction = micros % 1'000'000;
  std::string out;
  append_number(out, seconds / 3600, 2);
  append_number(out += ':', seconds / 60 % 60, 2);
  append_number(out += ':', seconds % 60, 2);
  if (fraction == 0) return out;
  append_number(out += '.', fraction, 6);
  out.erase(out.find_last_not_of('0') + 1);
  return out;
}

std::string format_date(std::int64_t days) {
  const Civil c = civil_from_days(days);
  std::string out;
  append_number(out, c.year, 4);
  append_number(out += '-', c.month, 2);
  append_number(out += '-', c.day, 2);
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

constexpr std::int64_t kDayMicros = 86'400'000'000;

}  // namespace

std::string format_timestamp(std::int64_t micros) {
  std::int64_t days = micros / kDayMicros, rest = micros % kDayMicros;
  if (rest < 0) rest += kDayMicros, --days;
  return format_date(days) + " " + format_clock(rest);
}

std::optional<std::string> canonical_time(std::string_view text, Oid type) {
  Scanner in{trimmed(text)};
  std::int64_t days = 0, micros = 0;
  int zone = 0;
  if (type == oid::kTime) {
    if (!scan_time(in, micros) || !in.rest.empty()) return std::nullopt;
    return format_clock(micros);
  }
  if (!scan_date(in, days)) return std::nullopt;
  if (!in.rest.empty()) {
    if (!in.skip(' ') && !in.skip('T')) return std::nullopt;
    in.rest = trimmed(in.rest);
    if (!scan_time(in, micros)) return std::nullopt;
    in.rest = trimmed(in.rest);
    if (!in.rest.empty() && !scan_zone(in, zone)) return std::nullopt;
    if (!in.rest.empty()) return std::nullopt;
  }
  if (type == oid::kDate) return format_date(days);
  if (type != oid::kTimestamptz) zone = 0;
  const std::int64_t total = days * kDayMicros + micros - zone * 1'000'000LL;
  std::string out = format_timestamp(total);
  if (out.size() < 19 || out[4] != '-' || out.starts_with("0000")) return std::nullopt;  // left the years 1 to 9999
  return out;
}

}  // namespace outlast::sql
