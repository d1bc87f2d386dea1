// INSERT, UPDATE and DELETE on partitioned tables.
#include <algorithm>
#include <set>

#include "executor/row_batch.h"
#include "loads/load.h"
#include "pgtree/parse.h"
#include "sql/partitioned/statements.h"
#include "sql/session/copy.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using fragments::WritePlan;
namespace {
/// A change in several ranges would not be one transaction.
Error in_several(const Translated& t, std::size_t parts) {
  return {Errc::kSyntax, "this " + t.tag + " may change rows in " + std::to_string(parts) +
                             " partitions, which do not commit together; add a condition that compares the partition "
                             "column with one value (column = value), once for each value"};
}

constexpr std::uint64_t kRowsBytesMax = 64 << 20;

std::uint64_t size_of(const std::vector<Value>& row) {
  std::uint64_t bytes = sizeof(Value) * row.size();
  for (const Value& value : row) {
    if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    if (const auto* blob = std::get_if<executor::Blob>(&value)) bytes += blob->bytes.size();
  }
  return bytes;
}

/// INSERT … VALUES as if it were INSERT … SELECT. An empty list of columns: as many of the table as there are values.
Result<WritePlan> as_query(const std::string& source) {
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(source));
  const PgQuery__InsertStmt& insert = *tree.statements()[0]->stmt->insert_stmt;
  if (insert.on_conflict_clause != nullptr || insert.n_returning_list > 0)
    return Error(
        Errc::kSyntax,
        "ON CONFLICT and RETURNING work for rows of one partition; insert the rows of one partition at a time");
  WritePlan out{.kind = WritePlan::Kind::kQuery};
  ASSIGN_OR_RETURN(out.query_sql, pgtree::deparse(*insert.select_stmt));
  for (const pgtree::Node* column : PG_LIST(&insert, cols)) out.query_columns.emplace_back(column->res_target->name);
  return out;
}

/// Of an INSERT.
Result<std::string> written_table(const std::string& source) {
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(source));
  return std::string(tree.statements()[0]->stmt->insert_stmt->relation->relname);
}
}  // namespace

asio::awaitable<Result<WritePlan>> PartitionedStatements::plan_write(std::string text, const Values& params,
                                                                     Values keys) {
  const auto find = tables_.lookup();
  const fragments::PlanContext context{.find = find, .parameters = params, .now_micros = now_micros_};
  co_return fragments::plan_write(text, context, keys);
}

asio::awaitable<Result<std::optional<Started>>> PartitionedStatements::run_write(const Translated& t, Values params,
                                                                                 RunMode mode) {
  auto plan = co_await plan_write(t.source, params, {});
  if (plan.ok() && plan->kind == WritePlan::Kind::kKeys) {
    auto keys = co_await calculate_keys(t, std::move(plan->keys_sql), params);
    if (!keys.ok()) co_return std::move(keys).error();
    plan = co_await plan_write(t.source, params, *std::move(keys));
  }
  if (!plan.ok()) co_return std::move(plan).error();
  if (plan->kind == WritePlan::Kind::kHome) co_return std::optional<Started>();
  if (auto may = admit(fragments::ranges_of(*plan)); !may.ok()) co_return std::move(may).error();
  if (plan->kind == WritePlan::Kind::kParts && plan->parts.size() != 1) {
    if (t.tag != "INSERT") co_return in_several(t, plan->parts.size());
    plan = as_query(t.source);
    if (!plan.ok()) co_return std::move(plan).error();
  }
  auto done = plan->kind == WritePlan::Kind::kQuery
                  ? insert_query(t, *std::move(plan), std::move(params))
                  : run_part(t, std::move(plan->parts.front()), std::move(params), mode);
  auto started = co_await std::move(done);
  if (!started.ok()) co_return std::move(started).error();
  co_return std::optional(*std::move(started));
}

/// Expressions of VALUES, calculated by a SQLite of the gateway as any final statement is.
asio::awaitable<Result<std::vector<Value>>> PartitionedStatements::calculate_keys(const Translated& t, std::string sql,
                                                                                  Values params) {
  auto plan = compute_plan(t, {.final_sql = std::move(sql)}, params);
  if (!plan.ok()) co_return std::move(plan).error();
  if (auto go = s_.check_cancelled(); !go.ok()) co_return std::move(go).error();  // while it was planned
  auto rows = co_await s_.gateway->run_plan(*std::move(plan), 0);
  Values keys;
  for (;;) {
    if (!rows.ok()) co_return std::move(rows).error();
    executor::RowReader reader(rows->bytes, 1);
    Values row;
    while (!reader.done()) {
      if (auto read = reader.next(row); !read.ok()) co_return std::move(read).error();
      keys.push_back(std::move(row.front()));
    }
    if (rows->portal == 0) co_return keys;
    rows = co_await s_.gateway->fetch(rows->portal, 0);
  }
}

/// A RANGE partition comes into being with the first row for it.
asio::awaitable<Result<RangeId>> PartitionedStatements::range_of(const Translated& t, fragments::Slot slot,
                                                                 std::optional<fragments::Partition> known) {
  if (known) co_return known->range;
  auto table = written_table(t.source);
  if (!table.ok()) co_return std::move(table).error();
  auto made = co_await s_.host.cluster.add_partition(s_.gateway->database(), *std::move(table), slot);
  if (!made.ok()) co_return std::move(made).error();
  co_return made->range;
}

asio::awaitable<Result<Started>> PartitionedStatements::run_part(const Translated& t, WritePlan::Part part,
                                                                 Values params, RunMode mode) {
  auto range = co_await range_of(t, part.slot, part.partition);
  if (!range.ok()) co_return std::move(range).error();
  auto own = part_of(t, part.sql, params);
  if (!own.ok()) co_return std::move(own).error();
  Translated there = t;
  there.sql = {std::move(own->first)};
  co_return co_await run_in_range(s_, there, std::move(own->second), mode, *range);
}

/// The rows of its query are gathered here, and go to their partition as one transaction, or to several as a load.
asio::awaitable<Result<Started>> PartitionedStatements::insert_query(const Translated& t, WritePlan plan,
                                                                     Values params) {
  auto batch = co_await query_rows(t, plan, std::move(params));
  if (!batch.ok()) co_return std::move(batch).error();
  if (batch->rows.empty()) co_return Started{std::nullopt, complete_tag(t.tag, 0)};
  if (plan.query_columns.empty()) plan.query_columns = batch->columns;
  if (batch->ranges != 1) co_return co_await load_rows(t, *std::move(batch));
  auto range = co_await range_of(t, batch->slot, batch->partition);
  if (!range.ok()) co_return std::move(range).error();
  std::string names, marks;
  for (const std::string& column : plan.query_columns) {
    names += (names.empty() ? "" : ", ") + quoted_identifier(column);
    marks += marks.empty() ? "?" : ", ?";
  }
  gateway::Statement statement;
  statement.sql = "INSERT INTO " + quoted_identifier(batch->table) + " (" + names + ") VALUES (" + marks + ")";
  statement.params = std::move(batch->rows);
  statement.tag = t.tag;
  statement.range = *range;
  auto done = co_await s_.gateway->run(std::move(statement));
  if (!done.ok()) co_return std::move(done).error();
  co_return Started{std::nullopt, complete_tag(t.tag, done->changes)};
}

/// All of them or none (protocol A9).
asio::awaitable<Result<Started>> PartitionedStatements::load_rows(const Translated& t, Gathered batch) {
  if (s_.in_transaction())
    co_return Error(
        Errc::kActiveTransaction,
        "the rows of this INSERT belong to several partitions, and a transaction lives in one range; run it "
        "outside of BEGIN … COMMIT");
  loads::LoadOptions options{.database = s_.gateway->database(), .table = batch.table, .columns = batch.columns};
  if (const Duration limit = s_.gateway->limits().statement_timeout; limit > Duration::zero()) options.timeout = limit;
  auto opened = co_await loads::Load::open(s_.host.cluster, std::move(options));
  if (!opened.ok()) co_return std::move(opened).error();
  if (opened->load == nullptr) co_return Error(Errc::kInternal, "a label that was made up is taken");
  const auto count = static_cast<std::int64_t>(batch.rows.size());
  auto added = co_await opened->load->add(std::move(batch.rows));
  if (added.ok()) added = s_.check_cancelled();
  if (!added.ok()) {
    co_await opened->load->abort(added.error().message);
    co_return std::move(added).error();
  }
  auto finished = co_await opened->load->finish();
  if (!finished.ok()) {
    if (finished.error().code != Errc::kUnknownOutcome) co_await opened->load->abort(finished.error().message);
    co_return std::move(finished).error();
  }
  if (finished->state != loads::State::kDone)
    s_.warning(Errc::kUnavailable,
               "the rows are safe, and will be seen when all partitions answer: " + finished->error);
  co_return Started{std::nullopt, complete_tag(t.tag, count)};
}

asio::awaitable<Result<PartitionedStatements::Gathered>> PartitionedStatements::query_rows(const Translated& t,
                                                                                           const WritePlan& plan,
                                                                                           Values params) {
  Gathered out;
  auto query = translate_one(plan.query_sql, t.parameters, session_names(s_));
  if (!query.ok()) co_return std::move(query).error();
  auto target = written_table(t.source);
  if (!target.ok()) co_return std::move(target).error();
  out.table = *std::move(target);
  const auto find = tables_.lookup();
  const fragments::Table& table = *find(out.table);
  out.columns = plan.query_columns;
  auto router = fragments::RowRouter::make(table, out.columns);
  if (!router.ok()) co_return std::move(router).error();
  auto started = co_await run_select(*query, params, {});
  if (!started.ok()) co_return std::move(started).error();
  if (!*started) {
    auto home = co_await run_in_range(s_, *query, std::move(params), {}, std::nullopt);
    if (!home.ok()) co_return std::move(home).error();
    *started = *std::move(home);
  }
  RowStream& rows = *(*started)->rows;
  if (out.columns.empty())
    for (std::size_t i = 0; i < std::min(rows.columns(), table.columns.size()); ++i)
      out.columns.push_back(table.columns[i].name);
  if (rows.columns() != out.columns.size())
    co_return Error(Errc::kSyntax, "INSERT fills " + std::to_string(out.columns.size()) +
                                       " columns, and its rows have " + std::to_string(rows.columns()));
  std::set<fragments::Slot> slots;
  Values row;
  for (std::uint64_t bytes = 0;;) {
    auto got = rows.next(row);
    if (!got.ok()) co_return std::move(got).error();
    if (!*got) {
      if (!rows.more()) break;
      if (auto more = co_await rows.fetch(*s_.gateway, 0); !more.ok()) co_return std::move(more).error();
      continue;
    }
    auto to = router->route(row);
    if (!to.ok()) co_return std::move(to).error();
    slots.insert(to->slot);
    out.slot = to->slot, out.partition = to->partition;
    bytes += size_of(row);
    if (bytes > kRowsBytesMax) {
      co_await rows.close(*s_.gateway);
      co_return Error(Errc::kTooLarge,
                      "INSERT … SELECT into a partitioned table takes 64 MiB of rows at a time; insert "
                      "them in several steps, or use COPY");
    }
    out.rows.push_back(row);
  }
  out.ranges = slots.size();
  co_return out;
}

}  // namespace outlast::sql
