#include <optional>
#include <vector>

#include "sql/translate/function_kit.h"

/// PostgreSQL's one-dimensional arrays in their text form, "{a,\"b c\",NULL}": as far as = ANY ($1) and the catalog
/// need.
namespace outlast::sql::kit {
namespace {

using Elements = std::vector<std::optional<std::string>>;

/// False when `s` is not a one-dimensional array.
bool parse_array(std::string_view s, Elements& out) {
  if (s.size() < 2 || s.front() != '{' || s.back() != '}') return false;
  s = s.substr(1, s.size() - 2);
  if (s.empty()) return true;
  for (std::size_t i = 0; i <= s.size();) {
    std::string item;
    const bool quoted = i < s.size() && s[i] == '"';
    if (quoted) {
      for (++i; i < s.size() && s[i] != '"'; ++i) {
        if (s[i] == '\\' && i + 1 < s.size()) ++i;
        item += s[i];
      }
      if (i++ >= s.size()) return false;
    } else {
      for (; i < s.size() && s[i] != ','; ++i) {
        if (s[i] == '{' || s[i] == '}' || s[i] == '"') return false;
        if (s[i] == '\\' && i + 1 < s.size()) ++i;
        item += s[i];
      }
      while (!item.empty() && item.back() == ' ') item.pop_back();
      while (!item.empty() && item.front() == ' ') item.erase(0, 1);
      if (item.empty()) return false;
    }
    const bool is_null = !quoted && (item == "NULL" || item == "null");
    out.push_back(is_null ? std::nullopt : std::optional(std::move(item)));
    if (i < s.size() && s[i] != ',') return false;
    ++i;
  }
  return true;
}

bool array(sqlite3_context* c, sqlite3_value* v, Elements& out) {
  if (parse_array(text(v), out)) return true;
  fail(c, Errc::kInvalidText, "malformed array literal: \"" + std::string(text(v)) + "\"");
  return false;
}

std::string array_text(const Elements& elements) {
  std::string out = "{";
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) out += ',';
    if (!elements[i]) {
      out += "NULL";
      continue;
    }
    const std::string& e = *elements[i];
    const bool quote = e.empty() || e == "NULL" || e == "null" || e.find_first_of("{},\"\\ \t\n") != std::string::npos;
    if (quote) out += '"';
    for (const char ch : e) {
      if (ch == '"' || ch == '\\') out += '\\';
      out += ch;
    }
    if (quote) out += '"';
  }
  return out + "}";
}

void to_json(sqlite3_context* c, int, sqlite3_value** v) {
  Elements elements;
  if (null(v[0])) return;
  if (!array(c, v[0], elements)) return;
  std::string out = "[";
  for (const auto& e : elements) {
    if (out.size() > 1) out += ',';
    if (!e) {
      out += "null";
      continue;
    }
    out += '"';
    for (const char ch : *e) {
      char code[8];
      if (static_cast<unsigned char>(ch) < 0x20)
        std::snprintf(code, sizeof code, "\\u%04x", ch), out += code;
      else if (ch == '"' || ch == '\\')
        out += '\\', out += ch;
      else
        out += ch;
    }
    out += '"';
  }
  result(c, out + "]");
}

void make(sqlite3_context* c, int n, sqlite3_value** v) {
  Elements elements;
  for (int i = 0; i < n; ++i) elements.push_back(null(v[i]) ? std::nullopt : std::optional(std::string(text(v[i]))));
  result(c, array_text(elements));
}

void position(sqlite3_context* c, int, sqlite3_value** v) {
  Elements elements;
  if (null(v[0]) || !array(c, v[0], elements)) return;
  for (std::size_t i = 0; i < elements.size(); ++i)
    if (null(v[1]) ? !elements[i] : elements[i] == text(v[1]))
      return sqlite3_result_int64(c, static_cast<std::int64_t>(i + 1));
}

void size(sqlite3_context* c, int, sqlite3_value** v) {
  Elements elements;
  if (null(v[0]) || !array(c, v[0], elements) || elements.empty()) return;
  sqlite3_result_int64(c, static_cast<std::int64_t>(elements.size()));
}

void get(sqlite3_context* c, int n, sqlite3_value** v) {
  Elements elements;
  std::int64_t i = 0;
  if (any_null(n, v) || !array(c, v[0], elements) || !integer(c, v[1], i)) return;
  if (i >= 1 && i <= static_cast<std::int64_t>(elements.size()) && elements[static_cast<std::size_t>(i - 1)])
    result(c, *elements[static_cast<std::size_t>(i - 1)]);
}

void to_string(sqlite3_context* c, int n, sqlite3_value** v) {
  Elements elements;
  if (any_null(n, v) || !array(c, v[0], elements)) return;
  std::string out;
  bool first = true;
  for (const auto& e : elements) {
    if (!e) continue;
    if (!first) out += text(v[1]);
    out += *e, first = false;
  }
  result(c, out);
}

constexpr Entry kEntries[] = {
    {"pg_array_json", 1, true, to_json}, {"pg_array", -1, true, make},   {"pg_array_position", 2, true, position},
    {"pg_array_length", 1, true, size},  {"pg_array_get", 2, true, get}, {"pg_array_to_string", 2, true, to_string},
};

}  // namespace

int install_arrays(sqlite3* db) {
  return install_all(db, kEntries, std::size(kEntries));
}

}  // namespace outlast::sql::kit
