#pragma once
#include <string>

#include "cli/table.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

// What people read of the cluster's tasks. All pure.

/// One row a task, as they come.
Table task_table(const proto::TasksReply& tasks);
/// One task: what it is, how far, and what it waits for.
std::string task_text(const proto::TaskStatus& task);

}  // namespace outlast::cli
