#pragma once
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "cli/demo/roles/plan.h"

namespace outlast::cli {

/// What the background work of the leader frontend did: rows of a table partitioned by time, which go when they are
/// old. Times are seconds since 1970.
struct ExpirySample {
  double at{0};                  ///< When the table was asked.
  std::uint64_t rows{0};         ///< In it.
  std::optional<double> oldest;  ///< The first row's time; empty: there is none.
};
struct TaskCounts {
  std::uint64_t inserted{0}, expired{0};
  double longest_delay_seconds{0};  ///< Between the end of a partition's time to live and its rows being gone.
  double delay_after_seconds{0};    ///< The same when everything was over.
  bool after_leader_left{false};    ///< Rows written before the leader left went after it.
  std::uint64_t loads_committed{0},
      loads_waiting{0};  ///< Labels whose rows are in; those that still are to be applied.
};
/// Pure. `leader_left`: when, in seconds since 1970; empty: it did not.
TaskCounts count_tasks(std::uint64_t inserted, const std::vector<ExpirySample>& samples, const RolesPlan& plan,
                       std::optional<double> leader_left);

/// Writes rows with the present time and looks which are there, until `stopping`. Blocks.
struct ExpiryClient {
  std::vector<std::string> urls;
  std::string database;
};
struct ExpiryRun {
  std::uint64_t inserted{0};
  std::vector<ExpirySample> samples;
};
ExpiryRun watch_expiry(const ExpiryClient& client, const std::atomic<bool>& stopping);
/// One look.
std::optional<ExpirySample> look_at_expiry(const ExpiryClient& client);

}  // namespace outlast::cli
