#pragma once
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"

namespace outlast::lifecycle {

/// Statements of gateways up to one instant, as they count them.
struct StatementCounts {
  std::vector<std::pair<double, double>> up_to;  ///< Seconds and how many took no longer; the last has no limit.
  double errors{0};
  void add(const StatementCounts& other);
};

/// What clients felt between two instants.
struct Felt {
  double statements{0}, per_second{0}, errors{0};
  double p50_ms{0}, p99_ms{0}, p999_ms{0};  ///< Upper ends of the steps that they fell into.
  friend bool operator==(const Felt&, const Felt&) = default;
};
/// Whether an error with this SQLSTATE is the cluster's fault: not the statement's, not its client's, and no session
/// that was told to go at a safe point (57P01) or asked to try another node (57P03).
bool is_clusters_fault(std::string_view sqlstate);
Felt felt_between(const StatementCounts& from, const StatementCounts& to, Duration time);

}  // namespace outlast::lifecycle
