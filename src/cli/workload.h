#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cli/workload_outcome.h"

namespace outlast::cli {

/// What a load is made of. Every database gets the tables of both kinds; client i works on database i mod databases,
/// starts at url i mod urls, and is a bank client when `bank` is on and (`append` is off or i is odd).
struct WorkloadPlan {
  std::vector<std::string> urls;
  int databases{1};
  int clients{8};
  int accounts{100};
  bool bank{true};
  bool append{true};
  std::uint64_t seed{1};
  std::int64_t run{1};  ///< Marks this run's rows, so that runs may share tables.
  Duration statement_timeout{std::chrono::seconds(30)};
  bool naive{false};     ///< Clients repeat nothing, and count an error of any kind as a failure.
  Duration lifetime{0};  ///< Longest life of a connection: its client closes it between transactions. 0: no limit.
  Duration pause{0};     ///< Mean pause of a client between two transactions.
  std::function<bool(std::size_t url)>
      in_service{};  ///< As a balancer sees it: no new connection elsewhere. Empty: all.
  std::string database(int index) const { return "load_" + std::to_string(index % databases + 1); }
};
inline constexpr std::int64_t kOpeningBalance = 1000;

/// Creates the databases and tables that are missing and fills the accounts; with `drop` makes everything anew.
Result<void> workload_init(const WorkloadPlan& plan, bool drop);

/// One row that a client tried to write: an appended row, or the record of a transfer.
struct RowKey {
  int client{0};
  std::int64_t seq{0};
  friend auto operator<=>(const RowKey&, const RowKey&) = default;
};
struct WrittenRow {
  RowKey key;
  RowFate fate{RowFate::kUnknown};
};
enum class RowKind : std::uint8_t { kAppended, kTransfer };
/// All that one client tried to write, in order of seq.
struct ClientJournal {
  int client{0};
  RowKind kind{RowKind::kAppended};
  std::string database;
  std::vector<WrittenRow> rows;
};

/// Runs the clients, each on a thread of its own, until stop(). Append clients insert one row a statement, never retry,
/// and read back what was acknowledged; bank clients move money in transactions and retry 40001 as any application
/// must. Lifetime: `record` outlives the load.
class WorkloadRun {
 public:
  WorkloadRun(WorkloadPlan plan, LoadRecord& record);
  ~WorkloadRun();  ///< stop().
  void start();
  /// Lets every client end its statement or transaction, waits for them, and leaves their journals complete.
  void stop();
  /// Only after stop().
  const std::vector<ClientJournal>& journals() const { return journals_; }

 private:
  WorkloadPlan plan_;
  LoadRecord& record_;
  std::atomic<bool> stopping_{false};
  std::vector<ClientJournal> journals_;
  std::vector<std::jthread> threads_;
};

/// "run database kind client seq fate" lines, so that `workload verify` can check a run of another process.
Result<void> write_journals(const std::string& path, std::int64_t run, const std::vector<ClientJournal>& journals);
struct JournalFile {
  std::int64_t run{0};
  std::vector<ClientJournal> journals;
};
Result<JournalFile> read_journals(const std::string& path);

}  // namespace outlast::cli
