// Catalog statements: the gateway's own tables, rebuilt when the range's schema changed.
#include "executor/row_batch.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using Rows = std::vector<std::vector<Value>>;

asio::awaitable<Result<Rows>> StatementRunner::read_internal(std::string sql) {
  gateway::Statement statement;
  statement.sql = std::move(sql);
  statement.tag = "SELECT";
  statement.internal = true;
  auto piece = co_await s_.gateway->run(std::move(statement));
  if (!piece.ok()) co_return std::move(piece).error();
  RowStream stream(*std::move(piece), {});
  Rows rows;
  for (;;) {
    std::vector<Value> row;
    auto got = stream.next(row);
    if (!got.ok()) co_return std::move(got).error();
    if (*got) {
      rows.push_back(std::move(row));
      continue;
    }
    if (!stream.more()) co_return rows;
    if (auto more = co_await stream.fetch(*s_.gateway, 0); !more.ok()) co_return std::move(more).error();
  }
}

asio::awaitable<Result<void>> StatementRunner::read_schema() {
  const SchemaQueries queries = schema_queries();
  auto version = co_await read_internal(queries.version);
  if (!version.ok()) co_return std::move(version).error();
  if (version->empty() || version->front().empty() || !std::holds_alternative<std::int64_t>(version->front().front()))
    co_return Error(Errc::kInternal, "the schema version is not a number");
  const std::int64_t now = std::get<std::int64_t>(version->front().front());
  if (s_.catalog->version() >= 0 && s_.schema.version == now) co_return Result<void>();
  SchemaSnapshot schema;
  schema.version = now;
  const std::pair<const std::string*, Rows*> parts[] = {{&queries.objects, &schema.objects},
                                                        {&queries.columns, &schema.columns},
                                                        {&queries.indexes, &schema.indexes},
                                                        {&queries.index_columns, &schema.index_columns}};
  for (const auto& [sql, into] : parts) {
    auto rows = co_await read_internal(*sql);
    if (!rows.ok()) co_return std::move(rows).error();
    *into = *std::move(rows);
  }
  s_.schema = std::move(schema);
  co_return Result<void>();
}

asio::awaitable<Result<void>> StatementRunner::refresh_catalog() {
  if (!s_.catalog) s_.catalog = Catalog::create();
  // One transaction, so that the parts of the snapshot belong together.
  const bool own = !s_.in_transaction();
  if (own)
    if (auto begun = s_.gateway->begin({.read_only = true}); !begun.ok()) co_return std::move(begun).error();
  auto read = co_await read_schema();
  if (own) {
    if (read.ok()) {
      auto ended = co_await s_.gateway->commit();
      if (!ended.ok()) co_return std::move(ended).error();
    } else {
      co_await s_.gateway->rollback();
    }
  }
  if (!read.ok()) co_return read;
  co_return s_.catalog->refresh(s_.schema, s_.gateway->database(), s_.user, s_.host.cluster.databases());
}

asio::awaitable<Result<Started>> StatementRunner::run_catalog(Translated t, std::vector<Value> params) {
  if (t.sql.size() != 1) co_return Error(Errc::kInternal, "the translator gave a catalog statement in pieces");
  if (auto fresh = co_await refresh_catalog(); !fresh.ok()) co_return std::move(fresh).error();
  std::vector<PgType> hints;
  for (const ColumnHint& hint : t.columns) hints.push_back({hint.oid, hint.typmod});
  auto result = s_.catalog->run(t.sql.front(), params, hints);
  if (!result.ok()) co_return std::move(result).error();
  for (std::size_t i = 0; i < t.columns.size() && t.columns.size() == result->names.size(); ++i)
    if (!t.columns[i].name.empty()) result->names[i] = t.columns[i].name;
  for (PgType& type : result->types)
    if (type.oid == 0) type.oid = oid::kText;
  result->types.resize(result->names.size());
  co_return Started{RowStream::local(std::move(result->names), std::move(result->types), result->rows), t.tag};
}

}  // namespace outlast::sql
