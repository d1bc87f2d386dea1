#include "sql/partitioned/tables.h"

#include <algorithm>
#include <cctype>

#include "executor/row_batch.h"
#include "pgtree/names.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
namespace {
bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || (c & 0x80) != 0;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string text_of(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? "" : *text;
}

/// SQLite does not tell a column's collation; only CHAR columns have one (sql/translate/ddl.cc).
std::string declared_of(std::string type) {
  if (type.starts_with("CHAR(")) type += " COLLATE RTRIM";
  return type;
}

fragments::Table planned(const gateway::PartitionedTable& table, fragments::Scheme scheme,
                         ColumnCache::Columns columns) {
  fragments::Table out{.name = table.name, .columns = std::move(columns), .scheme = std::move(scheme)};
  for (const gateway::PartitionRow& row : table.partitions) out.partitions.push_back({row.slot, row.range});
  return out;
}
}  // namespace

bool may_name(std::string_view table, std::string_view text) {
  std::string wanted = lower(table);
  for (std::size_t at = wanted.find('"'); at != std::string::npos; at = wanted.find('"', at + 2))
    wanted.insert(at, 1, '"');
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  for (auto from = text.begin();; ++from) {
    from = std::search(from, text.end(), wanted.begin(), wanted.end(), same);
    if (from == text.end()) return false;
    const auto after = from + static_cast<std::ptrdiff_t>(wanted.size());
    const bool starts = from == text.begin() || !in_word(*(from - 1));
    if (starts && (after == text.end() || !in_word(*after))) return true;
  }
}

bool may_name(const gateway::PartitionedTables& tables, std::string_view text) {
  for (const auto& [name, table] : tables)
    if (may_name(name, text)) return true;
  for (std::size_t at = text.find("&\""); at != std::string_view::npos; at = text.find("&\"", at + 1))
    if (at > 0 && (text[at - 1] == 'u' || text[at - 1] == 'U')) return true;  // a name by its code points
  return false;
}

std::shared_ptr<const ColumnCache::Columns> ColumnCache::find(const std::string& database,
                                                              const gateway::PartitionedTable& table) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find({database, table.name});
  return it != entries_.end() && it->second.version == table.version ? it->second.columns : nullptr;
}

void ColumnCache::put(const std::string& database, const gateway::PartitionedTable& table, Columns columns) {
  const std::lock_guard lock(mutex_);
  entries_[{database, table.name}] = {table.version, std::make_shared<const Columns>(std::move(columns))};
}

/// Over a session of its own: a transaction of the client must not be bound to the home range by it.
asio::awaitable<Result<PlannedTables::Shapes>> PlannedTables::read_shapes(std::vector<std::string> names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + pgtree::quote_text(name);
  gateway::Statement statement;
  statement.sql =
      "SELECT m.name, m.type, x.name, x.type FROM sqlite_schema m, pragma_table_xinfo(m.name) x WHERE m.type IN "
      "('table', 'view') AND m.name IN (" +
      list + ") ORDER BY m.rowid, x.cid";
  statement.tag = "SELECT";
  statement.internal = true;
  const auto session = cluster_.open_session();
  if (auto used = co_await session->use_database(database_); !used.ok()) co_return std::move(used).error();
  Shapes shapes;
  auto piece = co_await session->run(std::move(statement));
  for (;;) {
    if (!piece.ok()) co_return std::move(piece).error();
    executor::RowReader reader(piece->bytes, 4);
    std::vector<Value> row;
    while (!reader.done()) {
      if (auto read = reader.next(row); !read.ok()) co_return std::move(read).error();
      Shape& shape = shapes[text_of(row[0])];
      shape.view = text_of(row[1]) == "view";
      shape.columns.push_back({text_of(row[2]), declared_of(text_of(row[3]))});
    }
    if (piece->portal == 0) co_return shapes;
    piece = co_await session->fetch(piece->portal, 0);
  }
}

asio::awaitable<Result<void>> PlannedTables::load(std::string text) {
  std::vector<std::string> unknown;
  for (const auto& [name, table] : *partitioned_) {
    if (!may_name(*partitioned_, text)) continue;
    auto scheme = fragments::decode_scheme(table.scheme);
    if (!scheme.ok()) co_return std::move(scheme).error().within("partitioned table \"" + name + "\"");
    auto columns = cache_.find(database_, table);
    if (columns == nullptr) unknown.push_back(name);
    tables_.insert_or_assign(
        name, planned(table, *std::move(scheme), columns == nullptr ? ColumnCache::Columns() : *columns));
  }
  if (unknown.empty()) co_return Result<void>();
  auto shapes = co_await read_shapes(unknown);
  if (!shapes.ok()) co_return std::move(shapes).error();
  for (const std::string& name : unknown) {
    ColumnCache::Columns columns = std::move((*shapes)[name].columns);
    if (columns.empty())
      co_return Error(Errc::kUndefinedTable, "relation \"" + name + "\" does not exist any more; try again");
    tables_.find(name)->second.columns = columns;
    cache_.put(database_, partitioned_->find(name)->second, std::move(columns));
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> PlannedTables::load_asked() {
  const std::vector<std::string> names = std::exchange(asked_, {});
  if (names.empty()) co_return Result<void>();
  auto shapes = co_await read_shapes(names);
  if (!shapes.ok()) co_return std::move(shapes).error();
  const auto databases = cluster_.databases();
  const auto home = std::ranges::find(databases, database_, &gateway::DatabaseRow::name);
  if (home == databases.end())
    co_return Error(Errc::kUndefinedDatabase, "database \"" + database_ + "\" does not exist");
  for (auto& [name, shape] : *shapes) {
    if (shape.view)
      co_return Error(Errc::kSyntax, "view \"" + name +
                                         "\" cannot be read in one statement with a partitioned table; write what it "
                                         "selects into the statement");
    tables_.insert_or_assign(name, fragments::Table{.name = name,
                                                    .columns = std::move(shape.columns),
                                                    .scheme = std::nullopt,
                                                    .partitions = {{0, home->range}}});
  }
  co_return Result<void>();
}

fragments::TableLookup PlannedTables::lookup() {
  return [this](std::string_view name) -> const fragments::Table* {
    const auto it = tables_.find(name);
    if (it != tables_.end()) return &it->second;
    asked_.emplace_back(name);
    return nullptr;
  };
}

}  // namespace outlast::sql
