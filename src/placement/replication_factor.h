#pragma once
#include "placement/range_config.h"

namespace outlast::placement {

/// How many replicas a range gets that should have `wanted`, on `nodes` nodes that can hold one: never more than
/// either. Above three the number is odd, for an even one adds no failure that could be borne. A range of a small
/// cluster has as many as there are nodes.
int affordable_replicas(int wanted, int nodes);

/// What a range of `rf` replicas may be reduced to when only `nodes` nodes are left: 5 to 3, never below 3; `rf` when
/// there is nothing to reduce. Source: seed 003, "Size and replication factor".
int reduced_replicas(int rf, int nodes);

/// The automatic reduction as one change of the record: `leave` goes out of S and of the range, rf becomes `rf` and
/// min_insync with it. Members too many after that leave one by one. Refused when `rf` is not an odd number from 3 up
/// and below the record's, when `leave` leads or is not in sync, or when fewer than `rf` members would stay.
Result<RangeConfig> reduce_replication(const RangeConfig& now, NodeId leave, int rf);

}  // namespace outlast::placement
