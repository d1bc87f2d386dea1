#pragma once
#include "placement/range_config.h"
#include "storage/replica.h"

namespace outlast::replication {

/// Where a learner stands in receiving a snapshot.
struct SnapshotReceiver {
  placement::ReplicaRef ref;
  storage::SnapshotPoint point;
  std::uint64_t file_size{0};
  std::uint64_t next{0};
};

}  // namespace outlast::replication
