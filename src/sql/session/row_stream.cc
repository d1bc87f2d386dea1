#include "sql/session/row_stream.h"

#include <algorithm>
#include <utility>

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;

std::vector<PgType> result_types(const std::vector<gateway::Column>& columns, const std::vector<ColumnHint>& hints,
                                 std::vector<bool>* unknown) {
  std::vector<PgType> types;
  const bool hinted = hints.size() == columns.size();
  if (unknown != nullptr) unknown->assign(columns.size(), false);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::optional<PgType> type;
    if (hinted && hints[i].oid != 0)
      type = PgType{hints[i].oid, hints[i].typmod};
    else if (!columns[i].decl_type.empty())
      type = type_of_declaration(columns[i].decl_type);
    if (!type && unknown != nullptr) (*unknown)[i] = true;
    types.push_back(type.value_or(PgType{}));
  }
  return types;
}

std::vector<std::string> result_names(const std::vector<gateway::Column>& columns,
                                      const std::vector<ColumnHint>& hints) {
  std::vector<std::string> names;
  const bool hinted = hints.size() == columns.size();
  for (std::size_t i = 0; i < columns.size(); ++i)
    names.push_back(hinted && !hints[i].name.empty() ? hints[i].name : columns[i].name);
  return names;
}

std::int16_t format_of(const std::vector<std::int16_t>& formats, std::size_t i) {
  if (formats.empty()) return 0;
  return formats.size() == 1 ? formats[0] : i < formats.size() ? formats[i] : std::int16_t{0};
}

std::vector<pgwire::FieldDescription> describe_fields(const std::vector<std::string>& names,
                                                      const std::vector<PgType>& types,
                                                      const std::vector<std::int16_t>& formats) {
  std::vector<pgwire::FieldDescription> fields;
  for (std::size_t i = 0; i < names.size(); ++i) {
    pgwire::FieldDescription field;
    field.name = names[i];
    field.type = types[i].oid;
    field.type_length = type_length(types[i].oid);
    field.typmod = types[i].typmod;
    field.format = format_of(formats, i);
    fields.push_back(std::move(field));
  }
  return fields;
}

Result<void> write_row(pgwire::BackendWriter& out, const std::vector<Value>& row, const std::vector<PgType>& types,
                       const std::vector<std::int16_t>& formats) {
  out.begin_row(row.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (std::holds_alternative<executor::Null>(row[i])) {
      out.null();
      continue;
    }
    auto encoded = format_of(formats, i) == 1 ? encode_binary(row[i], types[i]) : encode_text(row[i], types[i]);
    if (!encoded.ok()) {
      out.abandon_row();
      return std::move(encoded).error();
    }
    out.value(*encoded);
  }
  out.end_row();
  return {};
}

RowStream::RowStream(gateway::Rows rows, const std::vector<ColumnHint>& hints)
    : names_(result_names(rows.columns, hints)), portal_(rows.portal), changes_(rows.changes) {
  types_ = result_types(rows.columns, hints, &unknown_);
  take_piece(std::move(rows.bytes));
}

void RowStream::take_piece(std::string bytes) {
  bytes_ = std::make_unique<std::string>(std::move(bytes));
  reader_.emplace(*bytes_, names_.size());
}

std::vector<pgwire::FieldDescription> RowStream::fields(const std::vector<std::int16_t>& formats) const {
  return describe_fields(names_, types_, formats);
}

void RowStream::guess_types() {
  if (!reader_ || reader_->done()) return;
  executor::RowReader peek = *reader_;
  std::vector<Value> row;
  if (!peek.next(row).ok()) return;  // next() will say so
  for (std::size_t i = 0; i < row.size(); ++i)
    if (unknown_[i] && !std::holds_alternative<executor::Null>(row[i])) types_[i].oid = type_of_value(row[i]);
}

Result<bool> RowStream::next(std::vector<Value>& row) {
  if (!reader_ || reader_->done()) return false;
  TRY(reader_->next(row));
  return true;
}

asio::awaitable<Result<void>> RowStream::fetch(gateway::Session& session, std::uint64_t max_rows) {
  auto piece = co_await session.fetch(portal_, max_rows);
  if (!piece.ok()) {
    portal_ = 0;
    co_return std::move(piece).error();
  }
  portal_ = piece->portal;
  changes_ = std::max(changes_, piece->changes);
  take_piece(std::move(piece->bytes));
  co_return Result<void>();
}

asio::awaitable<void> RowStream::close(gateway::Session& session) {
  const std::uint64_t portal = std::exchange(portal_, 0);
  if (portal != 0) co_await session.close_portal(portal);
}

RowStream RowStream::local(std::vector<std::string> names, std::vector<PgType> types,
                           const std::vector<std::vector<Value>>& rows) {
  RowStream stream;
  stream.names_ = std::move(names);
  stream.types_ = std::move(types);
  stream.unknown_.assign(stream.names_.size(), false);
  executor::RowWriter writer;
  for (const auto& row : rows)
    for (const Value& value : row) writer.value(value);
  stream.take_piece(writer.take());
  return stream;
}

}  // namespace outlast::sql
