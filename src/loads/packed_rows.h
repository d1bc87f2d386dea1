#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "executor/row_batch.h"
#include "gateway/session.h"

namespace outlast::loads {

/// Rows on their way into a table, written once and sent as they are, as often as need be. Thread-safety: none.
class PackedRows {
 public:
  explicit PackedRows(std::size_t columns = 0) : columns_(columns) {}
  explicit PackedRows(const std::vector<std::vector<executor::Value>>& rows);
  /// Values of a row go here; end_row() makes them one, drop_row() takes them back.
  executor::RowWriter& writer() { return writer_; }
  void end_row();
  void drop_row() { writer_.cut(end_); }
  /// A row of another batch with the same columns, in its bytes.
  void add_row(std::string_view bytes);
  /// All of another one.
  void append(const PackedRows& more);

  bool empty() const { return rows_ == 0; }
  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  const std::string& bytes() const { return writer_.bytes(); }
  std::vector<std::vector<executor::Value>> unpack() const;

 private:
  std::size_t columns_, rows_{0}, end_{0};
  executor::RowWriter writer_;
};

/// Where rows go.
struct Insertion {
  std::string table;
  std::vector<std::string> columns;  ///< Those that the rows have.
  bool filter{false};                ///< Rows that do not fit are left out.
  std::string first_column{};        ///< One more in front, with the same value in all rows; empty: none.
  std::int64_t first_value{0};
};
/// How a batch is written: kAtOnce, by rows_table.h, or kByRow where the leaseholder is too old or a row too wide.
enum class Way : std::uint8_t { kAtOnce, kByRow };
Way way_of(const Insertion& into);
/// The whole batch in one statement; pure.
gateway::Statement insert_statement(const Insertion& into, const PackedRows& rows, Way way);
/// The leaseholder is of a version that knows only kByRow.
bool wants_rows(const Error& error);

}  // namespace outlast::loads
