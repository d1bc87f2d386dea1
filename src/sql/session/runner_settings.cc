// SET, RESET, SHOW, and what concerns the cluster as a whole.
#include <algorithm>

#include "base/parse.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using Kind = StatementKind;
namespace {
bool is_per_transaction(std::string_view name) {
  return name.starts_with("transaction_");
}
}  // namespace

Result<Started> StatementRunner::run_setting(const Translated& t) {
  const std::string tag = t.tag.empty() ? (t.kind == Kind::kSet ? "SET" : "RESET") : t.tag;
  if (t.kind == Kind::kReset) {
    if (t.all)
      s_.settings.reset_all();
    else
      TRY(s_.settings.reset(t.name));
  } else {
    const bool local = t.local || is_per_transaction(t.name);
    if (local && !s_.in_transaction())
      s_.warning(Errc::kNoActiveTransaction,
                 std::string(t.local ? "SET LOCAL" : "SET TRANSACTION") + " can only be used in transaction blocks");
    TRY(s_.settings.set(t.name, t.value, local));
  }
  apply_limits(s_);
  return Started{std::nullopt, tag};
}

Result<Started> StatementRunner::show(const Translated& t) const {
  if (t.all || t.name == "all") {
    std::vector<std::vector<Value>> rows;
    for (SettingShown& s : s_.settings.show_all()) rows.push_back({s.name, s.value, s.help});
    return Started{RowStream::local({"name", "setting", "description"}, std::vector<PgType>(3), rows), "SHOW"};
  }
  ASSIGN_OR_RETURN(const SettingShown shown, s_.settings.show(t.name));
  return Started{RowStream::local({shown.name}, std::vector<PgType>(1), {{shown.value}}), "SHOW"};
}

Result<Started> StatementRunner::show_cluster(const Translated& t) const {
  if (!t.name.empty()) {
    ASSIGN_OR_RETURN(const std::string value, s_.host.cluster.setting(t.name));
    return Started{RowStream::local({t.name}, std::vector<PgType>(1), {{value}}), "SHOW"};
  }
  std::vector<std::vector<Value>> rows;
  for (const gateway::SettingRow& s : s_.host.cluster.settings())
    rows.push_back({s.name, s.value, s.type, s.default_value, s.help});
  return Started{RowStream::local({"variable", "value", "setting_type", "default_value", "description"},
                                  std::vector<PgType>(5), rows),
                 "SHOW"};
}

RowStream StatementRunner::listing_stream(const Translated& t, const std::vector<gateway::ListingRow>& rows) {
  std::vector<std::string> names;
  std::vector<PgType> types;
  for (const gateway::ListingColumn& column : gateway::listing_columns(*gateway::find_listing(t.name))) {
    using Of = gateway::ListingColumn::Kind;
    names.emplace_back(column.name);
    types.push_back({column.kind == Of::kText ? oid::kText : column.kind == Of::kInteger ? oid::kInt8 : oid::kBool});
  }
  return RowStream::local(std::move(names), std::move(types), rows);
}

asio::awaitable<Result<Started>> StatementRunner::show_listing(Translated t) {
  auto rows = co_await s_.host.cluster.list(*gateway::find_listing(t.name));
  if (!rows.ok()) co_return std::move(rows).error();
  if (t.name == "partitions")  // of this database, and of the table that is named
    std::erase_if(*rows, [&](const gateway::ListingRow& row) {
      return row[0] != Value(s_.gateway->database()) || (!t.value.empty() && row[1] != Value(t.value));
    });
  co_return Started{listing_stream(t, *rows), "SHOW"};
}

asio::awaitable<Result<Started>> StatementRunner::run_cluster(Translated t) {
  gateway::Cluster& cluster = s_.host.cluster;
  Result<void> done;
  if (t.kind == Kind::kSetClusterSetting) done = co_await cluster.set_setting(t.name, t.value);
  if (t.kind == Kind::kResetClusterSetting) done = co_await cluster.reset_setting(t.name);
  if (t.kind == Kind::kSetReplicationFactor) {
    const auto replicas = parse_int(t.value);
    if (!replicas.ok() || *replicas < 0 || *replicas > 7)
      co_return Error(Errc::kInvalidArgument, "replication_factor is a number of replicas: 1, 2, 3, 5 or 7");
    done = co_await cluster.set_replication_factor(t.name, static_cast<int>(*replicas));
  }
  if (t.kind == Kind::kCreateDatabase) {
    done = co_await cluster.create_database(t.name);
    if (!done.ok() && done.error().code == Errc::kDuplicateDatabase && t.if_not_exists) {
      s_.notice("database \"" + t.name + "\" already exists, skipping");
      done = {};
    }
  }
  if (!done.ok()) co_return std::move(done).error();
  co_return Started{std::nullopt, t.tag};
}

asio::awaitable<Result<Started>> StatementRunner::drop_database(Translated t) {
  if (t.name == s_.gateway->database())
    co_return Error(Errc::kObjectInUse,
                    "cannot drop the currently open database: connect to another one first, then drop it");
  auto done = co_await s_.host.cluster.drop_database(t.name);
  if (!done.ok() && done.error().code == Errc::kUndefinedDatabase && t.if_exists) {
    s_.notice("database \"" + t.name + "\" does not exist, skipping");
    done = {};
  }
  if (!done.ok()) co_return std::move(done).error();
  co_return Started{std::nullopt, t.tag};
}

}  // namespace outlast::sql
