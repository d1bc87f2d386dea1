#include "tests/fragments/world.h"

#include <algorithm>

#include "fragments/create.h"
#include "fragments/write.h"
#include "sql/translate/functions.h"
#include "sql/translate/translate.h"

namespace outlast::fragments::test {
namespace {

constexpr RangeId kHome{1};

Value column_value(sqlite3_stmt* stmt, int i) {
  switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
      return static_cast<std::int64_t>(sqlite3_column_int64(stmt, i));
    case SQLITE_FLOAT:
      return sqlite3_column_double(stmt, i);
    case SQLITE_TEXT:
      return std::string(reinterpret_cast<const char*>(sqlite3_column_text(stmt, i)),
                         static_cast<std::size_t>(sqlite3_column_bytes(stmt, i)));
    default:
      return executor::Null{};
  }
}

void bind(sqlite3_stmt* stmt, int i, const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) sqlite3_bind_int64(stmt, i, *whole);
  if (const auto* real = std::get_if<double>(&value)) sqlite3_bind_double(stmt, i, *real);
  if (const auto* text = std::get_if<std::string>(&value))
    sqlite3_bind_text(stmt, i, text->data(), static_cast<int>(text->size()), SQLITE_TRANSIENT);
}

std::string text_value(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return std::to_string(*real) + "r";
  if (const auto* text = std::get_if<std::string>(&value)) return "'" + *text + "'";
  return "NULL";
}

}  // namespace

Database::Database() {
  sqlite3* db = nullptr;
  sqlite3_open(":memory:", &db);
  db_.reset(db);
  const sql::SqlClock clock{[] { return 947'030'400'000'000; }, [] { return 947'030'400'000'000; }};
  sql::install_functions(db, clock);
}

Answer Database::sqlite(const std::string& sql) const {
  Answer out;
  sqlite3_stmt* stmt = nullptr;
  if (sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &stmt, nullptr) != SQLITE_OK) {
    out.error = std::string(sqlite3_errmsg(db_.get())) + " in " + sql;
    return out;
  }
  int rc = 0;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    Row row;
    for (int i = 0; i < sqlite3_column_count(stmt); ++i) row.push_back(column_value(stmt, i));
    out.rows.push_back(std::move(row));
  }
  if (rc != SQLITE_DONE) out.error = std::string(sqlite3_errmsg(db_.get())) + " in " + sql;
  sqlite3_finalize(stmt);
  return out;
}

Answer Database::run(const std::string& sql) const {
  const auto translated = sql::translate(sql);
  if (!translated.ok()) return {{}, "translate: " + translated.error().message + " in " + sql};
  Answer out;
  for (const std::string& each : (*translated)[0].sql) {
    out = sqlite(each);
    if (!out.error.empty()) break;
  }
  return out;
}

void Database::insert(const std::string& table, const Row& row) const {
  std::string sql = "INSERT INTO \"" + table + "\" VALUES (";
  for (std::size_t i = 0; i < row.size(); ++i) sql += i == 0 ? "?" : ", ?";
  sqlite3_stmt* stmt = nullptr;
  OUTLAST_ASSERT(sqlite3_prepare_v2(db_.get(), (sql + ")").c_str(), -1, &stmt, nullptr) == SQLITE_OK);
  for (std::size_t i = 0; i < row.size(); ++i) bind(stmt, static_cast<int>(i) + 1, row[i]);
  OUTLAST_ASSERT(sqlite3_step(stmt) == SQLITE_DONE, sqlite3_errmsg(db_.get()));
  sqlite3_finalize(stmt);
}

World::World(Random& random) {
  ranges_.emplace(kHome, std::make_unique<Database>());
  create("CREATE TABLE t (k bigint, a int, b int, f float8, s text, ok boolean) PARTITION BY HASH (k) PARTITIONS 4",
         {{"k", "BIGINT"}, {"a", "INT"}, {"b", "INT"}, {"f", "DOUBLE PRECISION"}, {"s", "TEXT"}, {"ok", "BOOLEAN"}},
         {0, 1, 2, 3});
  create("CREATE TABLE u (s text, k bigint, a int) PARTITION BY HASH (s) PARTITIONS 3",
         {{"s", "TEXT"}, {"k", "BIGINT"}, {"a", "INT"}}, {0, 1, 2});
  create("CREATE TABLE c (c char(4), a int, s text) PARTITION BY HASH (c) PARTITIONS 2",
         {{"c", "CHAR(4) COLLATE RTRIM"}, {"a", "INT"}, {"s", "TEXT"}}, {0, 1});
  create("CREATE TABLE e (ts timestamp NOT NULL, s text, b int) PARTITION BY RANGE (ts) INTERVAL '1 day'",
         {{"ts", "TIMESTAMP TEXT"}, {"s", "TEXT"}, {"b", "INT"}}, {0, 1, 2, 3});
  create("CREATE TABLE p (a int, s text, f float8)", {{"a", "INT"}, {"s", "TEXT"}, {"f", "DOUBLE PRECISION"}}, {0});
  fill(random);
}

void World::create(const std::string& sql, std::vector<Column> columns, std::vector<Slot> slots) {
  const auto parsed = parse_partitioned_create(sql);
  Table table{.columns = std::move(columns)};
  std::string own = sql;
  if (parsed) {
    OUTLAST_ASSERT(parsed->ok());
    own = (*parsed)->sql, table.scheme = (*parsed)->scheme, table.name = (*parsed)->table;
  } else {
    table.name = "p";
  }
  OUTLAST_ASSERT(whole_.run(own).error.empty());
  for (const Slot slot : slots) {
    const RangeId range = table.scheme ? RangeId(ranges_.size() + 1) : kHome;
    if (table.scheme) ranges_.emplace(range, std::make_unique<Database>());
    OUTLAST_ASSERT(ranges_.at(range)->run(own).error.empty());
    table.partitions.push_back({slot, range});
  }
  tables_.emplace(table.name, std::move(table));
}

const Table* World::find(std::string_view name) const {
  const auto it = tables_.find(name);
  return it == tables_.end() ? nullptr : &it->second;
}

void World::add(const std::string& name, const Row& row) {
  whole_.insert(name, row);
  const Table& table = tables_.at(name);
  if (!table.scheme) return ranges_.at(kHome)->insert(name, row);
  const auto router = RowRouter::make(table, {});
  const auto target = router->route(row);
  OUTLAST_ASSERT(target.ok() && target->partition);
  ranges_.at(target->partition->range)->insert(name, row);
}

/// Few values, so that they meet: equal, NULL, on both sides of a boundary, text that looks like numbers.
void World::fill(Random& random) {
  const auto one_of = [&random](auto list) -> Value { return list[random.next() % list.size()]; };
  const auto whole = [&]() -> Value {
    if (random.next() % 6 == 0) return executor::Null{};
    return static_cast<std::int64_t>(random.next() % 6) - 2;
  };
  const auto real = [&]() -> Value {
    if (random.next() % 6 == 0) return executor::Null{};
    return static_cast<double>(static_cast<std::int64_t>(random.next() % 17) - 8) / 4;
  };
  const auto text = [&]() -> Value {
    return one_of(std::vector<Value>{executor::Null{}, std::string(), std::string("a"), std::string("A"),
                                     std::string("b"), std::string("ab"), std::string("2"), std::string("02"),
                                     std::string("-1")});
  };
  const auto padded = [&]() -> Value {
    return one_of(std::vector<Value>{executor::Null{}, std::string("a"), std::string("a  "), std::string("b"),
                                     std::string("ab"), std::string("ab ")});
  };
  const auto time = [&]() -> Value {
    return one_of(std::vector<Value>{std::string("2000-01-03 00:00:00"), std::string("2000-01-03 23:59:59.999999"),
                                     std::string("2000-01-04 00:00:00"), std::string("2000-01-04 12:00:00.5"),
                                     std::string("2000-01-05 00:00:00"), std::string("2000-01-06 08:30:00")});
  };
  const auto truth = [&]() -> Value {
    if (random.next() % 5 == 0) return executor::Null{};
    return static_cast<std::int64_t>(random.next() % 2);
  };
  const auto rows = [&](std::uint64_t most) { return random.next() % 8 == 0 ? 0 : random.next() % (most + 1); };
  for (auto n = rows(18); n > 0; --n) add("t", {whole(), whole(), whole(), real(), text(), truth()});
  for (auto n = rows(10); n > 0; --n) add("u", {text(), whole(), whole()});
  for (auto n = rows(10); n > 0; --n) add("c", {padded(), whole(), text()});
  for (auto n = rows(10); n > 0; --n) add("e", {time(), text(), whole()});
  for (auto n = rows(6); n > 0; --n) add("p", {whole(), text(), real()});
}

Result<SelectPlan> World::plan(const std::string& sql) const {
  const TableLookup lookup = [this](std::string_view name) { return find(name); };
  return plan_select(sql, {.find = lookup, .now_micros = 947'030'400'000'000});
}

Answer World::planned(const std::string& sql, const SelectPlan& plan) const {
  if (plan.kind == SelectPlan::Kind::kHome) return ranges_.at(kHome)->run(sql);
  if (plan.kind == SelectPlan::Kind::kOneRange) return ranges_.at(plan.range)->run(sql);
  const Database gateway;
  for (const Fragment& fragment : plan.fragments) {
    const Answer made = gateway.sqlite(rows_table(fragment));
    if (!made.error.empty()) return made;
    for (const Partition& partition : fragment.partitions) {
      const Answer part = ranges_.at(partition.range)->run(fragment.sql);
      if (!part.error.empty()) return part;
      for (const Row& row : part.rows) gateway.insert(fragment.name, row);
    }
  }
  return gateway.run(plan.final_sql);
}

std::vector<Row> comparable(std::vector<Row> rows, bool ordered) {
  for (Row& row : rows) {
    for (Value& value : row) {
      auto* text = std::get_if<std::string>(&value);
      if (text == nullptr) continue;
      if (text->find(';') != std::string::npos) std::ranges::sort(*text);
      text->erase(text->find_last_not_of(' ') + 1);
    }
  }
  if (!ordered) std::ranges::sort(rows, [](const Row& a, const Row& b) { return to_text({a}) < to_text({b}); });
  return rows;
}

std::string to_text(const std::vector<Row>& rows) {
  std::string out;
  for (const Row& row : rows) {
    for (const Value& value : row) out += text_value(value) + " | ";
    out += "\n";
  }
  return out;
}

}  // namespace outlast::fragments::test
