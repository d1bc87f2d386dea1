#pragma once
#include <string>

#include "proto/peer.pb.h"

namespace outlast::cli {

// What people read of a drain. All pure.

/// "node is draining... remaining: 50", with " (complete)" or " (forced)" at its end: the line that scripts know.
std::string drain_line(const proto::DrainStatus& status);
/// Several lines for a terminal: the phase, what is left by kind, speed and time left, and what blocks by name.
std::string drain_details(const proto::DrainStatus& status);
/// After the end: how long each phase took, where the leases went, what became of sessions and statements.
std::string drain_receipt(const proto::DrainStatus& status);
/// What a dry run found.
std::string drain_plan(const proto::DrainStatus& status);
/// "7 connections, 2 transactions, 34 leases"; "nothing".
std::string drain_remaining(const proto::DrainStatus::Remaining& left);
/// A drain that can never end by itself, whatever time it gets: leases that nobody else could take.
bool needs_force(const proto::DrainStatus& status);

}  // namespace outlast::cli
