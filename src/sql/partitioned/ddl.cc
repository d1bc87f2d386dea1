#include "sql/partitioned/ddl.h"

#include <numeric>
#include <set>

#include "executor/row_batch.h"
#include "fragments/create.h"
#include "pgtree/parse.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
using Kind = PartitionedDdl::Kind;

/// The last name of a DROP's object: {"public", "t"} → "t".
std::string object_name(const pgtree::Node* node) {
  if (node->node_case != PG_NODE(LIST)) return {};
  const auto names = pgtree::strings(PG_LIST(node->list, items));
  return names.empty() ? std::string() : names.back();
}

Result<PartitionedDdl> read_drop(const PgQuery__DropStmt& stmt, const gateway::PartitionedTables& tables) {
  PartitionedDdl out;
  for (const pgtree::Node* node : PG_LIST(&stmt, objects)) {
    const std::string name = object_name(node);
    if (stmt.remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE && tables.contains(name))
      out = {.kind = Kind::kDrop, .table = name, .index = {}};
    if (stmt.remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX)
      out = {.kind = Kind::kIndex, .table = {}, .index = name};
  }
  if (out.kind == Kind::kDrop && stmt.n_objects > 1)
    return Error(Errc::kSyntax, "drop partitioned tables one at a time: table \"" + out.table +
                                    "\" lies in several ranges, and no transaction covers them together");
  return out;
}

/// Changes of one table by its own name, and everything else that names one.
Result<PartitionedDdl> read_change(const pgtree::Node& node, const std::set<std::string>& named) {
  const std::string table = *named.begin();
  if (named.size() > 1)
    return Error(Errc::kSyntax, "change partitioned tables one at a time: no transaction covers several ranges");
  if (node.node_case == PG_NODE(TRUNCATE_STMT) && node.truncate_stmt->n_relations > 1)
    return Error(Errc::kSyntax, "truncate table \"" + table +
                                    "\" in a statement of its own: it is partitioned, and no transaction covers "
                                    "several ranges");
  if (node.node_case == PG_NODE(TRUNCATE_STMT) && node.truncate_stmt->restart_seqs)
    return Error(Errc::kSyntax, "partitioned tables have no sequences: leave out RESTART IDENTITY");
  if (node.node_case == PG_NODE(RENAME_STMT) && node.rename_stmt->rename_type != PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN)
    return Error(Errc::kSyntax, "partitioned tables cannot be renamed: each partition has the table under its name");
  if (node.node_case == PG_NODE(INDEX_STMT) || node.node_case == PG_NODE(ALTER_TABLE_STMT) ||
      node.node_case == PG_NODE(RENAME_STMT) || node.node_case == PG_NODE(TRUNCATE_STMT))
    return PartitionedDdl{.kind = Kind::kChange, .table = table, .index = {}};
  return Error(Errc::kSyntax, "table \"" + table +
                                  "\" is partitioned: views, tables and keys that refer to it are not supported, "
                                  "because its rows lie in other ranges");
}

/// One column of text from the home's schema. In a transaction, whose next statement is going to write.
asio::awaitable<Result<std::vector<std::string>>> texts_at_home(gateway::Session& session, std::string sql,
                                                                std::vector<executor::Value> values) {
  gateway::Statement statement;
  statement.sql = std::move(sql);
  if (!values.empty()) statement.params.push_back(std::move(values));
  statement.tag = "SELECT";
  statement.internal = true;
  statement.takes_lock = session.status() != gateway::TxnStatus::kIdle;
  auto rows = co_await session.run(std::move(statement));
  std::vector<std::string> out;
  for (;;) {
    if (!rows.ok()) co_return std::move(rows).error();
    executor::RowReader reader(rows->bytes, 1);
    for (std::vector<executor::Value> row; !reader.done(); row.clear()) {
      if (auto next = reader.next(row); !next.ok()) co_return std::move(next).error();
      if (auto* text = std::get_if<std::string>(&row.front())) out.push_back(std::move(*text));
    }
    if (rows->portal == 0) co_return out;
    rows = co_await session.fetch(rows->portal, 0);
  }
}

/// Relations and objects of DROP that a statement names.
Result<std::set<std::string>> names_in(const std::string& text) {
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(text));
  std::set<std::string> names;
  for (const PgQuery__RawStmt* raw : tree.statements()) {
    if (raw->stmt->node_case == PG_NODE(DROP_STMT))
      for (const pgtree::Node* node : PG_LIST(raw->stmt->drop_stmt, objects)) names.insert(object_name(node));
    pgtree::for_each_relation(*pgtree::inner(raw->stmt),
                              [&](const PgQuery__RangeVar& relation) { names.insert(relation.relname); });
  }
  return names;
}

Error in_transaction(const std::string& tag) {
  return {Errc::kActiveTransaction, tag +
                                        " of a partitioned table cannot run inside a transaction block: the table "
                                        "lies in several ranges"};
}
}  // namespace

Result<PartitionedDdl> read_partitioned_ddl(const std::string& text, const gateway::PartitionedTables& tables) {
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(text));
  if (tree.statements().size() != 1) return Error(Errc::kInternal, "one statement was expected");
  const pgtree::Node& node = *tree.statements()[0]->stmt;
  if (node.node_case == PG_NODE(DROP_STMT)) return read_drop(*node.drop_stmt, tables);
  std::set<std::string> named;
  pgtree::for_each_relation(*pgtree::inner(&node), [&](const PgQuery__RangeVar& relation) {
    if (tables.contains(relation.relname)) named.insert(relation.relname);
  });
  if (node.node_case == PG_NODE(CREATE_STMT)) named.erase(node.create_stmt->relation->relname);  // "already exists"
  if (named.empty()) return PartitionedDdl{};
  std::map<std::string, fragments::Table> known;
  for (const std::string& name : named) {
    ASSIGN_OR_RETURN(fragments::Scheme scheme, fragments::decode_scheme(tables.find(name)->second.scheme));
    known[name] = {.name = name, .columns = {}, .scheme = std::move(scheme), .partitions = {}};
  }
  TRY(fragments::check_change(text, [&](std::string_view name) -> const fragments::Table* {
    const auto it = known.find(std::string(name));
    return it == known.end() ? nullptr : &it->second;
  }));
  return read_change(node, named);
}

Result<std::vector<std::int64_t>> first_slots(const std::string& text) {
  ASSIGN_OR_RETURN(const fragments::Scheme scheme, fragments::decode_scheme(text));
  std::vector<std::int64_t> slots(static_cast<std::size_t>(scheme.partitions));
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

asio::awaitable<Result<Started>> StatementRunner::create_partitioned(Translated t) {
  auto slots = first_slots(t.value);
  if (!slots.ok()) co_return std::move(slots).error();
  if (t.if_not_exists) {
    auto there = co_await object_exists(t.name);
    if (!there.ok()) co_return std::move(there).error();
    if (*there) {
      s_.notice("relation \"" + t.name + "\" already exists, skipping");
      co_return Started{std::nullopt, t.tag};
    }
  }
  auto made = co_await s_.host.cluster.create_partitioned(s_.gateway->database(),
                                                          {t.name, t.value, *std::move(slots), std::move(t.sql)});
  if (!made.ok()) co_return std::move(made).error();
  co_return Started{std::nullopt, t.tag};
}

/// The home knows best which of its tables are partitioned; a node whose mirror lags must not change one as if it were
/// an ordinary table.
asio::awaitable<Result<void>> StatementRunner::has_heard_of_all(const Translated& t) {
  if (t.tag == "CREATE TABLE") co_return Result<void>();
  auto names = names_in(t.source);
  if (!names.ok()) co_return std::move(names).error();
  const auto tables = s_.host.cluster.partitioned(s_.gateway->database());
  auto homes = co_await texts_at_home(
      *s_.gateway, "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'outlast_home_of_*'", {});
  if (!homes.ok()) co_return std::move(homes).error();
  for (const std::string& name : *homes)
    if (names->contains(name) && !(tables && tables->contains(name)))
      co_return Error(Errc::kSerialization, "table \"" + name +
                                                "\" is partitioned, and this node has not heard of it yet or any more; "
                                                "run the statement again");
  co_return Result<void>();
}

asio::awaitable<Result<std::optional<Started>>> StatementRunner::run_partitioned_ddl(const Translated& t) {
  using Nothing = std::optional<Started>;
  gateway::Cluster& cluster = s_.host.cluster;
  const std::string database = s_.gateway->database();
  if (auto heard = co_await has_heard_of_all(t); !heard.ok()) co_return std::move(heard).error();
  const auto tables = cluster.partitioned(database);
  if (!tables) co_return Nothing();
  auto ddl = read_partitioned_ddl(t.source, *tables);
  if (!ddl.ok()) co_return std::move(ddl).error();
  if (ddl->kind == Kind::kIndex) {
    auto owner = co_await texts_at_home(
        *s_.gateway, "SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?1 COLLATE NOCASE",
        {ddl->index});
    if (!owner.ok()) co_return std::move(owner).error();
    ddl->kind = Kind::kNone;
    if (!owner->empty() && tables->contains(owner->front())) ddl->kind = Kind::kChange, ddl->table = owner->front();
  }
  if (ddl->kind == Kind::kNone) co_return Nothing();
  if (s_.in_transaction()) co_return in_transaction(t.tag);
  if (t.if_not_exists)
    if (auto told = co_await notice_if_present(t.name); !told.ok()) co_return std::move(told).error();
  Result<void> done = ddl->kind == Kind::kDrop
                          ? co_await cluster.drop_partitioned(database, ddl->table)
                          : co_await cluster.change_partitioned(database, ddl->table, {t.tag, t.sql});
  if (!done.ok()) co_return std::move(done).error();
  co_return Started{std::nullopt, complete_tag(t.tag, 0)};
}

}  // namespace outlast::sql
