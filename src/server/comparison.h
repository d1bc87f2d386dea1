#pragma once
#include "placement/range_config.h"
#include "proto/peer.pb.h"
#include "server/range_admin.h"

namespace outlast::server {

/// Compares all replicas of a range byte for byte at one LSN, while commits go on: the followers are told to apply
/// nothing more, the leaseholder hashes its file and so names the LSN, each follower applies exactly up to it and
/// hashes its own. The reply names who differs from the others and who could not be compared within `limit`, with why;
/// it has an error when nothing could be compared. Calls back on the loop.
void compare_replicas(RangeAdmin& admin, const placement::RangeConfig& config, Duration limit,
                      Callback<proto::VerifyRangeReply> done);

/// Marks who differs: those outside the largest group with one content; the leaseholder's wins a tie. Only digests
/// without an error count. Pure.
void judge(proto::VerifyRangeReply& reply, NodeId leaseholder);

}  // namespace outlast::server
