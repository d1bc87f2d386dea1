#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/loop.h"
#include "meta/tasks.h"
#include "proto/peer.pb.h"
#include "tasks/decommission_task.h"

namespace outlast::server {

/// The leader frontend's duty of decommissions: one tasks::DecommissionTask for each that is under way. It reads the
/// stored tasks again with every look, so that a new holder of the office, or a wish that an operator stored meanwhile,
/// is followed from what is there; it keeps nothing of its own but what failed a moment ago.
/// Thread-safety: loop only. Lifetime: what the ports use outlives it.
class TaskRunner {
 public:
  struct Ports {
    std::function<bool()> in_office;
    std::function<bool()> metadata;  ///< The metadata store answers.
    std::function<std::vector<meta::TaskMirror::EntryPtr>()> tasks;
    std::function<placement::ClusterView()> view;
    /// What no view says of a node.
    std::function<lifecycle::LeavingNode(NodeId)> facts;
    struct Settings {
      placement::TargetRules targets;
      std::uint64_t rate_max{0};
    };
    std::function<Settings()> settings;
    /// Asks the leaseholder of the step's range; the callback comes on the loop.
    std::function<void(const placement::Step&, Callback<void>)> take;
    /// Carries out an order for a node of the task, under a compare of the office and of the task as it was read.
    std::function<void(const meta::TaskMirror::EntryPtr&, const lifecycle::DecommissionOrder&,
                       const lifecycle::LeavingNode&, Callback<void>)>
        order;
    /// A task stalls, or goes on after a stall (reason kNone): one line for operators.
    std::function<void(std::uint64_t task, const lifecycle::Obstacle&)> report;
  };
  TaskRunner(Loop& loop, Ports ports, std::uint64_t seed);
  ~TaskRunner();
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  void start();
  /// Something changed: look soon instead of at the next tick.
  void nudge();
  /// Some task is under way here.
  bool busy() const { return !running_.empty(); }
  /// Marks the ranges that tasks move, for plan(). While a task is paused, nobody but plan() repairs its ranges.
  void claim(placement::ClusterView& view) const;
  /// How far a task is; false when it does not run here.
  bool describe(std::uint64_t task, proto::TaskStatus& out) const;

 private:
  struct Running {
    meta::TaskMirror::EntryPtr stored;
    tasks::DecommissionTask task;
    lifecycle::StallReason told{lifecycle::StallReason::kNone};
    Instant told_at{};
    bool paused() const { return stored->value.state == meta::TaskState::kPaused; }
  };
  void tick();
  void schedule(Duration delay);
  void read_tasks();
  void advance(Running& running, const placement::ClusterView& view, std::set<RangeId>& asked);
  std::vector<NodeId> leaving_by_others(const Running& running) const;
  void take(std::uint64_t task, const placement::Step& step);
  void carry_out(Running& running, const lifecycle::DecommissionOrder& order);
  void tell_stall(Running& running);

  Loop& loop_;
  const Ports ports_;
  SeededRandom random_;
  std::map<std::uint64_t, Running> running_;
  Loop::TimerId timer_{0};
  Instant due_{}, rest_until_{};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
