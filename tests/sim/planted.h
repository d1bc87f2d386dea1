#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "replication/parameters.h"
#include "tests/sim/membership.h"

namespace outlast::sim {

/// The switches of planted bugs in all rooms. All off is the product.
struct Planted {
  replication::PlantedBugs replication;
  bool ungated_errors{false};        ///< Executor: an error leaves before what it tells about is durable.
  bool observer_timer_kept{false};   ///< Observer: the return of the metadata restarts no timer.
  bool deadline_from_answer{false};  ///< Renewer: the lease is counted from the answer, not from the send.
  bool frames_as_written{false};     ///< Storage: a commit's pages are taken from SQLite's writes in their order.
  MembershipBugs membership;         ///< Decisions of a decommission, and the world around them.
};

/// A bug of protocol A12's list (or of our own finding) and how the simulator finds it.
struct PlantedBug {
  std::string_view name;
  std::string_view what;
  std::string_view scenario;  ///< Where it shows soonest.
  void (*plant)(Planted&);
  std::uint64_t first_seed;
  int histories_max;  ///< It must be found within so many.
};
const std::vector<PlantedBug>& planted_bugs();
const PlantedBug* find_planted(std::string_view name);

}  // namespace outlast::sim
