#include "executor/result_rows.h"

namespace outlast::executor {
namespace {
std::string_view bytes_of(sqlite3_stmt* statement, int column, const void* data) {
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement, column))};
}

int bind_value(sqlite3_stmt* statement, int index, const proto::Value& value, sqlite3_destructor_type lifetime) {
  switch (value.kind_case()) {
    case proto::Value::kInteger:
      return sqlite3_bind_int64(statement, index, value.integer());
    case proto::Value::kReal:
      return sqlite3_bind_double(statement, index, value.real());
    case proto::Value::kText:
      return sqlite3_bind_text64(statement, index, value.text().data(), value.text().size(), lifetime, SQLITE_UTF8);
    case proto::Value::kBlob:
      return sqlite3_bind_blob64(statement, index, value.blob().data(), value.blob().size(), lifetime);
    case proto::Value::kNull:
    case proto::Value::KIND_NOT_SET:
      break;
  }
  return sqlite3_bind_null(statement, index);
}
}  // namespace

Result<void> bind(sqlite3_stmt* statement, const proto::Params& params, bool keep) {
  const int wanted = sqlite3_bind_parameter_count(statement);
  if (wanted != params.values_size())
    return Error(Errc::kProtocolViolation, "the request supplies " + std::to_string(params.values_size()) +
                                               " parameters, but the statement requires " + std::to_string(wanted));
  for (int i = 0; i < wanted; ++i) {
    const int code = bind_value(statement, i + 1, params.values(i), keep ? SQLITE_TRANSIENT : SQLITE_STATIC);
    if (code == SQLITE_TOOBIG) return Error(Errc::kTooLarge, "a parameter is larger than 256 MiB; store it in pieces");
    if (code != SQLITE_OK) return Error(Errc::kOutOfMemory, "no memory for a parameter; try again with smaller values");
  }
  return {};
}

void append_row(sqlite3_stmt* statement, RowWriter& out) {
  const int columns = sqlite3_data_count(statement);
  for (int i = 0; i < columns; ++i) {
    switch (sqlite3_column_type(statement, i)) {
      case SQLITE_INTEGER:
        out.integer(sqlite3_column_int64(statement, i));
        break;
      case SQLITE_FLOAT:
        out.real(sqlite3_column_double(statement, i));
        break;
      case SQLITE_TEXT:
        out.text(bytes_of(statement, i, sqlite3_column_text(statement, i)));
        break;
      case SQLITE_BLOB:
        out.blob(bytes_of(statement, i, sqlite3_column_blob(statement, i)));
        break;
      default:
        out.null();
        break;
    }
  }
}

void describe_columns(sqlite3_stmt* statement, proto::ExecReply& reply) {
  const auto text = [](const char* s) { return s == nullptr ? "" : s; };
  const int columns = sqlite3_column_count(statement);
  for (int i = 0; i < columns; ++i) {
    proto::Column* column = reply.add_columns();
    column->set_name(text(sqlite3_column_name(statement, i)));
    column->set_decl_type(text(sqlite3_column_decltype(statement, i)));
    column->set_table(text(sqlite3_column_table_name(statement, i)));
    column->set_origin(text(sqlite3_column_origin_name(statement, i)));
  }
}

Batch collect(sqlite3_stmt* statement, int code, const BatchLimits& limits) {
  RowWriter out;
  std::uint64_t rows = 0;
  for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
    append_row(statement, out);
    ++rows;
    if (limits.rows != 0 && rows >= limits.rows) return {BatchEnd::kRows, SQLITE_OK, out.take()};
    if (out.size() >= limits.bytes) return {BatchEnd::kBytes, SQLITE_OK, out.take()};
  }
  if (code != SQLITE_DONE) return {BatchEnd::kError, code, {}};
  return {BatchEnd::kDone, SQLITE_OK, out.take()};
}

void StoredRows::add(std::string_view row) {
  data_.append(row);
  ends_.push_back(data_.size());
}

Batch StoredRows::take(const BatchLimits& limits) {
  const std::size_t begin = next_ == 0 ? 0 : ends_[next_ - 1];
  std::size_t end = begin;
  std::uint64_t rows = 0;
  BatchEnd why = BatchEnd::kDone;
  while (next_ < ends_.size()) {
    if (limits.rows != 0 && rows >= limits.rows) break;
    if (end - begin >= limits.bytes) {
      why = BatchEnd::kBytes;
      break;
    }
    end = ends_[next_++];
    ++rows;
  }
  if (limits.rows != 0 && rows >= limits.rows) why = BatchEnd::kRows;
  return {why, SQLITE_OK, data_.substr(begin, end - begin)};
}

}  // namespace outlast::executor
