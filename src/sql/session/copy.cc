#include "sql/session/copy.h"

#include <utility>

#include "sql/partitioned/statements.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;

std::string quoted_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

Result<CopyFormat> copy_format(const CopySpec& spec) {
  CopyFormat format{.csv = spec.csv, .header = spec.header, .delimiter = '\t', .null_text = spec.null_text};
  if (spec.delimiter.size() != 1) return Error(Errc::kSyntax, "COPY delimiter must be a single one-byte character");
  format.delimiter = spec.delimiter[0];
  if (format.delimiter == '\n' || format.delimiter == '\r' || format.delimiter == '\\' || format.delimiter == '"')
    return Error(Errc::kSyntax, "COPY delimiter cannot be a line end, a backslash or a quote");
  return format;
}

asio::awaitable<Result<Copy::Target>> Copy::find_target(CopySpec spec) {
  std::string list;
  for (const std::string& column : spec.columns) list += (list.empty() ? "" : ", ") + quoted_identifier(column);
  auto rows = co_await s_.gateway->describe(
      "SELECT " + (list.empty() ? "*" : list) + " FROM " + quoted_identifier(spec.table), false);
  if (!rows.ok()) co_return std::move(rows).error();
  Target target;
  std::string names, values;
  for (const gateway::Column& column : rows->columns) {
    target.names.push_back(column.name);
    names += (names.empty() ? "" : ", ") + quoted_identifier(column.name);
    values += (values.empty() ? "?" : ", ?") + std::to_string(target.names.size());
  }
  target.types = result_types(rows->columns, {});
  target.insert_sql = "INSERT INTO " + quoted_identifier(spec.table) + " (" + names + ") VALUES (" + values + ")";
  co_return target;
}

Result<bool> Copy::parse_into(CopyParser& parser, const Target& target, Batch& batch) const {
  while (batch.bytes < s_.host.options.copy_batch_bytes && batch.rows.size() < s_.host.options.copy_batch_rows) {
    ASSIGN_OR_RETURN(auto row, parser.next());
    if (!row) return false;
    const std::string where = " (COPY, line " + std::to_string(parser.line()) + ")";
    if (row->size() > target.names.size())
      return Error(Errc::kBadCopyFormat, "extra data after last expected column" + where);
    if (row->size() < target.names.size())
      return Error(Errc::kBadCopyFormat, "missing data for column \"" + target.names[row->size()] + "\"" + where);
    std::vector<Value> values;
    for (std::size_t i = 0; i < row->size(); ++i) {
      CopyField& field = (*row)[i];
      batch.bytes += sizeof(Value) + (field ? field->size() : 0);
      if (!field) {
        values.emplace_back(executor::Null{});
        continue;
      }
      auto value = decode_text(*field, target.types[i].oid);
      if (!value.ok()) {
        Error error = std::move(value).error();
        error.message += " (COPY, line " + std::to_string(parser.line()) + ", column " + target.names[i] + ")";
        return error;
      }
      values.push_back(*std::move(value));
    }
    batch.rows.push_back(std::move(values));
  }
  return true;
}

asio::awaitable<Result<void>> Copy::insert(Batch* batch, const Target* target) {
  if (batch->rows.empty()) co_return Result<void>();
  batch->bytes = 0;
  if (load_) co_return co_await load_->add(std::exchange(batch->rows, {}));
  gateway::Statement statement;
  statement.sql = target->insert_sql;
  statement.params = std::exchange(batch->rows, {});
  statement.tag = "COPY";
  auto done = co_await s_.gateway->run(std::move(statement));
  if (!done.ok()) co_return std::move(done).error();
  co_return Result<void>();
}

asio::awaitable<Result<std::uint64_t>> Copy::take_rows(const CopySpec* spec, const Target* target) {
  auto format = copy_format(*spec);
  if (!format.ok()) co_return std::move(format).error();
  CopyParser parser(*std::move(format), s_.host.options.message_bytes_max);
  std::uint64_t count = 0;
  Batch batch;
  for (bool done = false; !done;) {
    auto frame = co_await s_.io.next_frame();
    if (auto go = s_.check_cancelled(); !go.ok()) {
      s_.io.unwake();
      co_return std::move(go).error();
    }
    if (!frame.ok()) co_return std::move(frame).error();
    if (!*frame || (*frame)->type == 'X') {
      s_.client_left = true;
      co_return Error(Errc::kUnavailable, "the client went away in the middle of a COPY");
    }
    auto message = pgwire::parse_message(**frame);
    if (!message.ok()) co_return std::move(message).error();
    if (const auto* data = std::get_if<pgwire::CopyData>(&*message)) {
      parser.feed(data->bytes);
    } else if (std::holds_alternative<pgwire::CopyDone>(*message)) {
      parser.finish();
      done = true;
    } else if (const auto* fail = std::get_if<pgwire::CopyFail>(&*message)) {
      co_return Error(Errc::kCancelled, "COPY from stdin failed: " + fail->reason);
    } else if ((*frame)->type == 'H' || (*frame)->type == 'S') {
      continue;  // a client of the extended protocol sends Flush or Sync right after Execute
    } else {
      co_return Error(Errc::kProtocolViolation, std::string("unexpected message type '") + (*frame)->type +
                                                    "' during COPY from stdin: send CopyData, CopyDone or CopyFail");
    }
    for (bool full = true; full;) {
      auto parsed = parse_into(parser, *target, batch);
      if (!parsed.ok()) co_return std::move(parsed).error();
      full = *parsed;
      if (!full && !done) break;
      count += batch.rows.size();
      if (auto inserted = co_await insert(&batch, target); !inserted.ok()) co_return std::move(inserted).error();
    }
  }
  co_return count;
}

asio::awaitable<Result<void>> Copy::from_client(Translated t) {
  auto target = co_await find_target(*t.copy);
  if (!target.ok()) co_return std::move(target).error();
  if (is_partitioned(t.copy->table)) co_return co_await into_partitions(&*t.copy, &*target);
  const bool own = !s_.in_transaction();
  if (own)
    if (auto begun = txn_.ensure_implicit(); !begun.ok()) co_return begun;
  s_.io.out.copy_in_response(target->names.size());
  if (auto flushed = co_await s_.io.flush(); !flushed.ok()) co_return flushed;
  auto count = co_await take_rows(&*t.copy, &*target);
  if (!count.ok()) co_return std::move(count).error();  // the caller rolls back
  if (own)
    if (auto ended = co_await txn_.end_implicit(); !ended.ok()) co_return ended;
  s_.io.out.command_complete("COPY " + std::to_string(*count));
  co_return Result<void>();
}

asio::awaitable<Result<std::uint64_t>> Copy::send_rows(RowStream* rows, CopyFormat format) {
  std::uint64_t count = 0;
  std::string line;
  std::vector<Value> row;
  for (;;) {
    auto got = rows->next(row);
    if (!got.ok()) co_return std::move(got).error();
    if (!*got) {
      if (!rows->more()) co_return count;
      if (auto go = s_.check_cancelled(); !go.ok()) {
        co_await rows->close(*s_.gateway);
        co_return std::move(go).error();
      }
      if (auto more = co_await rows->fetch(*s_.gateway, 0); !more.ok()) co_return std::move(more).error();
      continue;
    }
    CopyRow fields;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (std::holds_alternative<executor::Null>(row[i])) {
        fields.emplace_back(std::nullopt);
        continue;
      }
      auto text = encode_text(row[i], rows->types()[i]);
      if (!text.ok()) co_return std::move(text).error();
      fields.emplace_back(*std::move(text));
    }
    line.clear();
    append_copy_row(format, fields, line);
    s_.io.out.copy_data(line);
    ++count;
    if (s_.io.full()) {
      if (auto flushed = co_await s_.io.flush(); !flushed.ok()) co_return std::move(flushed).error();
    }
  }
}

asio::awaitable<Result<RowStream>> Copy::read_copied(const Translated& t) {
  if (named_partitioned(s_, t.source)) {
    auto text = copied_select(t);
    if (!text.ok()) co_return std::move(text).error();
    auto query = translate_one(*text, {}, session_names(s_));
    if (!query.ok()) co_return std::move(query).error();
    auto started = co_await StatementRunner(s_, txn_).run_sql(*query, {}, {});
    if (!started.ok()) co_return std::move(started).error();
    co_return *std::move(started->rows);
  }
  gateway::Statement statement;
  statement.tag = "SELECT";  // what it is for the gateway: a read, repeated unseen when its leaseholder dies
  statement.sql = t.copy->query_sql;
  if (statement.sql.empty()) {
    std::string list;
    for (const std::string& column : t.copy->columns) list += (list.empty() ? "" : ", ") + quoted_identifier(column);
    statement.sql = "SELECT " + (list.empty() ? "*" : list) + " FROM " + quoted_identifier(t.copy->table);
  }
  auto started = co_await s_.gateway->run(std::move(statement));
  if (!started.ok()) co_return std::move(started).error();
  co_return RowStream(*std::move(started), t.columns);
}

asio::awaitable<Result<void>> Copy::to_client(Translated t) {
  auto format = copy_format(*t.copy);
  if (!format.ok()) co_return std::move(format).error();
  auto started = co_await read_copied(t);
  if (!started.ok()) co_return std::move(started).error();
  RowStream rows = *std::move(started);
  rows.guess_types();
  s_.io.out.copy_out_response(rows.columns());
  if (format->header) {
    CopyRow names;
    for (const auto& field : rows.fields({})) names.emplace_back(field.name);
    std::string line;
    append_copy_row(*format, names, line);
    s_.io.out.copy_data(line);
  }
  auto count = co_await send_rows(&rows, *format);
  if (!count.ok()) co_return std::move(count).error();
  s_.io.out.copy_done();
  s_.io.out.command_complete("COPY " + std::to_string(*count));
  co_return Result<void>();
}

}  // namespace outlast::sql
