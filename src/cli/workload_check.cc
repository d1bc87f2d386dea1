#include "cli/workload_check.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/parse.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t kDetailsMax = 20;
constexpr auto kReadTimeout = 120s;

void detail(CheckResult& result, std::string text) {
  if (result.details.size() < kDetailsMax) result.details.push_back(std::move(text));
}

void compare_rows(const std::vector<ClientJournal>& journals, const std::string& database, RowKind kind,
                  const std::vector<RowKey>& present, CheckResult& result) {
  const char* what = kind == RowKind::kAppended ? "row" : "transfer";
  const auto name = [&](RowKey key) { return fmt::format("{}: {} {}/{}", database, what, key.client, key.seq); };
  std::map<RowKey, std::uint64_t> copies;
  for (const RowKey& key : present) ++copies[key];
  for (const auto& [key, count] : copies)
    if (count > 1) {
      ++result.duplicated;
      detail(result, fmt::format("{} is there {} times", name(key), count));
    }
  for (const ClientJournal& journal : journals) {
    if (journal.kind != kind || journal.database != database) continue;
    for (const WrittenRow& row : journal.rows) {
      const bool there = copies.erase(row.key) != 0;
      if (row.fate == RowFate::kAcked) ++result.acked;
      if (row.fate == RowFate::kUnknown) ++result.unknown, result.unknown_applied += there;
      if (row.fate == RowFate::kAcked && !there) {
        ++result.missing;
        detail(result, name(row.key) + " was acknowledged and is missing");
      }
      if (row.fate == RowFate::kRefused && there) {
        ++result.resurrected;
        detail(result, name(row.key) + " was reported as not applied and is there");
      }
    }
  }
  result.unasked += copies.size();
  for (const auto& [key, count] : copies) detail(result, name(key) + " is there and nobody wrote it");
}

void compare_balances(const DatabaseContents& contents, CheckResult& result) {
  if (contents.balances.size() != contents.balances_by_history.size()) {
    ++result.broken_balances;
    return detail(result, contents.database + ": transfers name accounts that do not exist");
  }
  for (std::size_t id = 0; id < contents.balances.size(); ++id)
    if (contents.balances[id] != contents.balances_by_history[id]) {
      ++result.broken_balances;
      detail(result, fmt::format("{}: account {} holds {}, its transfers say {}", contents.database, id,
                                 contents.balances[id], contents.balances_by_history[id]));
    }
  const auto total = std::accumulate(contents.balances.begin(), contents.balances.end(), std::int64_t{0});
  const auto wanted = static_cast<std::int64_t>(contents.balances.size()) * kOpeningBalance;
  if (total == wanted) return;
  ++result.broken_balances;
  detail(result, fmt::format("{}: the balances add up to {}, not {}", contents.database, total, wanted));
}

/// All rows of a query as integers.
Result<std::vector<std::vector<std::int64_t>>> integers(PgConnection& connection, const std::string& sql) {
  const PgReply reply = connection.run(sql, kReadTimeout);
  if (!reply.ok) return Error(Errc::kUnavailable, fmt::format("\"{}\": {} {}", sql, reply.sqlstate, reply.message));
  std::vector<std::vector<std::int64_t>> rows;
  rows.reserve(reply.rows.size());
  for (const auto& row : reply.rows) {
    auto& numbers = rows.emplace_back();
    for (const auto& field : row) {
      ASSIGN_OR_RETURN(const std::int64_t number, parse_int(field.value_or("NULL")));
      numbers.push_back(number);
    }
  }
  return rows;
}

}  // namespace

void CheckResult::merge(const CheckResult& other) {
  acked += other.acked, missing += other.missing, duplicated += other.duplicated;
  resurrected += other.resurrected, unknown += other.unknown, unknown_applied += other.unknown_applied;
  unasked += other.unasked, broken_balances += other.broken_balances;
  for (const std::string& text : other.details) detail(*this, text);
}

CheckResult compare(const std::vector<ClientJournal>& journals, const DatabaseContents& contents) {
  CheckResult result;
  compare_rows(journals, contents.database, RowKind::kAppended, contents.appended, result);
  compare_rows(journals, contents.database, RowKind::kTransfer, contents.transfers, result);
  compare_balances(contents, result);
  return result;
}

Result<DatabaseContents> read_database(const std::string& url, const std::string& database, std::int64_t run) {
  ASSIGN_OR_RETURN(PgConnection connection, PgConnection::connect(url, database, 10s));
  DatabaseContents contents{.database = database};
  ASSIGN_OR_RETURN(const auto begun, integers(connection, "BEGIN"));
  ASSIGN_OR_RETURN(const auto accounts, integers(connection, "SELECT id, balance FROM accounts ORDER BY id"));
  ASSIGN_OR_RETURN(const auto appended,
                   integers(connection, fmt::format("SELECT client, seq FROM appended WHERE run = {}", run)));
  ASSIGN_OR_RETURN(const auto transfers,
                   integers(connection, "SELECT run, client, seq, source, target, amount FROM transfers"));
  ASSIGN_OR_RETURN(const auto ended, integers(connection, "COMMIT"));
  for (const auto& row : appended) contents.appended.push_back({static_cast<int>(row.at(0)), row.at(1)});
  for (const auto& row : accounts) contents.balances.push_back(row.at(1));
  contents.balances_by_history.assign(accounts.size(), kOpeningBalance);
  const auto account = [&](std::int64_t id) -> std::int64_t& {
    auto& all = contents.balances_by_history;
    if (id < 0 || static_cast<std::size_t>(id) >= all.size()) return all.emplace_back();  // compare() names it
    return all[static_cast<std::size_t>(id)];
  };
  for (const auto& row : transfers) {
    if (row.at(0) == run) contents.transfers.push_back({static_cast<int>(row.at(1)), row.at(2)});
    account(row.at(3)) -= row.at(5);
    account(row.at(4)) += row.at(5);
  }
  return contents;
}

}  // namespace outlast::cli
