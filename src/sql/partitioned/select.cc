// SELECT over partitioned tables, and EXPLAIN.
#include "base/parse.h"
#include "pgtree/names.h"
#include "pgtree/parse.h"
#include "sql/partitioned/statements.h"
#include "sql/translate/translate.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using fragments::SelectPlan;
using fragments::WritePlan;
namespace {
constexpr std::uint64_t kMemoryLimit = 256 << 20;

std::uint64_t memory_limit(const gateway::Cluster& cluster) {
  const auto text = cluster.setting("sql.query_memory_limit");
  const auto bytes = parse_bytes(text.ok() ? *text : std::string());
  return bytes.ok() ? *bytes : kMemoryLimit;
}
}  // namespace

PartitionedSnapshot named_partitioned(const SessionState& state, std::string_view text) {
  PartitionedSnapshot tables = state.host.cluster.partitioned(state.gateway->database());
  if (tables == nullptr || !may_name(*tables, text)) return nullptr;
  return tables;
}

PartitionedStatements::PartitionedStatements(SessionState& state, PartitionedSnapshot tables)
    : s_(state),
      now_micros_(state.host.cluster.wall_micros()),
      tables_(state.host.cluster, state.host.columns, state.gateway->database(), std::move(tables)) {}

asio::awaitable<Result<std::optional<Started>>> PartitionedStatements::run(const Translated& t, Values params,
                                                                           RunMode mode) {
  if (auto loaded = co_await tables_.load(t.source); !loaded.ok()) co_return std::move(loaded).error();
  co_return co_await (t.kind == StatementKind::kQuery ? run_select(t, std::move(params), mode)
                                                      : run_write(t, std::move(params), mode));
}

asio::awaitable<Result<SelectPlan>> PartitionedStatements::plan_select(std::string text, const Values& params) {
  const auto find = tables_.lookup();
  const fragments::PlanContext context{.find = find, .parameters = params, .now_micros = now_micros_};
  auto plan = fragments::plan_select(text, context);
  if (plan.ok() || !tables_.asked_in_vain()) co_return plan;
  if (auto loaded = co_await tables_.load_asked(); !loaded.ok()) co_return std::move(loaded).error();
  co_return fragments::plan_select(text, context);
}

/// A transaction is SQLite's in one file; that it stays in the one that it began in, the gateway checks.
Result<void> PartitionedStatements::admit(const std::vector<RangeId>& ranges) const {
  if (!s_.in_transaction()) return {};
  return fragments::admit_in_transaction(std::nullopt, ranges);
}

Result<std::pair<std::string, std::vector<Value>>> PartitionedStatements::part_of(const Translated& t,
                                                                                  const std::string& text,
                                                                                  const Values& params) const {
  ASSIGN_OR_RETURN(Translated part, translate_one(text, t.parameters, session_names(s_)));
  if (part.sql.size() != 1)
    return Error(Errc::kInternal, "the translator gave a part of a statement in several pieces: " + text);
  const std::size_t n = std::min(part.parameters.size(), params.size());
  return std::pair(std::move(part.sql.front()), Values(params.begin(), params.begin() + static_cast<long>(n)));
}

Result<compute::Plan> PartitionedStatements::compute_plan(const Translated& t, const SelectPlan& plan,
                                                          const Values& params) const {
  compute::Plan out{
      .database = s_.gateway->database(), .now_micros = now_micros_, .memory_limit = memory_limit(s_.host.cluster)};
  for (const fragments::Fragment& from : plan.fragments) {
    compute::Fragment fragment{.name = from.name, .create = fragments::rows_table(from)};
    for (const fragments::FragmentColumn& column : from.columns) fragment.columns.push_back(column.name);
    for (const fragments::Partition& partition : from.partitions) fragment.ranges.push_back(partition.range);
    ASSIGN_OR_RETURN(auto part, part_of(t, from.sql, params));
    fragment.sql = std::move(part.first);
    fragment.parameters = std::move(part.second);
    out.fragments.push_back(std::move(fragment));
  }
  ASSIGN_OR_RETURN(auto last, part_of(t, plan.final_sql, params));
  out.final_sql = std::move(last.first);
  out.parameters = std::move(last.second);
  return out;
}

asio::awaitable<Result<std::optional<Started>>> PartitionedStatements::run_select(const Translated& t, Values params,
                                                                                  RunMode mode) {
  auto plan = co_await plan_select(t.source, params);
  if (!plan.ok()) co_return std::move(plan).error();
  if (plan->kind == SelectPlan::Kind::kHome) co_return std::optional<Started>();
  if (auto may = admit(fragments::ranges_of(*plan)); !may.ok()) co_return std::move(may).error();
  if (plan->kind == SelectPlan::Kind::kOneRange) {
    auto started = co_await run_in_range(s_, t, std::move(params), mode, plan->range);
    if (!started.ok()) co_return std::move(started).error();
    co_return std::optional(*std::move(started));
  }
  auto run = compute_plan(t, *plan, params);
  if (!run.ok()) co_return std::move(run).error();
  std::vector<gateway::Column> columns(t.columns.size());
  if (!StatementRunner::describes_itself(t)) {  // the home range has the same tables, without rows
    auto described = co_await s_.gateway->describe(t.sql.front(), false);
    if (!described.ok()) co_return std::move(described).error();
    columns = std::move(described->columns);
  }
  if (auto go = s_.check_cancelled(); !go.ok()) co_return std::move(go).error();  // while it was planned
  auto rows = co_await s_.gateway->run_plan(*std::move(run), mode.max_rows);
  if (!rows.ok()) co_return std::move(rows).error();
  if (rows->columns.size() != columns.size())
    co_return Error(Errc::kInternal, "the final statement of a query has other columns than the query: " + t.source);
  rows->columns = std::move(columns);
  co_return std::optional(Started{RowStream(*std::move(rows), t.columns), t.tag});
}

std::string PartitionedStatements::place(RangeId range) const {
  const auto node = s_.host.cluster.leader(range);
  return node ? "node " + node->to_string() : std::string("no node at present");
}

asio::awaitable<Result<std::vector<std::string>>> PartitionedStatements::explain(const Translated& t) {
  if (auto loaded = co_await tables_.load(t.source); !loaded.ok()) co_return std::move(loaded).error();
  const auto place = [this](RangeId range) { return this->place(range); };
  if (t.kind == StatementKind::kQuery) {
    auto plan = co_await plan_select(t.source, {});
    if (!plan.ok()) co_return std::move(plan).error();
    if (plan->kind == SelectPlan::Kind::kHome) co_return std::vector<std::string>();
    co_return fragments::explain(*plan, place);
  }
  auto plan = co_await plan_write(t.source, {}, {});
  if (!plan.ok()) co_return std::move(plan).error();
  std::vector<std::string> lines;
  if (plan->kind == WritePlan::Kind::kKeys) lines.push_back(t.tag + " by keys that are calculated when it runs");
  if (plan->kind == WritePlan::Kind::kQuery) lines.push_back(t.tag + " of each row of a query by its key");
  for (const WritePlan::Part& part : plan->parts)
    lines.push_back(t.tag + (part.partition ? " in range " + part.partition->range.to_string() + " at " +
                                                  this->place(part.partition->range)
                                            : std::string(" in a new partition")));
  co_return lines;
}

Result<std::string> copied_select(const Translated& copy) {
  if (copy.copy->query_sql.empty()) {
    std::string list;
    for (const std::string& column : copy.copy->columns)
      list += (list.empty() ? "" : ", ") + pgtree::quote_name(column);
    return "SELECT " + (list.empty() ? "*" : list) + " FROM " + pgtree::quote_name(copy.copy->table);
  }
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(copy.source));
  return pgtree::deparse(*tree.statements()[0]->stmt->copy_stmt->query);
}

}  // namespace outlast::sql
