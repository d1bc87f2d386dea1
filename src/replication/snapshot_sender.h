#pragma once
#include "replication/held_replica.h"

namespace outlast::replication {

/// Sends one learner a copy of the database file at one LSN, piece by piece, each after the receiver asked for it: the
/// receiver's disk is the brake, and Parameters::snapshot_rate. Waits its turn when this node sends enough snapshots
/// already. Thread-safety: loop only. Destroying it ends the sending.
class SnapshotSender : public std::enable_shared_from_this<SnapshotSender> {
 public:
  /// `done` runs when the receiver has installed the file, or with the error that ended it.
  SnapshotSender(std::shared_ptr<HeldReplica> held, placement::ReplicaRef to, proto::RangeMessage header,
                 std::string config, Callback<void> done);
  ~SnapshotSender();
  void start();
  void on_ack(const proto::SnapshotAck& ack);

 private:
  void open();
  void send_when_due(std::uint64_t offset);
  void send(std::uint64_t offset);
  void finish(Result<void> result);

  const std::shared_ptr<HeldReplica> held_;
  const placement::ReplicaRef to_;
  const proto::RangeMessage header_;
  const std::string config_;
  Callback<void> done_;
  std::shared_ptr<storage::SnapshotSource> source_;
  bool counted_{false};
  Instant due_{};  ///< When the rate allows the next piece.
};

}  // namespace outlast::replication
