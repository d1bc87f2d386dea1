#pragma once
#include "meta/tasks.h"
#include "placement/view.h"
#include "proto/peer.pb.h"
#include "tasks/decommission_task.h"

namespace outlast::server {

/// A task as it is stored, without how far it is. Nodes' memberships and presence come from the view.
proto::TaskStatus describe(const meta::TaskRecord& task, const placement::ClusterView& view);
/// How far a decommission is; `out` is that of describe(). The task may lag behind the record: a node that is settled
/// in `out` stays so.
void add_progress(const tasks::DecommissionTask& task, proto::TaskStatus& out);
/// What the leader frontend said takes the place of what is stored here, of tasks that are not over here. Its copy of
/// the metadata may be the older one: nodes that are settled in `reply` stay so.
void merge_progress(const proto::TasksReply& said, proto::TasksReply& reply);
/// What came of a decommission, in a sentence; every node of it is settled.
std::string outcome_of(const lifecycle::DecommissionRecord& record);

}  // namespace outlast::server
