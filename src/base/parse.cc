#include "base/parse.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace outlast {
namespace {
struct Unit {
  std::string_view name;
  double factor;
};
constexpr Unit kTimes[] = {{"ns", 1},   {"us", 1e3},   {"µs", 1e3},   {"ms", 1e6},   {"s", 1e9},
                           {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
constexpr double kKi = 1024;
constexpr Unit kSizes[] = {{"", 1},
                           {"B", 1},
                           {"kB", 1e3},
                           {"KB", 1e3},
                           {"MB", 1e6},
                           {"GB", 1e9},
                           {"TB", 1e12},
                           {"KiB", kKi},
                           {"MiB", kKi* kKi},
                           {"GiB", kKi* kKi* kKi},
                           {"TiB", kKi* kKi* kKi* kKi}};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Takes one "<number><unit>" off the front. False when there is none.
bool take(std::string_view& rest, double& number, std::string_view& unit) {
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
  if (ec != std::errc{} || number < 0) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  rest = trim(rest);
  std::size_t n = 0;
  while (n < rest.size() && !(rest[n] >= '0' && rest[n] <= '9') && rest[n] != ' ') ++n;
  unit = rest.substr(0, n);
  rest = trim(rest.substr(n));
  return true;
}
}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  const Error bad(Errc::kInvalidArgument,
                  "'" + std::string(text) + "' is not a duration: write a number and a unit, as in 8s, 250ms or 1m30s");
  std::string_view rest = trim(text);
  if (rest == "0") return Duration::zero();
  if (rest.empty()) return bad;
  double total = 0;
  while (!rest.empty()) {
    double number = 0;
    std::string_view unit;
    if (!take(rest, number, unit)) return bad;
    const Unit* known = nullptr;
    for (const Unit& u : kTimes)
      if (u.name == unit) known = &u;
    if (known == nullptr) return bad;
    total += number * known->factor;
  }
  if (total > 9.0e18) return bad;
  return Duration(static_cast<std::int64_t>(std::llround(total)));
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const Error bad(Errc::kInvalidArgument,
                  "'" + std::string(text) + "' is not a size: write a number and a unit, as in 64MiB, 1GB or 4096");
  std::string_view rest = trim(text), unit;
  double number = 0;
  if (!take(rest, number, unit) || !rest.empty()) return bad;
  for (const Unit& u : kSizes)
    if (u.name == unit && number * u.factor < 1.8e19) return static_cast<std::uint64_t>(number * u.factor);
  return bad;
}

Result<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "on" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "off" || text == "no" || text == "0") return false;
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is neither true nor false");
}

Result<std::int64_t> parse_int(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || text.empty())
    return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a whole number");
  return value;
}

std::string format_duration(Duration d) {
  if (d == Duration::zero()) return "0s";
  std::string out = d.count() < 0 ? "-" : "";
  std::int64_t left = std::abs(d.count());
  static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
      {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000},
      {"ms", 1'000'000},        {"us", 1'000},         {"ns", 1}};
  for (const auto& [name, size] : kUnits)
    if (left >= size) {
      out.append(std::to_string(left / size)).append(name);
      left %= size;
    }
  return out;
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kNames)) value /= 1024, ++unit;
  char text[32];
  const bool whole = unit == 0 || value == std::floor(value);
  std::snprintf(text, sizeof text, whole ? "%.0f %s" : "%.1f %s", value, kNames[unit]);
  return text;
}

}  // namespace outlast
