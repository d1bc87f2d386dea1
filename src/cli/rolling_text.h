#pragma once
#include <map>
#include <string>

#include "lifecycle/rolling_record.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

// What people read of a rolling restart. All pure.

/// Two lists: who may stop together now, and why not more.
std::string safe_to_stop_text(const proto::SafeToStopReply& reply);
/// The batches as they would go, and who is left out.
std::string rolling_plan(const proto::RollingRestartReply& reply);
/// The command of the task for one node: {node} and {address} are filled in.
std::string command_for(std::string command, const proto::NodeStatus& node);

/// Lines that say what has happened since the last look.
class RollingProgress {
 public:
  /// Complete lines to show now, mostly none.
  std::string take(const proto::TaskStatus& task, const lifecycle::RollingRecord& record);

 private:
  std::string nodes_of(const lifecycle::RollingRecord& record);

  std::map<NodeId, lifecycle::RollingStep> steps_;
  std::string waiting_, state_;
  bool baseline_{false}, first_{true};
  double worst_ms_{0};
};

}  // namespace outlast::cli
