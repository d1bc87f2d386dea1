#pragma once
#include "cli/workload.h"

namespace outlast::cli {

/// What one database holds, read through one node in one transaction.
struct DatabaseContents {
  std::string database;
  std::vector<RowKey> appended, transfers;        ///< Of the run that is checked; repeats stay in.
  std::vector<std::int64_t> balances;             ///< By account.
  std::vector<std::int64_t> balances_by_history;  ///< Opening balance and all transfers of all runs.
};

/// Promises kept and broken.
struct CheckResult {
  std::uint64_t acked{0};
  std::uint64_t missing{0};      ///< Acknowledged, and not there.
  std::uint64_t duplicated{0};   ///< There more than once.
  std::uint64_t resurrected{0};  ///< Reported as certainly not applied, and there.
  std::uint64_t unknown{0}, unknown_applied{0};
  std::uint64_t unasked{0};          ///< There, and nobody wrote it.
  std::uint64_t broken_balances{0};  ///< Accounts that contradict their history, or sums that are wrong.
  std::vector<std::string> details;  ///< The first few, for people.
  bool passed() const { return missing + duplicated + resurrected + unasked + broken_balances == 0; }
  void merge(const CheckResult& other);
};

/// Compares what clients were told with what is there. Pure.
CheckResult compare(const std::vector<ClientJournal>& journals, const DatabaseContents& contents);

/// Errors: the node does not answer, or not all tables are there.
Result<DatabaseContents> read_database(const std::string& url, const std::string& database, std::int64_t run);

}  // namespace outlast::cli
