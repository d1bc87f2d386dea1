#include "fragments/time_key.h"

#include <charconv>
#include <chrono>
#include <cstdio>

namespace outlast::fragments {
namespace {
namespace chrono = std::chrono;

constexpr std::int64_t kSecond = 1'000'000, kDay = 86'400 * kSecond;
constexpr std::int64_t kAnchor = 10'959 * kDay;  // Monday 2000-01-03
constexpr int kAnchorYear = 2000;

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

/// `text` is digits only, and a number between the two.
std::optional<int> digits(std::string_view text, int low, int high) {
  int out = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || text.front() == '-' || end.ec != std::errc() || end.ptr != text.data() + text.size() ||
      out < low || out > high)
    return std::nullopt;
  return out;
}

std::optional<std::int64_t> parse_day(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto y = digits(text.substr(0, 4), 1, 9999), m = digits(text.substr(5, 2), 1, 12),
             d = digits(text.substr(8, 2), 1, 31);
  if (!y || !m || !d) return std::nullopt;
  const chrono::year_month_day date{chrono::year(*y), chrono::month(static_cast<unsigned>(*m)),
                                    chrono::day(static_cast<unsigned>(*d))};
  if (!date.ok()) return std::nullopt;
  return chrono::sys_days(date).time_since_epoch().count() * kDay;
}

chrono::year_month_day day_of(std::int64_t micros) {
  return chrono::sys_days(chrono::days(floor_div(micros, kDay)));
}

std::int64_t months_of(std::int64_t micros) {
  const auto date = day_of(micros);
  return (static_cast<int>(date.year()) - kAnchorYear) * 12 + static_cast<int>(static_cast<unsigned>(date.month())) - 1;
}

/// The given day of a month that is counted from 2000-01, or its last one.
std::int64_t day_in_month(std::int64_t months, unsigned day) {
  const std::int64_t year = floor_div(months, 12);
  const chrono::year_month month{chrono::year(static_cast<int>(kAnchorYear + year)),
                                 chrono::month(static_cast<unsigned>(months - year * 12 + 1))};
  const chrono::day last = chrono::year_month_day_last(month.year(), chrono::month_day_last(month.month())).day();
  const chrono::sys_days date = month / std::min(chrono::day(day), last);
  return date.time_since_epoch().count() * kDay;
}

}  // namespace

std::optional<std::int64_t> parse_stored_time(std::string_view text, bool date) {
  const auto day = parse_day(text.substr(0, 10));
  if (!day || date) return text.size() == 10 ? day : std::nullopt;
  if (text.size() < 19 || text[10] != ' ' || text[13] != ':' || text[16] != ':') return std::nullopt;
  const auto h = digits(text.substr(11, 2), 0, 23), m = digits(text.substr(14, 2), 0, 59),
             s = digits(text.substr(17, 2), 0, 59);
  if (!h || !m || !s) return std::nullopt;
  std::int64_t micros = *day + ((*h * 60LL + *m) * 60 + *s) * kSecond;
  if (text.size() == 19) return micros;
  const std::string_view fraction = text.substr(20);
  const auto f = digits(fraction, 0, 999'999);
  if (text[19] != '.' || fraction.size() > 6 || !f || fraction.back() == '0') return std::nullopt;
  std::int64_t unit = kSecond;
  for (std::size_t i = 0; i < fraction.size(); ++i) unit /= 10;
  return micros + *f * unit;
}

std::string format_stored_time(std::int64_t micros, bool date) {
  const auto day = day_of(micros);
  char out[40];
  int n = std::snprintf(out, sizeof out, "%04d-%02u-%02u", static_cast<int>(day.year()),
                        static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
  if (date) return {out, static_cast<std::size_t>(n)};
  const std::int64_t rest = micros - floor_div(micros, kDay) * kDay, seconds = rest / kSecond;
  n += std::snprintf(out + n, sizeof out - static_cast<std::size_t>(n), " %02d:%02d:%02d.%06d",
                     static_cast<int>(seconds / 3600), static_cast<int>(seconds / 60 % 60),
                     static_cast<int>(seconds % 60), static_cast<int>(rest % kSecond));
  std::string text(out, static_cast<std::size_t>(n));
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text.size() < 19 ? text + std::string(19 - text.size(), '0') : text;
}

Slot slot_at(const Interval& interval, std::int64_t micros) {
  if (interval.months > 0) return floor_div(months_of(micros), interval.months);
  return floor_div(micros - kAnchor, interval.micros);
}

std::int64_t slot_start(const Interval& interval, Slot slot) {
  if (interval.months > 0) return day_in_month(slot * interval.months, 1);
  return kAnchor + slot * interval.micros;
}

std::int64_t before(std::int64_t micros, const Interval& interval) {
  if (interval.months == 0) return micros - interval.micros;
  const std::int64_t start = floor_div(micros, kDay) * kDay;
  return day_in_month(months_of(micros) - interval.months, static_cast<unsigned>(day_of(micros).day())) + micros -
         start;
}

Result<Interval> parse_interval(std::string_view text) {
  constexpr std::string_view kExample = "write an interval such as '1 day', '12 hours' or '3 months'";
  struct Unit {
    std::string_view name;
    std::int64_t months, seconds;
  };
  static constexpr Unit kUnits[] = {{"second", 0, 1},     {"minute", 0, 60}, {"hour", 0, 3600}, {"day", 0, 86'400},
                                    {"week", 0, 604'800}, {"month", 1, 0},   {"year", 12, 0}};
  Interval out;
  std::string_view rest = text;
  const auto word = [&rest] {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view taken = rest.substr(0, rest.find(' '));
    rest.remove_prefix(taken.size());
    return taken;
  };
  for (std::string_view number = word(); !number.empty(); number = word()) {
    const auto count = digits(number, 1, 1'000'000);
    std::string_view name = word();
    if (name.ends_with('s')) name.remove_suffix(1);
    const Unit* unit = nullptr;
    for (const Unit& each : kUnits)
      if (each.name == name) unit = &each;
    if (!count || unit == nullptr)
      return Error(Errc::kInvalidArgument, "\"" + std::string(text) + "\" is no interval; " + std::string(kExample));
    out.months += *count * unit->months;
    out.micros += *count * unit->seconds * kSecond;
  }
  if (out.months > 0 && out.micros > 0)
    return Error(Errc::kInvalidArgument,
                 "an interval is of months or of a fixed time, not of both; " + std::string(kExample));
  constexpr std::int64_t kMonthsMax = 12'000, kMicrosMax = 366'000 * kDay;
  if (out == Interval{} || out.months > kMonthsMax || out.micros > kMicrosMax)
    return Error(Errc::kInvalidArgument, "an interval is between 1 second and 1000 years; " + std::string(kExample));
  return out;
}

std::string to_string(const Interval& interval) {
  const auto counted = [](std::int64_t n, std::string_view unit) {
    return std::to_string(n) + " " + std::string(unit) + (n == 1 ? "" : "s");
  };
  if (interval.months > 0)
    return interval.months % 12 == 0 ? counted(interval.months / 12, "year") : counted(interval.months, "month");
  const std::int64_t seconds = interval.micros / kSecond;
  if (seconds % 86'400 == 0) return counted(seconds / 86'400, "day");
  if (seconds % 3600 == 0) return counted(seconds / 3600, "hour");
  return seconds % 60 == 0 ? counted(seconds / 60, "minute") : counted(seconds, "second");
}

}  // namespace outlast::fragments
