#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// What `range ls` leaves out.
struct RangeFilter {
  std::int64_t node{0};  ///< 0: any. Its in-sync replicas, learners, and those that are removed and not deleted yet.
  bool under_replicated{false}, in_trouble{false};
  bool admits(const proto::RangeStatus& range) const;
};

/// The ranges that `which` names (a number or a database; empty: all) and that belong to `database`, by number.
/// kNotFound when something was named and is not there.
Result<std::vector<proto::RangeStatus>> find_ranges(const std::string& host, const std::string& which,
                                                    const std::string& database);

// The larger commands of the group have files of their own.
void add_range_verify(Commands& all);
void add_range_recover(Commands& all);

}  // namespace outlast::cli
