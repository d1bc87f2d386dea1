#pragma once
#include "replication/held_replica.h"

namespace outlast::replication {

/// A replica that follows a leaseholder, as member or learner (protocol A4.2, A4.3 iv): refuses older epochs and
/// foreign leaseholders, takes entries that continue its log, and finds with a new leaseholder the last position both
/// share. Thread-safety: loop only.
class Follower : public std::enable_shared_from_this<Follower> {
 public:
  explicit Follower(std::shared_ptr<HeldReplica> held) : held_(std::move(held)) {}

  void on_append(NodeId from, Incarnation incarnation, proto::RangeMessage message);
  void on_activate(NodeId from, Incarnation incarnation, const proto::RangeMessage& message);
  void on_config_push(NodeId from, Incarnation incarnation, const proto::RangeMessage& message);
  /// "Is this still your epoch?" (A4.6 b). No answer while a take-over by this replica is under way.
  void on_confirm_epoch(NodeId from, Incarnation incarnation, const proto::RangeMessage& message);

  /// Take-over (A4.3 i): acknowledges nothing of the present epoch any more. A newer epoch ends it.
  void freeze() { frozen_ = true; }
  /// The take-over did not come off: what was held back is acknowledged now.
  void unfreeze();
  /// Asks the leaseholder for its attention: this replica is ready and may lack entries.
  void say_ready(const placement::RangeConfig& record);
  /// The disk has no room any more, or has room again.
  void room_changed();

 private:
  struct Joined;
  bool speaks(NodeId from, Incarnation incarnation, Epoch epoch, ReplicaId from_replica);
  void join(NodeId from, ReplicaId leader, storage::LogPosition end, std::uint64_t probe);
  void joined(NodeId from, ReplicaId leader, std::uint64_t probe, Joined result);
  void append_failed(NodeId to, ReplicaId leader, const Error& why);
  void note_acked(Lsn lsn);
  void acknowledge(NodeId to, ReplicaId leader, Epoch epoch, Lsn lsn);
  void refuse(NodeId to, ReplicaId leader, Errc code, const std::string& why);
  void report_mismatch(NodeId to, ReplicaId leader);

  const std::shared_ptr<HeldReplica> held_;
  bool frozen_{false};
  std::uint64_t join_{0};  ///< Counts the joins asked for; only the latest one's answer counts.
  bool joining_{false};
  bool no_room_{false};  ///< Refused for want of space; says that it is ready when there is some.
  Epoch acked_epoch_;    ///< Epoch of acked_.
  Lsn acked_{};          ///< Highest LSN acknowledged in it by this process: never cut below in the same epoch.
  NodeId leader_node_;
  ReplicaId leader_replica_;
};

}  // namespace outlast::replication
