#include "executor/rows_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "executor/result_rows.h"

namespace outlast::executor {
namespace {
using Rows = std::vector<std::vector<Value>>;

class RowsTable : public ::testing::Test {
 protected:
  RowsTable() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
    db_.reset(db);
    EXPECT_EQ(add_rows_table(db), SQLITE_OK);
  }
  /// What `sql` gives with ?1, ?2 bound; nullopt for an error, which is in error_ then.
  std::optional<Rows> run(const std::string& sql, const std::string& bytes, int width) {
    sqlite3_stmt* raw = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &raw, nullptr), SQLITE_OK) << sqlite3_errmsg(db_.get());
    const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(raw, sqlite3_finalize);
    sqlite3_bind_blob64(raw, 1, bytes.data(), bytes.size(), SQLITE_STATIC);
    sqlite3_bind_int(raw, 2, width);
    Batch batch = collect(raw, sqlite3_step(raw), {});
    error_ = sqlite3_errmsg(db_.get());
    if (batch.end != BatchEnd::kDone) return std::nullopt;
    Rows rows;
    RowReader reader(batch.bytes, static_cast<std::size_t>(sqlite3_column_count(raw)));
    for (std::vector<Value> row; !reader.done() && reader.next(row).ok();) rows.push_back(row);
    return rows;
  }
  static std::string pack(const Rows& rows) {
    RowWriter out;
    for (const auto& row : rows)
      for (const Value& value : row) out.value(value);
    return out.take();
  }
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> db_{nullptr, sqlite3_close};
  std::string error_;
};

TEST_F(RowsTable, GivesTheRowsThatWereWritten) {
  const Rows rows{{Value(std::int64_t{-7}), Value(std::string("x\0y", 3)), Value(2.5)},
                  {Value(Null{}), Value(Blob{"b"}), Value(std::string())}};
  EXPECT_EQ(run("SELECT c1, c2, c3 FROM outlast_rows(?1, ?2)", pack(rows), 3), rows);
  EXPECT_EQ(run("SELECT c1, c2, c3 FROM outlast_rows(?1, ?2)", "", 3), Rows());
  EXPECT_EQ(run("SELECT c4 FROM outlast_rows(?1, ?2)", pack(rows), 3), Rows({{Value(Null{})}, {Value(Null{})}}));
}

TEST_F(RowsTable, RowsOfOneReadStayWhileAnotherGoesOn) {
  const std::string bytes = pack({{Value(std::string("one"))}, {Value(std::string("two"))}});
  const auto pairs =
      run("SELECT a.c1, b.c1 FROM outlast_rows(?1, ?2) a, outlast_rows(?1, ?2) b WHERE a.c1 < b.c1", bytes, 1);
  EXPECT_EQ(pairs, Rows({{Value(std::string("one")), Value(std::string("two"))}}));
}

TEST_F(RowsTable, AnInsertTakesThemAllOrNone) {
  ASSERT_EQ(sqlite3_exec(db_.get(), "CREATE TABLE t(k INTEGER PRIMARY KEY)", nullptr, nullptr, nullptr), SQLITE_OK);
  const Value one(std::int64_t{1}), two(std::int64_t{2});
  EXPECT_FALSE(run("INSERT INTO t SELECT c1 FROM outlast_rows(?1, ?2)", pack({{one}, {two}, {one}}), 1));
  EXPECT_EQ(error_, "UNIQUE constraint failed: t.k");
  EXPECT_EQ(sqlite3_total_changes(db_.get()), 0);
  EXPECT_TRUE(run("INSERT OR IGNORE INTO t SELECT c1 FROM outlast_rows(?1, ?2)", pack({{one}, {two}, {one}}), 1));
  EXPECT_EQ(sqlite3_changes(db_.get()), 2);
}

TEST_F(RowsTable, RefusesWhatItCannotRead) {
  const std::string bytes = pack({{Value(std::string("text")), Value(std::int64_t{300})}});
  for (const int width : {0, -1, static_cast<int>(kRowsTableColumns) + 1})
    EXPECT_FALSE(run("SELECT c1 FROM outlast_rows(?1, ?2)", bytes, width)) << width;
  EXPECT_FALSE(run("SELECT c1 FROM outlast_rows WHERE ?1 IS NOT NULL AND ?2", bytes, 1));
  EXPECT_EQ(error_, "outlast_rows wants the bytes of rows and the number of their columns");
  for (std::size_t cut = 1; cut < bytes.size(); ++cut)
    EXPECT_FALSE(run("SELECT c1 FROM outlast_rows(?1, ?2)", bytes.substr(0, cut), 2)) << cut;
  const auto* const given = std::getenv("OUTLAST_SEED");
  const unsigned long seed = given != nullptr ? std::strtoul(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("OUTLAST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 1000; ++round) {
    std::string foreign(random() % 40, '\0');
    for (char& c : foreign) c = static_cast<char>(random() % 3 == 0 ? random() : random() % 6);
    (void)run("SELECT c1, c2 FROM outlast_rows(?1, ?2)", foreign, 1 + static_cast<int>(random() % 4));
  }
}

}  // namespace
}  // namespace outlast::executor
