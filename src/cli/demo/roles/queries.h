#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "cli/demo/roles/exits.h"
#include "cli/demo/roles/plan.h"
#include "cli/pg_connection.h"

namespace outlast::cli {

enum class QueryLength : std::uint8_t { kMedium, kLong };
/// Where the work of a query is done: in fragments where the rows are, or where their rows come together.
enum class QueryKind : std::uint8_t { kScan, kJoin };
struct QueryClass {
  QueryLength length{QueryLength::kMedium};
  QueryKind kind{QueryKind::kScan};
  friend bool operator==(const QueryClass&, const QueryClass&) = default;
};
std::string to_string(QueryClass query);

/// The table that medium and long queries read: rows 0 … kArchiveRows-1, each with the same payload.
inline constexpr int kArchiveRows = 3000;
std::string archive_rows(int from, int count);  ///< INSERT.
/// A query and the only right answer. `effort`: its work is in proportion to it. Pure.
struct HeavyQuery {
  QueryClass type;
  std::string sql, answer;
};
HeavyQuery heavy_query(QueryClass type, std::uint64_t effort);

/// One query of one client. Times count since the load began.
struct QueryRun {
  QueryClass type;
  Duration began{0}, ended{0};
  bool ok{false};
  std::string sqlstate, message;
  bool again{false};  ///< Its client ran it before, and it was cancelled or failed.
};

/// What all clients of medium and long queries saw. Thread-safety: any thread.
class QueryRecord {
 public:
  void began(QueryClass type);
  void ended(QueryRun run);
  std::size_t running(QueryClass type) const;
  std::size_t running() const;
  std::vector<QueryRun> runs() const;
  /// Whether clients of this class begin another query.
  void let(QueryClass type, bool may_begin);
  bool may_begin(QueryClass type) const;

 private:
  mutable std::mutex mutex_;
  std::size_t running_[4]{};
  bool may_begin_[4]{};
  std::vector<QueryRun> runs_;
};

struct QueryCounts {
  std::uint64_t ok{0};
  std::uint64_t failed{0};                ///< Wrong answers, and errors of any other kind.
  std::uint64_t cancelled{0};             ///< Ended by an exit whose window was over, or by their own time limit.
  std::uint64_t retried{0};               ///< Run again by their clients, by hand so to say.
  double seconds_min{0}, seconds_max{0};  ///< Of those that were answered.
  std::vector<std::string> failures;      ///< The first few, for people.
};
/// What became of queries of one length, given the exits during which they ran. Pure.
QueryCounts count_queries(const std::vector<QueryRun>& runs, QueryLength length, const std::vector<ExitTurn>& exits);

/// When the last of those had ended that ran at `at`; empty: none did. Pure.
std::optional<Duration> busy_until(const std::vector<QueryRun>& runs, Duration at);

/// A client that runs one heavy query after another, each on a connection of its own through the next frontend, and
/// one that was cancelled once more. It rests for as long as each took: two processors have others to serve. Blocks
/// until `stopping` and its query is over.
struct QueryClientOptions {
  std::vector<std::string> urls;
  std::function<bool(std::size_t url)> in_service;  ///< As a balancer sees it.
  std::string database;
  HeavyQuery query;
  Duration limit;  ///< statement_timeout.
  std::function<Duration()> now;
};
void run_queries(const QueryClientOptions& options, QueryRecord& record, const std::atomic<bool>& stopping);

}  // namespace outlast::cli
