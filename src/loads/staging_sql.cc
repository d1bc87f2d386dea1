// The texts of what stands beside a table while rows of loads wait for it.
#include <cctype>

#include "loads/shape.h"
#include "loads/steps.h"

namespace outlast::loads {
namespace {

/// Where the token at `at` ends: a name in any of SQLite's quotes, or up to a blank or a bracket.
std::size_t token_end(std::string_view sql, std::size_t at) {
  const char open = sql[at];
  const char close = open == '[' ? ']' : open;
  if (open != '"' && open != '\'' && open != '`' && open != '[') {
    while (at < sql.size() && std::isspace(static_cast<unsigned char>(sql[at])) == 0 && sql[at] != '(') ++at;
    return at;
  }
  for (++at; at < sql.size(); ++at) {
    if (sql[at] != close) continue;
    if (at + 1 < sql.size() && sql[at + 1] == close && close != ']')
      ++at;
    else
      return at + 1;
  }
  return at;
}

std::size_t skip_blanks(std::string_view sql, std::size_t at) {
  while (at < sql.size() && std::isspace(static_cast<unsigned char>(sql[at])) != 0) ++at;
  return at;
}

/// CREATE TABLE of the table → that of the staging table: one more column in front.
Result<std::string> create_stage(const Shape& shape, const std::string& stage) {
  const std::string_view sql = shape.create_sql;
  std::size_t at = 0;
  while ((at = skip_blanks(sql, at)) < sql.size() && sql[at] != '(') at = token_end(sql, at);
  if (at >= sql.size())
    return Error(Errc::kFeatureLimit, "table \"" + shape.table + "\" cannot be loaded: it has no list of columns");
  return "CREATE TABLE " + name_sql(stage) + "(outlast_txn INTEGER NOT NULL, " + std::string(sql.substr(at + 1));
}

/// A trigger that checks inserted rows, for the staging table; empty for one that checks something else.
Result<std::string> copy_trigger(const Shape& shape, std::string_view sql, const std::string& stage, std::size_t i) {
  std::vector<std::string_view> words;
  for (std::size_t at = skip_blanks(sql, 0); at < sql.size() && words.size() < 7;) {
    const std::size_t end = std::max(token_end(sql, at), at + 1);
    words.push_back(sql.substr(at, end - at));
    at = skip_blanks(sql, end);
  }
  const bool known = words.size() == 7 && words[0] == "CREATE" && words[1] == "TRIGGER" && words[5] == "ON";
  if (!known) return Error(Errc::kFeatureLimit, "table \"" + shape.table + "\" has a trigger that loads do not know");
  if (words[4] != "INSERT") return std::string();
  const auto after = static_cast<std::size_t>(words[6].data() + words[6].size() - sql.data());
  return "CREATE TRIGGER " + name_sql(stage + ":check_" + std::to_string(i)) + " " + std::string(words[3]) +
         " INSERT ON " + name_sql(stage) + std::string(sql.substr(after));
}

std::string same_key(const Shape::Key& key, const std::string& alias) {
  std::string sql;
  for (const Shape::KeyColumn& column : key.columns) {
    const std::string name = name_sql(column.name);
    sql += (sql.empty() ? "" : " AND ") + alias + "." + name + " = NEW." + name;
    if (!column.collation.empty()) sql += " COLLATE " + column.collation;
  }
  return sql;
}

std::string names_of(const Shape::Key& key, const std::string& before) {
  std::string list;
  for (const Shape::KeyColumn& column : key.columns) list += (list.empty() ? "" : ", ") + before + column.name;
  return list;
}

std::string raise_reserved(const std::string& table) {
  return "SELECT RAISE(ABORT, " +
         text_sql("pg:40001:the key of a row is reserved in table \"" + table +
                  "\" by a load that has not ended; try again") +
         "); END";
}

/// Before a row is staged.
void guard_stage(const Shape& shape, const std::string& stage, std::vector<std::string>& out) {
  for (std::size_t i = 0; i < shape.keys.size(); ++i) {
    const Shape::Key& key = shape.keys[i];
    const std::string n = std::to_string(i);
    out.push_back("CREATE TRIGGER " + name_sql(stage + ":taken_" + n) + " BEFORE INSERT ON " + name_sql(stage) +
                  " WHEN EXISTS (SELECT 1 FROM " + name_sql(shape.table) + " t WHERE " + same_key(key, "t") +
                  ") BEGIN SELECT CASE WHEN (SELECT filter FROM outlast_load_txn WHERE txn = NEW.outlast_txn) THEN "
                  "RAISE(IGNORE) ELSE RAISE(ABORT, " +
                  text_sql("UNIQUE constraint failed: " + names_of(key, shape.table + ".")) + ") END; END");
    out.push_back("CREATE TRIGGER " + name_sql(stage + ":other_" + n) + " BEFORE INSERT ON " + name_sql(stage) +
                  " WHEN EXISTS (SELECT 1 FROM " + name_sql(stage) + " t WHERE " + same_key(key, "t") +
                  " AND t.outlast_txn <> NEW.outlast_txn) BEGIN " + raise_reserved(shape.table));
  }
}

/// After a row of somebody else is in the table. There even without keys: it says which table the rows are for.
void guard_table(const Shape& shape, const std::string& stage, std::vector<std::string>& out) {
  std::string reserved;
  for (const Shape::Key& key : shape.keys)
    reserved += (reserved.empty() ? "" : " OR ") + ("EXISTS (SELECT 1 FROM " + name_sql(stage) + " s WHERE ") +
                same_key(key, "s") +
                " AND NOT EXISTS (SELECT 1 FROM outlast_load_txn a WHERE a.txn = s.outlast_txn AND a.state IN "
                "('applied', 'aborted')))";
  if (reserved.empty()) reserved = "0";
  for (const std::string event : {"insert", "update"})
    out.push_back("CREATE TRIGGER " + name_sql(stage + ":" + event) + " AFTER " +
                  (event == "insert" ? "INSERT" : "UPDATE") + " ON " + name_sql(shape.table) + " WHEN " + reserved +
                  " BEGIN " + raise_reserved(shape.table));
}

}  // namespace

std::string stage_of(std::string_view table) {
  return std::string(kStagePrefix) + std::string(table);
}

Result<std::vector<std::string>> staging_sql(const Shape& shape) {
  if (!shape.not_staged.empty())
    return Error(Errc::kFeatureLimit, "rows for table \"" + shape.table + "\" cannot be loaded in two steps: " +
                                          shape.not_staged + "; use INSERT, or a load of one request");
  const std::string stage = stage_of(shape.table);
  std::vector<std::string> out;
  ASSIGN_OR_RETURN(std::string create, create_stage(shape, stage));
  out.push_back(std::move(create));
  for (std::size_t i = 0; i < shape.keys.size(); ++i) {
    if (!shape.keys[i].by_index) continue;
    std::string columns;
    for (const Shape::KeyColumn& column : shape.keys[i].columns)
      columns += (columns.empty() ? "" : ", ") + name_sql(column.name) + " COLLATE " + column.collation;
    out.push_back("CREATE UNIQUE INDEX " + name_sql(stage + ":key_" + std::to_string(i)) + " ON " + name_sql(stage) +
                  "(" + columns + ")");
  }
  for (std::size_t i = 0; i < shape.triggers.size(); ++i) {
    ASSIGN_OR_RETURN(std::string copy, copy_trigger(shape, shape.triggers[i], stage, i));
    if (!copy.empty()) out.push_back(std::move(copy));
  }
  guard_stage(shape, stage, out);
  guard_table(shape, stage, out);
  return out;
}

std::vector<std::string> unguarding_sql(std::string_view table) {
  const std::string stage = stage_of(table);
  return {"DROP TRIGGER IF EXISTS " + name_sql(stage + ":insert"),
          "DROP TRIGGER IF EXISTS " + name_sql(stage + ":update")};
}

}  // namespace outlast::loads
