#pragma once
#include <sqlite3.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "fragments/plan.h"
#include "fragments/table.h"

/// The same rows twice: in one SQLite database, and spread over a database for each partition.
namespace outlast::fragments::test {

using Row = std::vector<Value>;
struct Answer {
  std::vector<Row> rows;
  std::string error;  ///< Empty: none.
};

/// A SQLite in memory that runs what sql::translate() writes.
class Database {
 public:
  Database();
  /// SQLite's SQL.
  Answer sqlite(const std::string& sql) const;
  /// PostgreSQL's SQL, translated.
  Answer run(const std::string& sql) const;
  void insert(const std::string& table, const Row& row) const;

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Closer> db_;
};

/// Tables of every kind: t (HASH of a bigint), u (HASH of a text), c (HASH of a char(4)), e (RANGE of a timestamp), and
/// p, an ordinary one.
class World {
 public:
  explicit World(Random& random);
  const Table* find(std::string_view name) const;
  Answer plain(const std::string& sql) const { return whole_.run(sql); }
  /// As a gateway would run it. `kind`: how it was planned.
  Answer planned(const std::string& sql, const SelectPlan& plan) const;
  Result<SelectPlan> plan(const std::string& sql) const;
  const Database& range(RangeId range) const { return *ranges_.at(range); }

 private:
  void create(const std::string& sql, std::vector<Column> columns, std::vector<Slot> slots);
  void fill(Random& random);
  void add(const std::string& table, const Row& row);

  Database whole_;
  std::map<RangeId, std::unique_ptr<Database>> ranges_;
  std::map<std::string, Table, std::less<>> tables_;
};

/// Rows in a form that may be compared: blanks at the end of texts do not count, texts made by string_agg are sorted.
std::vector<Row> comparable(std::vector<Row> rows, bool ordered);
std::string to_text(const std::vector<Row>& rows);

}  // namespace outlast::fragments::test
