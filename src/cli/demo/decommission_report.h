#pragma once
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo/task_watch.h"

namespace outlast::cli {

/// What a decommissioned node did when somebody came to its doors, and when it was stopped and started.
struct DoorCheck {
  int node{0};             ///< Counted from 1.
  std::string membership;  ///< As the cluster says.
  bool fenced_for_good{false};
  std::optional<bool> sql_refused;  ///< A client that connects or asks for something.
  std::string sql_words;
  int ready_status{0};                          ///< GET /health?ready=1.
  std::optional<double> stopped_after_seconds;  ///< Of SIGTERM.
  std::optional<int> start_code;                ///< What `outlast start` on its store ended with.
  std::string start_words;                      ///< The last of what it wrote.
};

/// One node that leaves a quiet cluster with no limit on copying, beside a plain copy of as many bytes.
struct QuietMove {
  TaskStory task;
  std::uint64_t bytes{0}, files{0};  ///< Of the plain copy.
  double copy_seconds{0};            ///< cp and fsync, median of three.
  std::optional<double> efficiency() const;
};

/// Rows that were there before the load and that nobody changed.
struct BulkCheck {
  std::uint64_t rows{0}, wrong{0};  ///< Wanted; missing or other ones.
};

/// What the scenario decommission adds to the demo's report.
struct DecommissionReport {
  std::vector<int> nodes;     ///< That were to leave, counted from 1.
  bool killed{false};         ///< A third one, while the task ran.
  std::uint64_t rate_max{0};  ///< Bytes a second from one node.
  proto::Preflight preflight;
  std::optional<TaskStory> task;
  std::vector<DoorCheck> doors;
  std::vector<QuietMove> quiet;  ///< One after another.
  std::optional<BulkCheck> bulk;
  /// Median of the quiet moves; empty: there are none, or one was not to the end.
  std::optional<double> efficiency() const;
};

// All of it is pure.

/// What a decommission promises and did not keep, in words; `seconds`: of the load, `p99_ratio`: of the whole run.
void decommission_failures(const DecommissionReport& report, double seconds, std::optional<double> p99_ratio,
                           std::vector<std::string>& why);
/// `efficiency`, `eta_error`, `moved` and `decommission`.
void add_decommission_fields(const DecommissionReport& report, boost::json::object& all);
/// Lines for a person.
std::string decommission_summary(const DecommissionReport& report);

/// Ratios of times are judged from here on: of shorter ones start-up and chance make the most.
inline constexpr double kJudgedSeconds = 60;
inline constexpr std::uint64_t kJudgedBytes = std::uint64_t{1} << 29;

}  // namespace outlast::cli
