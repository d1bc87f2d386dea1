#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "executor/value.h"

namespace outlast::gateway {

/// What SHOW lists of the cluster.
enum class Listing : std::uint8_t { kNodes, kRanges, kTasks, kPartitions, kFrontends, kBackends, kComputeNodes };

struct ListingColumn {
  enum class Kind : std::uint8_t { kText, kInteger, kBoolean } kind{Kind::kText};
  const char* name{""};
};
using ListingRow = std::vector<executor::Value>;

/// SHOW `word`, small letters, "compute nodes" included; nullopt for a word that lists nothing.
std::optional<Listing> find_listing(std::string_view word);
/// The columns of every row, in this order. A value is of its column's kind, a boolean an integer 0 or 1, or null.
std::span<const ListingColumn> listing_columns(Listing listing);

}  // namespace outlast::gateway
