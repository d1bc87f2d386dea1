#include "loads/packed_rows.h"

#include "executor/rows_table.h"
#include "loads/steps.h"

namespace outlast::loads {

PackedRows::PackedRows(const Rows& rows) : columns_(rows.empty() ? 0 : rows.front().size()) {
  for (const Row& row : rows) {
    for (const executor::Value& value : row) writer_.value(value);
    end_row();
  }
}

void PackedRows::end_row() {
  ++rows_;
  end_ = writer_.size();
}

void PackedRows::add_row(std::string_view bytes) {
  writer_.append(bytes);
  end_row();
}

void PackedRows::append(const PackedRows& more) {
  writer_.append(more.bytes());
  rows_ += more.rows();
  end_ = writer_.size();
}

Rows PackedRows::unpack() const {
  Rows out;
  executor::RowReader reader(bytes(), columns_);
  for (Row row; !reader.done() && reader.next(row).ok();) out.push_back(std::move(row));
  return out;
}

Way way_of(const Insertion& into) {
  return into.columns.size() > executor::kRowsTableColumns ? Way::kByRow : Way::kAtOnce;
}

gateway::Statement insert_statement(const Insertion& into, const PackedRows& rows, Way way) {
  std::string names, values;
  if (!into.first_column.empty()) {
    names = name_sql(into.first_column);
    values = std::to_string(into.first_value);
  }
  for (std::size_t i = 0; i < into.columns.size(); ++i) {
    names += (names.empty() ? "" : ", ") + name_sql(into.columns[i]);
    values += std::string(values.empty() ? "" : ", ") + (way == Way::kAtOnce ? "c" : "?") + std::to_string(i + 1);
  }
  gateway::Statement out;
  out.sql = std::string("INSERT ") + (into.filter ? "OR IGNORE " : "") + "INTO " + name_sql(into.table) + "(" + names;
  out.tag = "INSERT";
  if (way == Way::kByRow) {
    out.sql += ") VALUES (" + values + ")";
    out.params = rows.unpack();
    return out;
  }
  out.sql += ") SELECT " + values + " FROM " + std::string(executor::kRowsTable) + "(?1, ?2)";
  out.params.push_back({executor::Blob{rows.bytes()}, static_cast<std::int64_t>(rows.columns())});
  return out;
}

bool wants_rows(const Error& error) {
  return error.code == Errc::kUndefinedTable && error.message.find(executor::kRowsTable) != std::string::npos;
}

}  // namespace outlast::loads
