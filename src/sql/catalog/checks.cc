#include "sql/catalog/checks.h"

#include <algorithm>

namespace outlast::sql {
namespace {

/// Position behind the quoted text that begins at `at`; a doubled quote belongs to it.
std::size_t skip_quoted(std::string_view sql, std::size_t at) {
  const char quote = sql[at];
  for (++at; at < sql.size(); ++at) {
    if (sql[at] != quote) continue;
    if (at + 1 < sql.size() && sql[at + 1] == quote)
      ++at;
    else
      return at + 1;
  }
  return at;
}

/// Position behind the parenthesis that closes the one at `at`.
std::size_t skip_parenthesis(std::string_view sql, std::size_t at) {
  int depth = 0;
  while (at < sql.size()) {
    if (sql[at] == '\'' || sql[at] == '"') {
      at = skip_quoted(sql, at);
      continue;
    }
    depth += sql[at] == '(' ? 1 : sql[at] == ')' ? -1 : 0;
    ++at;
    if (depth == 0) break;
  }
  return at;
}

std::string unquoted_name(std::string_view quoted) {
  std::string name;
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    name += quoted[i];
    if (quoted[i] == '"') ++i;
  }
  return name;
}

bool is_plain(std::string_view name) {
  return !name.empty() && (name[0] == '_' || (name[0] >= 'a' && name[0] <= 'z')) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

/// Names without quotes where they need none, and one pair of parentheses.
std::string shown(std::string_view body) {
  if (body.starts_with("((") && skip_parenthesis(body, 1) == body.size() - 1) body = body.substr(1, body.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < body.size();) {
    if (body[i] != '\'' && body[i] != '"') {
      out += body[i++];
      continue;
    }
    const std::size_t end = skip_quoted(body, i);
    const std::string name = unquoted_name(body.substr(i, end - i));
    out += body[i] == '"' && is_plain(name) ? name : std::string(body.substr(i, end - i));
    i = end;
  }
  return out;
}

}  // namespace

std::vector<CheckConstraint> check_constraints(std::string_view create_table) {
  constexpr std::string_view kWord = "CONSTRAINT \"", kCheck = " CHECK (";
  std::vector<CheckConstraint> out;
  for (std::size_t i = 0; i < create_table.size();) {
    if (create_table[i] == '\'' || create_table[i] == '"') {
      i = skip_quoted(create_table, i);
      continue;
    }
    if (!create_table.substr(i).starts_with(kWord)) {
      ++i;
      continue;
    }
    const std::size_t quote = i + kWord.size() - 1, end = skip_quoted(create_table, quote);
    i = end;
    if (!create_table.substr(end).starts_with(kCheck)) continue;
    const std::size_t open = end + kCheck.size() - 1;
    i = skip_parenthesis(create_table, open);
    std::string name = unquoted_name(create_table.substr(quote, end - quote));
    if (name.starts_with("pg_")) continue;  // stands for the column's type
    out.push_back({std::move(name), "CHECK " + shown(create_table.substr(open, i - open))});
  }
  return out;
}

}  // namespace outlast::sql
