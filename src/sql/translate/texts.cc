#include <regex.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <vector>

#include "sql/translate/function_kit.h"

namespace outlast::sql::kit {
namespace {

constexpr std::size_t kMaxText = 64U << 20;

std::size_t width(unsigned char c) {
  return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/// Byte offset of character `n` (0-based), at most the size.
std::size_t offset_of(std::string_view s, std::int64_t n) {
  std::size_t at = 0;
  for (; n > 0 && at < s.size(); --n) at += width(static_cast<unsigned char>(s[at]));
  return std::min(at, s.size());
}

std::int64_t characters(std::string_view s) {
  return std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

/// PostgreSQL's LIKE: "\" (or `escape`) makes the next character itself; 0 is no escape character. Iterative: the last
/// "%" is where a mismatch goes back to. -1: the pattern ends with the escape character.
int like_match(std::string_view s, std::string_view p, char escape, bool fold) {
  std::size_t i = 0, j = 0, star = p.npos, mark = 0;
  const auto same = [fold](char a, char b) { return a == b || (fold && lower(a) == lower(b)); };
  while (i < s.size() || j < p.size()) {
    if (j < p.size() && escape != 0 && p[j] == escape) {
      if (j + 1 >= p.size()) return -1;
      if (i < s.size() && same(s[i], p[j + 1])) {
        ++i, j += 2;
        continue;
      }
    } else if (j < p.size() && p[j] == '%') {
      star = ++j, mark = i;
      continue;
    } else if (j < p.size() && i < s.size() && p[j] == '_') {
      i = std::min(s.size(), i + width(static_cast<unsigned char>(s[i]))), ++j;
      continue;
    } else if (j < p.size() && i < s.size() && same(s[i], p[j])) {
      ++i, ++j;
      continue;
    }
    if (star == p.npos || mark >= s.size()) return 0;
    mark = std::min(s.size(), mark + width(static_cast<unsigned char>(s[mark])));
    i = mark, j = star;
  }
  return 1;
}

template <bool kFold>
void like(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return;
  char escape = '\\';
  if (n == 3) {
    const std::string_view e = text(v[2]);
    if (e.size() > 1)
      return fail(c, Errc::kInvalidArgument, "invalid escape string: it must be empty or one character");
    escape = e.empty() ? '\0' : e.front();
  }
  const std::string subject(text(v[0]));
  const int match = like_match(subject, text(v[1]), escape, kFold);
  if (match < 0) return fail(c, Errc::kInvalidArgument, "LIKE pattern must not end with escape character");
  sqlite3_result_int(c, match);
}

/// POSIX extended expressions; what PostgreSQL reads otherwise than they do is refused.
void regex(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0]) || null(v[1])) return;
  const std::string subject(text(v[0])), pattern(text(v[1]));
  for (const std::string_view other : {"*?", "+?", "??", "(?", "\\d", "\\D", "\\m", "\\M", "\\y", "\\A", "\\Z", "***"})
    if (pattern.find(other) != std::string::npos)
      return fail(c, Errc::kUndefinedFunction, "regular expressions with " + std::string(other) + " are not supported");
  if (pattern.size() > 1000 || subject.size() > 100'000)
    return fail(c, Errc::kTooLarge, "regular expression or text is too long");
  regex_t compiled{};
  const int flags = REG_EXTENDED | REG_NOSUB | (sqlite3_value_int(v[2]) != 0 ? REG_ICASE : 0);
  if (regcomp(&compiled, pattern.c_str(), flags) != 0)
    return fail(c, Errc::kInvalidArgument, "invalid regular expression");
  sqlite3_result_int(c, regexec(&compiled, subject.c_str(), 0, nullptr, 0) == 0);
  regfree(&compiled);
}

void length(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  if (sqlite3_value_type(v[0]) == SQLITE_BLOB) return sqlite3_result_int(c, sqlite3_value_bytes(v[0]));
  sqlite3_result_int64(c, characters(text(v[0])));
}

void octets(sqlite3_context* c, int, sqlite3_value** v) {
  if (!null(v[0])) sqlite3_result_int64(c, static_cast<std::int64_t>(text(v[0]).size()));
}

/// substr(s, from[, count]): positions before 1 count, as in PostgreSQL.
void substring(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return;
  std::int64_t from = 0, count = 0;
  if (!integer(c, v[1], from)) return;
  if (n == 3 && !integer(c, v[2], count)) return;
  if (count < 0) return fail(c, Errc::kInvalidArgument, "negative substring length not allowed");
  const std::string_view s = text(v[0]);
  std::int64_t end = 0;
  if (n == 2 || __builtin_add_overflow(from, count, &end)) end = std::numeric_limits<std::int64_t>::max();
  from = std::max<std::int64_t>(from, 1), end = std::max(end, from);
  const std::size_t a = offset_of(s, from - 1), b = offset_of(s.substr(a), end - from) + a;
  result(c, s.substr(a, b - a));
}

template <bool kLeft>
void side(sqlite3_context* c, int n, sqlite3_value** v) {
  std::int64_t count = 0;
  if (any_null(n, v) || !integer(c, v[1], count)) return;
  const std::string_view s = text(v[0]);
  const std::int64_t have = characters(s);
  if (count < 0) count = std::max<std::int64_t>(0, have + count);
  count = std::min(count, have);
  if (kLeft)
    result(c, s.substr(0, offset_of(s, count)));
  else
    result(c, s.substr(offset_of(s, have - count)));
}

void repeat(sqlite3_context* c, int n, sqlite3_value** v) {
  std::int64_t count = 0;
  if (any_null(n, v) || !integer(c, v[1], count)) return;
  const std::string_view s = text(v[0]);
  count = std::max<std::int64_t>(count, 0);
  if (!s.empty() && static_cast<std::uint64_t>(count) > kMaxText / s.size())
    return fail(c, Errc::kTooLarge, "requested length too large");
  std::string out;
  for (std::int64_t i = 0; !s.empty() && i < count; ++i) out += s;
  result(c, out);
}

template <bool kLeft>
void pad(sqlite3_context* c, int n, sqlite3_value** v) {
  std::int64_t want = 0;
  if (any_null(n, v) || !integer(c, v[1], want)) return;
  const std::string_view s = text(v[0]), fill = n == 3 ? text(v[2]) : std::string_view(" ");
  const std::int64_t have = characters(s);
  if (want > static_cast<std::int64_t>(kMaxText)) return fail(c, Errc::kTooLarge, "requested length too large");
  if (want <= have || fill.empty()) return result(c, s.substr(0, offset_of(s, std::max<std::int64_t>(want, 0))));
  std::string padding;
  std::size_t at = 0;
  for (std::int64_t i = have; i < want; ++i) {
    const std::size_t w = width(static_cast<unsigned char>(fill[at]));
    padding += fill.substr(at, w);
    at = at + w >= fill.size() ? 0 : at + w;
  }
  result(c, kLeft ? padding + std::string(s) : std::string(s) + padding);
}

void reverse(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  const std::string_view s = text(v[0]);
  std::string out;
  for (std::size_t end = s.size(); end > 0;) {
    std::size_t start = end - 1;
    while (start > 0 && (static_cast<unsigned char>(s[start]) & 0xC0) == 0x80) --start;
    out += s.substr(start, end - start);
    end = start;
  }
  result(c, out);
}

void replace(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return;
  const std::string_view s = text(v[0]), from = text(v[1]), to = text(v[2]);
  if (from.empty()) return result(c, s);
  std::string out;
  for (std::size_t at = 0;;) {
    const auto hit = s.find(from, at);
    out += s.substr(at, hit == s.npos ? s.npos : hit - at);
    if (hit == s.npos) break;
    out += to, at = hit + from.size();
    if (out.size() > kMaxText) return fail(c, Errc::kTooLarge, "result of replace is too large");
  }
  result(c, out);
}

void split_part(sqlite3_context* c, int n, sqlite3_value** v) {
  std::int64_t field = 0;
  if (any_null(n, v) || !integer(c, v[2], field)) return;
  if (field == 0) return fail(c, Errc::kInvalidArgument, "field position must not be zero");
  const std::string_view s = text(v[0]), mark = text(v[1]);
  std::vector<std::string_view> parts;
  std::size_t at = 0;
  for (std::size_t hit = mark.empty() ? s.npos : s.find(mark); hit != s.npos; hit = s.find(mark, at))
    parts.push_back(s.substr(at, hit - at)), at = hit + mark.size();
  parts.push_back(s.substr(at));
  const auto size = static_cast<std::int64_t>(parts.size());
  if (field < 0) field = size + field + 1;
  result(c, field < 1 || field > size ? std::string_view() : parts[static_cast<std::size_t>(field - 1)]);
}

void initcap(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  std::string out(text(v[0]));
  bool start = true;
  for (char& ch : out) {
    const auto u = static_cast<unsigned char>(ch);
    ch = static_cast<char>(u >= 0x80 ? u : start ? std::toupper(u) : std::tolower(u));
    start = u < 0x80 && std::isalnum(u) == 0;
  }
  result(c, out);
}

void starts_with(sqlite3_context* c, int n, sqlite3_value** v) {
  if (!any_null(n, v)) sqlite3_result_int(c, std::string(text(v[0])).starts_with(text(v[1])));
}

void ascii(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  const std::string_view s = text(v[0]);
  if (s.empty()) return sqlite3_result_int(c, 0);
  const std::size_t w = std::min(width(static_cast<unsigned char>(s[0])), s.size());
  int code = static_cast<unsigned char>(s[0]);
  if (w > 1) code &= 0xFF >> (w + 1);
  for (std::size_t i = 1; i < w; ++i) code = code << 6 | (s[i] & 0x3F);
  sqlite3_result_int(c, code);
}

void chr(sqlite3_context* c, int, sqlite3_value** v) {
  std::int64_t n = 0;
  if (null(v[0]) || !integer(c, v[0], n)) return;
  if (n <= 0 || n > 0x10FFFF || (n >= 0xD800 && n < 0xE000))
    return fail(c, Errc::kTooLarge, "requested character is not valid for encoding");
  std::string out;
  const auto u = static_cast<std::uint32_t>(n);
  if (u < 0x80)
    out = {static_cast<char>(u)};
  else if (u < 0x800)
    out = {static_cast<char>(0xC0 | u >> 6), static_cast<char>(0x80 | (u & 0x3F))};
  else if (u < 0x10000)
    out = {static_cast<char>(0xE0 | u >> 12), static_cast<char>(0x80 | (u >> 6 & 0x3F)),
           static_cast<char>(0x80 | (u & 0x3F))};
  else
    out = {static_cast<char>(0xF0 | u >> 18), static_cast<char>(0x80 | (u >> 12 & 0x3F)),
           static_cast<char>(0x80 | (u >> 6 & 0x3F)), static_cast<char>(0x80 | (u & 0x3F))};
  result(c, out);
}

void to_hex(sqlite3_context* c, int, sqlite3_value** v) {
  std::int64_t n = 0;
  if (null(v[0]) || !integer(c, v[0], n)) return;
  char out[20];
  std::snprintf(out, sizeof out, "%llx", static_cast<unsigned long long>(n));
  result(c, out);
}

template <bool kSeparator>
void concat(sqlite3_context* c, int n, sqlite3_value** v) {
  if (kSeparator && (n == 0 || null(v[0]))) return;
  std::string out;
  bool first = true;
  for (int i = kSeparator ? 1 : 0; i < n; ++i) {
    if (null(v[i])) continue;
    if (kSeparator && !first) out += text(v[0]);
    out += text(v[i]), first = false;
  }
  result(c, out);
}

constexpr Entry kEntries[] = {
    {"pg_like", 2, true, like<false>},
    {"pg_like", 3, true, like<false>},
    {"pg_ilike", 2, true, like<true>},
    {"pg_ilike", 3, true, like<true>},
    {"pg_regex", 3, true, regex},
    {"pg_length", 1, true, length},
    {"pg_octet_length", 1, true, octets},
    {"pg_substr", 2, true, substring},
    {"pg_substr", 3, true, substring},
    {"pg_left", 2, true, side<true>},
    {"pg_right", 2, true, side<false>},
    {"pg_repeat", 2, true, repeat},
    {"pg_lpad", 2, true, pad<true>},
    {"pg_lpad", 3, true, pad<true>},
    {"pg_rpad", 2, true, pad<false>},
    {"pg_rpad", 3, true, pad<false>},
    {"pg_reverse", 1, true, reverse},
    {"pg_replace", 3, true, replace},
    {"pg_split_part", 3, true, split_part},
    {"pg_initcap", 1, true, initcap},
    {"pg_starts_with", 2, true, starts_with},
    {"pg_ascii", 1, true, ascii},
    {"pg_chr", 1, true, chr},
    {"pg_to_hex", 1, true, to_hex},
    {"pg_concat", -1, true, concat<false>},
    {"pg_concat_ws", -1, true, concat<true>},
};

}  // namespace

int install_texts(sqlite3* db) {
  return install_all(db, kEntries, std::size(kEntries));
}

}  // namespace outlast::sql::kit
