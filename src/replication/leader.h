#pragma once
#include "placement/planner.h"
#include "replication/member.h"
#include "replication/read_rounds.h"
#include "replication/snapshot_sender.h"

namespace outlast::replication {

class StalledRange;

/// What a leader needs of the machine around it.
class LeaderHost {
 public:
  virtual ~LeaderHost() = default;
  virtual const placement::RangeConfig& record() const = 0;
  /// Compare-and-swap from record() to `next`; one at a time (see changing()). The leader has adopted the new record
  /// when `done` reports success.
  virtual void change(placement::RangeConfig next, std::vector<meta::Compare> also, Callback<void> done) = 0;
  virtual bool changing() const = 0;
  /// The leadership ended: by a newer epoch (`retire`), or by the leader's own wish.
  virtual void leadership_over(const Error& why) = 0;
  /// This replica's disk lost committed entries: `holder` knows better.
  virtual void give_up_to(NodeId holder) = 0;
};

/// One leadership, from the record that names this incarnation until the next epoch: brings all of S' to this log's end
/// (A4.3 iv, v), then opens the database and serves; ships commits; counts acknowledgements; removes members that do
/// not answer and promotes learners that caught up; transfers the lease.
/// Thread-safety: loop only. Lifetime: shared with its callbacks; dead after stop().
class Leader : public std::enable_shared_from_this<Leader> {
 public:
  Leader(std::shared_ptr<HeldReplica> held, LeaderHost& host);

  void start();
  void on_message(NodeId from, Incarnation incarnation, proto::RangeMessage message);
  void peer_up(NodeId node);
  void peer_down(NodeId node);
  /// The record changed within this epoch.
  void adopt();
  /// Looks for what an event made possible: a higher durable LSN, serving, the next change.
  void advance();
  void step(placement::Step step, Callback<void> done);
  void transfer(NodeId target, Callback<void> done);
  /// For a handover of a range that no other node can lead: nothing begins on it any more, and what has begun ends.
  void hold();
  void end_hold();
  /// The range was idle for removal.idle: dead members leave S now (A3, lazy removal).
  void remove_dead();
  /// The disk here has no room any more, or has room again.
  void room_changed();
  void digest(Callback<storage::Digest> done);
  /// Ends everything; afterwards callbacks do nothing. Waiters fail with `why`.
  void stop(const Error& why);

  /// Other members that could lead at once: live, in-sync, with all that is durable.
  std::vector<NodeId> successors() const;
  /// Requests a second since this leadership began to serve.
  double heat() const;

  bool serving() const { return served_ != nullptr && opened_; }
  Epoch epoch() const { return epoch_; }
  Lsn durable() const { return held_->durable; }
  const std::map<NodeId, Member>& members() const { return members_; }
  /// Learners whose snapshots have not begun: this node sends others first.
  std::vector<NodeId> copies_in_line() const;

 private:
  struct Transfer;
  using Handler = void (Leader::*)(Member&, proto::RangeMessage&);

  // leader.cc: members, acknowledgements, durable LSN
  void refresh_members();
  void probe(Member& member, storage::LogPosition end);
  void on_activate_ack(Member& member, const proto::ActivateAck& ack);
  void on_mismatch(Member& member, const proto::Mismatch& mismatch);
  void on_refused(Member& member, const proto::Refused& refused);
  void acknowledged(Member& member, Lsn lsn);
  void durable_moved();
  // leader_ship.cc: shipping
  void on_commits();
  void ship(Member& member);
  void ship_all();
  void read_for(Member& member);
  void send_entries(Member& member, const std::vector<storage::LogEntryPtr>& entries);
  bool snapshot_is_shorter() const;
  void need_snapshot(Member& member);
  void snapshot_ended(NodeId id, std::uint64_t stream, const Result<void>& result);
  void trim_recent();
  bool close_enough(const Member& member) const;
  void push_durable();
  void tell_durable(const Member& member);
  // leader_config.cc: changes of the configuration, timers
  void consider();
  bool consider_removal();
  bool consider_promotion();
  bool consider_forgetting();
  bool consider_steps();
  void promoted(NodeId node, Result<void> result);
  Result<placement::RangeConfig> next_for(const placement::Step& step) const;
  bool in_use() const;
  bool unresponsive(const Member& member) const;
  void arm_timer();
  void on_timer();
  void push_config();
  // leader_reads.cc: confirmed reads
  void on_reads();
  void ask_members();
  void ask_member(const Member& member);
  void check_reads();
  void on_reads_timer();
  void end_reads(const Result<void>& outcome);
  // leader_stall.cc: commits that wait for members which do not answer
  void check_stalled();
  bool only_this_disk_waits() const;
  void stall();
  void view_opened(Lsn at, Result<std::shared_ptr<storage::Database>> view);
  void drop_view();
  void progressed();
  void close_gate();
  void reopen_gate();
  bool closing() const { return releasing_ || falling_back_; }
  bool others_can_lead() const;
  bool release();
  // leader_fall_back.cc: entries that cannot be stored, disks without room
  void append_failed(const Error& why);
  void try_fall_back();
  void decide_writes();
  void no_room(const Error& why, void (Leader::*again)());
  void retry_with_room(void (Leader::*again)());
  void check_room();
  void note_room(Member& member, bool low);
  // leader_serve.cc: serving
  void maybe_serve();
  void opened(Result<std::shared_ptr<storage::Database>> database);
  std::shared_ptr<ServedRange> make_served();
  void maybe_checkpoint();
  void checkpoint();
  // transfer.cc
  void transfer_locked(Result<WriterLock::Hold> hold);
  void transfer_step();
  void transfer_done(Result<void> result);

  NodeContext& node() const { return held_->node; }
  Member* find(NodeId id);
  proto::RangeMessage message() const;
  template <class F>
  auto weakly(F work) {  // work(Leader&, args…), unless stopped by then
    return [weak = weak_from_this(), work = std::move(work)](auto&&... args) mutable {
      if (auto me = weak.lock(); me && !me->stopped_) work(*me, std::forward<decltype(args)>(args)...);
    };
  }

  const std::shared_ptr<HeldReplica> held_;
  LeaderHost& host_;
  const Epoch epoch_;
  bool stopped_{false};
  bool recorded_{false};              ///< The epoch is on this disk.
  storage::LogPosition end_;          ///< Where this log ended at the take-over: the new history.
  std::map<NodeId, Member> members_;  ///< All replicas but this one.

  std::deque<storage::LogEntryPtr> recent_;
  std::size_t recent_bytes_{0};

  std::shared_ptr<ServedRange> served_;
  bool opening_{false}, opened_{false};
  Instant opened_at_{};
  bool stalled_{false};  ///< No new writes until everything assigned is durable.
  bool opening_view_{false}, releasing_{false}, falling_back_{false};
  std::shared_ptr<StalledRange> view_;  ///< For reads, while S does not acknowledge.
  Instant release_after_{};
  std::unique_ptr<UndecidedWrites> undecided_;
  Instant pending_since_{};  ///< Since when the oldest entry that is not durable waits; moved with every advance.

  ReadRounds reads_;
  bool confirmed_once_{false};  ///< Only for a planted bug.
  bool remove_dead_{false};     ///< Dead members leave S although nothing waits for them.

  std::optional<NodeId> promoting_;
  Lsn promote_at_{};  ///< The promoting learner must have acknowledged up to here.
  bool promotion_sent_{false};
  std::deque<std::pair<placement::Step, Callback<void>>> steps_;
  std::set<ReplicaId> deleted_;  ///< Removed replicas whose holder says that the data is gone.
  int rf_wanted_;

  std::shared_ptr<Transfer> transfer_;
  bool held_back_{false};  ///< hold() closed the gate.
  std::map<NodeId, std::shared_ptr<SnapshotSender>> snapshots_;
  Loop::TimerId timer_{0}, push_timer_{0}, checkpoint_timer_{0};
  std::size_t since_checkpoint_{0};
  bool checkpointing_{false};
};

}  // namespace outlast::replication
