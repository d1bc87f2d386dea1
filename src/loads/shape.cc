#include "loads/shape.h"

#include <algorithm>
#include <array>

#include "loads/steps.h"

namespace outlast::loads {
namespace asio = boost::asio;

namespace {

Shape::Key* key_named(std::vector<std::pair<std::string, Shape::Key>>& keys, const std::string& name) {
  for (auto& [known, key] : keys)
    if (known == name) return &key;
  return nullptr;
}

/// Rows: index, origin, partial, column or NULL, collation.
void take_keys(const Rows& rows, Shape& shape) {
  std::vector<std::pair<std::string, Shape::Key>> keys;
  for (const Row& row : rows) {
    const std::string index = text_of(row[0]), column = text_of(row[3]);
    if (number_of(row[2]) != 0 || column.empty())
      shape.not_staged = "the unique index \"" + index + "\" is partial or over an expression";
    Shape::Key* key = key_named(keys, index);
    if (key == nullptr) key = &keys.emplace_back(index, Shape::Key()).second;
    key->by_index = text_of(row[1]) == "c";
    key->columns.push_back({column, text_of(row[4])});
  }
  for (auto& [name, key] : keys) shape.keys.push_back(std::move(key));
}

/// Rows: type, text.
void take_texts(const Rows& rows, Shape& shape) {
  for (const Row& row : rows) {
    if (text_of(row[0]) == "table")
      shape.create_sql = text_of(row[1]);
    else
      shape.triggers.push_back(text_of(row[1]));
  }
}

/// Rows: name, type, position in the primary key, hidden.
void take_columns(const Rows& rows, Shape& shape, bool key_has_index) {
  std::vector<std::string> primary;
  for (const Row& row : rows) {
    const std::int64_t hidden = number_of(row[3]);
    shape.columns.push_back({text_of(row[0]), text_of(row[1]), hidden != 0});
    if (number_of(row[2]) > 0) primary.push_back(text_of(row[0]));
  }
  if (primary.size() == 1 && !key_has_index) shape.keys.push_back({.columns = {{primary.front(), ""}}});
}

}  // namespace

asio::awaitable<Result<std::vector<Shape::Column>>> read_columns(gateway::Session& session, std::string table,
                                                                 std::optional<RangeId> range) {
  auto rows = co_await read_rows(
      session, own_statement("SELECT c.name, c.type, c.hidden FROM sqlite_schema t, pragma_table_xinfo(t.name) c WHERE "
                             "t.type = 'table' AND t.name = ?1",
                             range, {executor::Value(table)}));
  if (!rows.ok()) co_return std::move(rows).error();
  if (rows->empty()) co_return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  std::vector<Shape::Column> columns;
  for (const Row& row : *rows) columns.push_back({text_of(row[0]), text_of(row[1]), number_of(row[2]) != 0});
  co_return columns;
}

namespace {
/// What each row of kShape is about, in its first column; the next two are for the order only.
enum class Kind : std::uint8_t { kText, kKey, kColumn, kForeign, kHidden };
constexpr std::size_t kOrder = 3, kKinds = 5;
/// ?1 the table, ?2 its staging table. One read, because the way there costs more than it.
constexpr std::string_view kShape =
    "SELECT 0, type, name, type, sql, NULL, NULL, NULL FROM sqlite_schema WHERE tbl_name = ?1 AND (type = 'table' OR "
    "type = 'trigger' AND name NOT GLOB 'outlast_stage_*') "
    "UNION ALL SELECT 1, l.seq, c.seqno, l.name, l.origin, l.partial, c.name, c.coll FROM pragma_index_list(?1) l, "
    "pragma_index_xinfo(l.name) c WHERE l.\"unique\" AND c.key "
    "UNION ALL SELECT 2, cid, 0, name, type, pk, hidden, NULL FROM pragma_table_xinfo(?1) "
    "UNION ALL SELECT 3, 0, 0, NULL, NULL, NULL, NULL, NULL FROM pragma_foreign_key_list(?1) "
    "UNION ALL SELECT 4, 0, 0, name, NULL, NULL, NULL, NULL FROM sqlite_schema WHERE type = 'table' AND name IN (?2, "
    "'outlast_load_txn') ORDER BY 1, 2, 3";
}  // namespace

asio::awaitable<Result<Shape>> read_shape(gateway::Session& session, std::string table, std::optional<RangeId> range) {
  Shape shape;
  shape.table = table;
  const std::string stage = stage_of(table);
  auto rows = co_await read_rows(
      session, own_statement(std::string(kShape), range, {executor::Value(table), executor::Value(stage)}));
  if (!rows.ok()) co_return std::move(rows).error();
  std::array<Rows, kKinds> kinds;
  for (Row& row : *rows) {
    const auto kind = static_cast<std::size_t>(number_of(row[0]));
    row.erase(row.begin(), row.begin() + kOrder);
    kinds.at(kind).push_back(std::move(row));
  }
  const auto of = [&](Kind kind) -> const Rows& { return kinds.at(static_cast<std::size_t>(kind)); };
  take_texts(of(Kind::kText), shape);
  if (shape.create_sql.empty()) co_return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  take_keys(of(Kind::kKey), shape);
  const bool primary = std::ranges::any_of(of(Kind::kKey), [](const Row& row) { return text_of(row[1]) == "pk"; });
  take_columns(of(Kind::kColumn), shape, primary);
  if (!of(Kind::kForeign).empty())
    shape.not_staged = "it has foreign keys, and what they name may go before the load is committed";
  for (const Row& row : of(Kind::kHidden)) (text_of(row[0]) == stage ? shape.has_stage : shape.knows_loads) = true;
  co_return shape;
}

}  // namespace outlast::loads
