#pragma once
#include "compute/plan.h"
#include "gateway/session.h"
#include "proto/exec.pb.h"

/// Plans and their rows between nodes.
namespace outlast::compute {

proto::Compute to_proto(const Plan& plan);
Plan from_proto(proto::Compute from);
gateway::Rows to_rows(proto::ExecReply reply);
proto::ExecReply to_reply(Result<gateway::Rows> rows);
/// `nothing_applied`: certain, because a query changes nothing.
proto::ExecReply to_reply(const Error& error);

}  // namespace outlast::compute
