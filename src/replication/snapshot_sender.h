#pragma once
#include "replication/held_replica.h"

namespace outlast::replication {

/// Sends one learner a copy of the database file at one LSN, in pieces, so far ahead of the receiver's answers as it
/// said that it takes, and as fast as the node's snapshots may go together (SnapshotLine). The first piece goes alone:
/// its answer says how much of the file is there from an earlier try. Waits its turn when this node sends enough
/// snapshots already. Thread-safety: loop only. Destroying it ends the sending.
class SnapshotSender : public std::enable_shared_from_this<SnapshotSender> {
 public:
  /// `done` runs when the receiver has installed the file, or with the error that ended it.
  SnapshotSender(std::shared_ptr<HeldReplica> held, placement::ReplicaRef to, proto::RangeMessage header,
                 std::string config, Callback<void> done);
  ~SnapshotSender();
  void start();
  void on_ack(const proto::SnapshotAck& ack);
  /// Others of this node go first.
  bool waits() const { return held_->node.snapshots->waits(ticket_); }

 private:
  void open();
  void opened(std::shared_ptr<storage::SnapshotSource> source);
  void pump();
  void send(std::uint64_t from, std::uint64_t to);
  void finish(Result<void> result);
  void tell_times() const;

  const std::shared_ptr<HeldReplica> held_;
  const placement::ReplicaRef to_;
  proto::RangeMessage header_;  ///< Of every piece.
  Callback<void> done_;
  std::shared_ptr<storage::SnapshotSource> source_;
  SnapshotLine::Ticket ticket_{0};
  std::uint64_t next_{0};    ///< Sent up to here, or being sent.
  std::uint64_t acked_{0};   ///< The receiver has it up to here.
  std::uint64_t window_{0};  ///< It takes so many bytes more without having answered; 0: one piece.
  bool sending_{false};      ///< Pieces are being read, or their time has not come.
  struct Times {
    Instant joined, begun, opened, sent;
  } times_;  ///< For the log.
};

}  // namespace outlast::replication
