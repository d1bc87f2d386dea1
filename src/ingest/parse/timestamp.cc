#include "ingest/parse/timestamp.h"

#include <array>
#include <chrono>
#include <cstdio>

namespace outlast::ingest {
namespace {
using std::chrono::days;
using std::chrono::sys_days;
constexpr std::int64_t kMicros = 1'000'000;
constexpr std::int64_t kDay = 86'400;

/// Eats text from the front.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text), size_(text.size()) {}
  bool literal(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// From `least` to `most` digits.
  std::optional<int> number(std::size_t least, std::size_t most) {
    int value = 0;
    std::size_t digits = 0;
    for (; digits < most && digits < rest_.size() && is_digit(rest_[digits]); ++digits)
      value = value * 10 + (rest_[digits] - '0');
    if (digits < least || (digits < rest_.size() && digits == most && is_digit(rest_[digits]))) return std::nullopt;
    rest_.remove_prefix(digits);
    return value;
  }
  /// ".123" as microseconds; further digits are dropped. nullopt: a point without digits.
  std::optional<std::int64_t> fraction() {
    if (!literal('.')) return 0;
    std::int64_t micros = 0;
    std::size_t digits = 0;
    for (; digits < rest_.size() && is_digit(rest_[digits]); ++digits)
      if (digits < 6) micros = micros * 10 + (rest_[digits] - '0');
    if (digits == 0) return std::nullopt;
    for (std::size_t missing = digits; missing < 6; ++missing) micros *= 10;
    rest_.remove_prefix(digits);
    return micros;
  }
  std::string_view take(std::size_t length) {
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest() const { return rest_; }
  std::size_t eaten() const { return size_ - rest_.size(); }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

 private:
  std::string_view rest_;
  std::size_t size_;
};

std::optional<std::int64_t> days_of(int year, int month, int day) {
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return sys_days(date).time_since_epoch().count();
}

/// "22:14:15" with a fraction, in microseconds. A leap second counts as the next one.
std::optional<std::int64_t> time_of_day(Scanner& in) {
  const auto hour = in.number(2, 2);
  if (!hour || *hour > 23 || !in.literal(':')) return std::nullopt;
  const auto minute = in.number(2, 2);
  if (!minute || *minute > 59 || !in.literal(':')) return std::nullopt;
  const auto second = in.number(2, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto fraction = in.fraction();
  if (!fraction) return std::nullopt;
  return (*hour * 3600 + *minute * 60 + *second) * kMicros + *fraction;
}

std::optional<std::int32_t> offset(Scanner& in) {
  if (in.literal('Z') || in.literal('z')) return 0;
  const bool west = in.literal('-');
  if (!west && !in.literal('+')) return std::nullopt;
  const auto hours = in.number(2, 4);
  if (!hours) return std::nullopt;
  int minutes = *hours % 100;
  int whole = *hours / 100;
  if (*hours < 100) {
    whole = *hours;
    minutes = 0;
    if (in.literal(':')) {
      const auto more = in.number(2, 2);
      if (!more) return std::nullopt;
      minutes = *more;
    }
  }
  if (whole > 23 || minutes > 59) return std::nullopt;
  const std::int32_t seconds = whole * 3600 + minutes * 60;
  return west ? -seconds : seconds;
}

std::optional<std::int64_t> rfc3339(Scanner& in) {
  const auto year = in.number(4, 4);
  if (!year || !in.literal('-')) return std::nullopt;
  const auto month = in.number(2, 2);
  if (!month || !in.literal('-')) return std::nullopt;
  const auto day = in.number(2, 2);
  if (!day || !(in.literal('T') || in.literal('t') || in.literal(' '))) return std::nullopt;
  const auto date = days_of(*year, *month, *day);
  const auto time = time_of_day(in);
  if (!date || !time) return std::nullopt;
  const auto east = offset(in);
  if (!east) return std::nullopt;
  return (*date * kDay - *east) * kMicros + *time;
}

std::optional<int> month_name(Scanner& in) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::string_view name = in.take(3);
  for (std::size_t i = 0; i < kMonths.size(); ++i)
    if (kMonths[i] == name) return static_cast<int>(i) + 1;
  return std::nullopt;
}

/// "2003 " when a time or a month follows.
std::optional<int> year_here(Scanner& in) {
  Scanner ahead = in;
  const auto year = ahead.number(4, 4);
  if (!year || !ahead.literal(' ')) return std::nullopt;
  in = ahead;
  return year;
}

/// " CST 1987", " 1987".
std::optional<int> year_behind(Scanner& in) {
  Scanner ahead = in;
  if (!ahead.literal(' ')) return std::nullopt;
  std::size_t letters = 0;
  while (letters < ahead.rest().size() && ahead.rest()[letters] >= 'A' && ahead.rest()[letters] <= 'Z') ++letters;
  if (letters > 5) return std::nullopt;
  ahead.take(letters);
  if (letters > 0 && !ahead.literal(' ')) return std::nullopt;
  const auto year = ahead.number(4, 4);
  if (!year || *year < 1970 || (!ahead.rest().empty() && ahead.rest().front() != ' ' && ahead.rest().front() != ':'))
    return std::nullopt;
  in = ahead;
  return year;
}

int year_of(std::int64_t micros) {
  const sys_days day{days(static_cast<int>(micros / kMicros / kDay))};
  return static_cast<int>(std::chrono::year_month_day(day).year());
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  Scanner in(text);
  const auto micros = rfc3339(in);
  return in.rest().empty() ? micros : std::nullopt;
}

std::string format_rfc3339(std::int64_t micros) {
  std::int64_t seconds = micros / kMicros;
  std::int64_t rest = micros % kMicros;
  if (rest < 0) rest += kMicros, --seconds;
  const auto day = std::chrono::floor<days>(std::chrono::sys_seconds(std::chrono::seconds(seconds)));
  const std::chrono::year_month_day date(day);
  const auto second = static_cast<int>(seconds - day.time_since_epoch().count() * kDay);
  char text[80];
  const int length = std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                                   static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                   second / 3600, second / 60 % 60, second % 60);
  std::string out(text, static_cast<std::size_t>(length));
  if (rest != 0) {
    std::snprintf(text, sizeof text, ".%06d", static_cast<int>(rest));
    out += text;
  }
  return out + "Z";
}

std::optional<FrontTimestamp> parse_front_timestamp(std::string_view text, std::int64_t near_micros,
                                                    std::int32_t offset_seconds) {
  Scanner in(text);
  if (const auto micros = rfc3339(in)) return FrontTimestamp{*micros, in.eaten()};
  in = Scanner(text);
  auto year = year_here(in);
  const auto month = month_name(in);
  if (!month || !in.literal(' ')) return std::nullopt;
  while (in.literal(' ')) {
  }
  const auto day = in.number(1, 2);
  if (!day || !in.literal(' ')) return std::nullopt;
  if (!year) year = year_here(in);
  const auto time = time_of_day(in);
  if (!time) return std::nullopt;
  if (!year) year = year_behind(in);
  const auto micros_in = [&](int in_year) -> std::optional<std::int64_t> {
    const auto date = days_of(in_year, *month, *day);
    if (!date) return std::nullopt;
    return (*date * kDay - offset_seconds) * kMicros + *time;
  };
  std::optional<std::int64_t> best;
  if (year) {
    best = micros_in(*year);
  } else {
    const auto distance = [&](std::int64_t at) { return at > near_micros ? at - near_micros : near_micros - at; };
    for (int candidate = year_of(near_micros) - 1; candidate <= year_of(near_micros) + 1; ++candidate)
      if (const auto at = micros_in(candidate); at && (!best || distance(*at) < distance(*best))) best = at;
  }
  if (!best) return std::nullopt;
  return FrontTimestamp{*best, in.eaten()};
}

std::optional<std::int32_t> parse_utc_offset(std::string_view text) {
  if (text == "UTC") return 0;
  Scanner in(text);
  const auto seconds = offset(in);
  return in.rest().empty() ? seconds : std::nullopt;
}

}  // namespace outlast::ingest
