#pragma once
#include "lifecycle/decommission.h"
#include "placement/mover.h"

namespace outlast::tasks {

/// The task of a decommission: what its machine orders, what its mover asks for, and what either needs of the other.
/// Still pure: the caller brings the view and carries everything out, each change of the metadata under a compare of
/// the office and of the task's record. Thread-safety: none.
class DecommissionTask {
 public:
  struct PlantedBugs {
    lifecycle::DecommissionMachine::PlantedBugs machine;
    placement::Mover::PlantedBugs mover;
  };
  struct Settings {
    placement::TargetRules targets;
    placement::MoverLimits limits;
    std::uint64_t rate_max{0};  ///< kv.snapshot_rebalance.max_rate.
  };
  struct Todo {
    std::vector<lifecycle::DecommissionOrder> orders;
    std::vector<placement::Step> steps;  ///< For the ranges' leaseholders.
  };
  DecommissionTask(lifecycle::DecommissionRecord record, const Settings& settings)
      : DecommissionTask(std::move(record), settings, PlantedBugs()) {}
  DecommissionTask(lifecycle::DecommissionRecord record, const Settings& settings, const PlantedBugs& bugs)
      : rate_max_(settings.rate_max),
        machine_(std::move(record), bugs.machine),
        mover_(settings.targets, settings.limits, bugs.mover) {}

  /// `nodes`: one for each of the record's nodes, with what no view says: fenced, tasks, buffers and the drain. The
  /// rest is filled in from the view. `metadata`: it answers; else nothing but the time is looked at. `others`: nodes
  /// that other tasks take out at the same time.
  Todo advance(Instant now, const placement::ClusterView& view, std::vector<lifecycle::LeavingNode> nodes,
               bool metadata, Random& random, std::span<const NodeId> others = {});
  /// Of those of the record that are marked, as the last advance() saw them: nodes whose replicas are to leave.
  std::vector<NodeId> leaving() const { return machine_.leaving(seen_); }
  /// New rules for targets and a new rate; limits stay.
  void set(const placement::TargetRules& targets, std::uint64_t rate_max) {
    rate_max_ = rate_max;
    mover_.set_rules(targets);
  }
  void answered(const lifecycle::DecommissionOrder& order, const Result<void>& result, Instant now) {
    machine_.answered(order, result, now);
  }
  void answered(const placement::Step& step, const Result<void>& result, Instant now) {
    mover_.answered(step, result, now);
  }
  void replace(lifecycle::DecommissionRecord record) { machine_.replace(std::move(record)); }
  const lifecycle::DecommissionRecord& record() const { return machine_.record(); }
  const lifecycle::DecommissionProgress& progress() const { return machine_.progress(); }
  const placement::MoveState& moves() const { return mover_.state(); }
  /// Of the record's nodes, as the last advance() saw them.
  const std::vector<lifecycle::LeavingNode>& nodes() const { return seen_.nodes; }

 private:
  void look_at_nodes(const placement::ClusterView& view);
  void look_at_moves(const placement::ClusterView& view, std::span<const NodeId> leaving);

  std::uint64_t rate_max_;
  lifecycle::DecommissionMachine machine_;
  placement::Mover mover_;
  lifecycle::DecommissionView seen_;
};

}  // namespace outlast::tasks
