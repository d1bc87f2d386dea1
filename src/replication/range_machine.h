#pragma once
#include "replication/follower.h"
#include "replication/leader.h"
#include "replication/replica_state.h"
#include "replication/snapshot_receiver.h"

namespace outlast::replication {

/// One range as this node sees it: its record, the local replica (opened, created, removed as the record says), and the
/// role that follows: nothing, follower or learner, taking over, leader. Decides who takes over and when (A3, A4.3,
/// A4.7). Costs nothing while idle: no timer, no thread.
/// Thread-safety: loop only. Lifetime: shared with its callbacks; does nothing after stop().
class RangeMachine final : public LeaderHost, public std::enable_shared_from_this<RangeMachine> {
 public:
  RangeMachine(std::shared_ptr<NodeContext> node, RangeId range);
  ~RangeMachine() override;

  /// The store holds a replica of this range from earlier: open it.
  void open_existing(storage::ReplicaIdentity identity);
  void on_record(const placement::RangeConfig& config, Revision revision);
  /// The record is absent in a full state of the metadata: checked again linearizably, then the local data goes.
  void on_record_gone();
  /// A fence or somebody's liveness changed.
  void evaluate();
  void on_message(NodeId from, Incarnation incarnation, proto::RangeMessage message);
  void peer_up(NodeId node);
  void peer_down(NodeId node);
  /// The disk has no room any more, or has room again.
  void room_changed();
  /// For ever: this incarnation is fenced or the process ends.
  void stop(const Error& why);

  std::shared_ptr<Leader> leader() const { return leader_; }
  std::shared_ptr<HeldReplica> held() const { return held_; }
  bool has_record() const { return record_.has_value(); }
  void digest(Callback<storage::Digest> done);
  /// Comparing replicas while commits go on: hold what is applied, then bring it to exactly `lsn`.
  void hold_apply(Duration at_most);
  void digest_at(Lsn lsn, Callback<storage::Digest> done);
  /// None when nothing of the range is here.
  std::optional<ReplicaState> state() const;

  // LeaderHost
  const placement::RangeConfig& record() const override { return record_->config; }
  void change(placement::RangeConfig next, std::vector<meta::Compare> also, Callback<void> done) override;
  bool changing() const override { return changing_; }
  void leadership_over(const Error& why) override;
  void give_up_to(NodeId holder) override;

 private:
  enum class Storage : std::uint8_t { kNone, kBusy, kOpen, kDamaged };
  struct Heard {
    Epoch record_epoch;
    storage::LogPosition end;
  };

  // range_machine.cc: record, messages
  void took_record(const placement::RangeConfig& config, Revision revision);
  bool is_mine(const placement::RangeConfig& config) const;
  void refresh_record();
  void refuse(NodeId to, const proto::RangeMessage& message, Errc code, const std::string& why);
  // range_storage.cc: the local replica
  bool ensure_replica();
  void create(placement::ReplicaRef ref);
  void opened(placement::ReplicaRef ref, Result<std::shared_ptr<storage::Replica>> replica);
  void hold(placement::ReplicaRef ref, std::shared_ptr<storage::Replica> replica);
  void damaged(const Error& why);
  void disk_failed(const Error& why);
  bool may_salvage() const;
  void salvage();
  void stand_down();
  void drop_replica();
  void confirm_and_drop();
  void on_snapshot_chunk(NodeId from, Incarnation incarnation, proto::RangeMessage message);
  void install(NodeId from, ReplicaId leader, const SnapshotReceiver& received);
  // takeover.cc
  bool leaderless() const;
  bool may_take_over() const;
  Duration takeover_delay() const;
  Duration recovery_delay();
  void schedule_takeover();
  void take_over();
  void take_over_answered(Result<void> result);
  void lead();
  void send_recovery_state(NodeId to);
  // range_inspect.cc: what operators are shown; metadata that went back
  ReplicaState::Role role() const;
  bool behind_accepted() const;
  void watch_regression();
  void check_regression();
  void record_lost(const Error& why);
  void regressed(const std::string& why);
  void clear_regression();

  const std::shared_ptr<NodeContext> keep_;
  NodeContext& node_;
  const RangeId range_;
  std::optional<RangeRecord> record_;
  bool stopped_{false};
  bool gone_{false};  ///< The range was dropped: its id never comes back.
  Storage storage_{Storage::kNone};
  int drops_refused_{0};                        ///< The files of the replica that left are in use still.
  bool salvaged_{false};                        ///< Tried once in this process.
  std::optional<placement::ReplicaRef> local_;  ///< The replica on this disk.
  std::shared_ptr<HeldReplica> held_;
  std::shared_ptr<Follower> follower_;
  std::shared_ptr<Leader> leader_;
  std::optional<SnapshotReceiver> receiver_;
  std::uint64_t installing_{0};  ///< Size of the file that takes the replica's place just now.
  bool changing_{false};
  bool taking_over_{false};
  Epoch said_ready_;            ///< Epoch whose leaseholder was told that this replica is open.
  Instant stand_down_again_{};  ///< Not before it.
  bool checking_{false};        ///< A linearizable read of the record is under way.
  Epoch ended_;                 ///< Latest epoch in which this process's leadership ended.
  Loop::TimerId takeover_timer_{0};
  Instant takeover_at_{};
  Epoch recovery_epoch_;  ///< Epoch for which recovery_since_ counts.
  Instant recovery_since_{};
  std::map<NodeId, Heard> heard_;
  std::string trouble_;    ///< Why the replica is damaged or refuses; for operators.
  bool regressed_{false};  ///< The metadata record is certainly older than what this replica accepted.
  Loop::TimerId regression_timer_{0};
};

}  // namespace outlast::replication
