#include "server/task_progress.h"

#include <gtest/gtest.h>

namespace outlast::server {
namespace {
using lifecycle::DecommissionRecord;

TEST(TaskProgress, OfAnOlderCopyDoesNotUndoWhatIsSettledHere) {
  proto::TasksReply here, leader;
  const auto add = [](proto::TasksReply& reply, std::uint64_t id, std::uint32_t owner, const char* stage) {
    auto& task = *reply.add_tasks();
    task.set_id(id);
    task.set_owner(owner);
    task.set_state(owner == 0 ? "completed" : "running");
    for (const std::uint32_t node : {4, 5}) task.add_nodes()->set_node(node);
    task.mutable_nodes(0)->set_stage(stage);
  };
  add(here, 1, 0, "settled");
  add(here, 2, 3, "settled");
  for (const std::uint64_t id : {1, 2}) {
    add(leader, id, 3, "finishing");
    leader.mutable_tasks()->rbegin()->set_has_progress(true);
    leader.mutable_tasks()->rbegin()->mutable_nodes(1)->set_stage("moving");
  }
  merge_progress(leader, here);
  EXPECT_EQ(here.tasks(0).state(), "completed");
  EXPECT_EQ(here.tasks(0).nodes(0).stage(), "settled");
  EXPECT_TRUE(here.tasks(1).has_progress());
  EXPECT_EQ(here.tasks(1).nodes(0).stage(), "settled");
  EXPECT_EQ(here.tasks(1).nodes(1).stage(), "moving");
}

TEST(TaskOutcome, NamesWhatIsPossiblyLost) {
  DecommissionRecord record;
  record.nodes = {{.node = NodeId(4), .settled = true},
                  {.node = NodeId(5), .settled = true, .in_absentia = true, .possible_loss_bytes = 2048},
                  {.node = NodeId(6), .leave = false, .settled = true}};
  EXPECT_EQ(outcome_of(record),
            "nodes 4, 5 decommissioned; node 6 recommissioned; node 5 was dead: 2 KiB in its ingest buffers are "
            "possibly lost");
}

}  // namespace
}  // namespace outlast::server
