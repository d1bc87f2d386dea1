#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "proto/range.pb.h"
#include "replication/fall_back.h"
#include "replication/parameters.h"
#include "replication/record_writer.h"
#include "replication/removal_sweep.h"
#include "replication/replica_log.h"
#include "replication/served_range.h"
#include "replication/snapshot_line.h"
#include "replication/transport.h"

namespace outlast::replication {

/// What all replicas of a node share. Owned by Replicas; loop only.
struct NodeContext {
  Loop& loop;
  storage::LogWriter& logs;
  Workers& workers;
  Workers& copiers;  ///< For the bytes of snapshots, which may take long.
  storage::ReplicaStore& store;
  Transport& transport;
  NodeDirectory& nodes;
  RecordWriter* records;  ///< Never null once in use.
  Identity self;
  Parameters parameters;
  PlantedBugs bugs;
  EncodePages encode;
  std::shared_ptr<RequestMemory> requests;
  std::function<Instant()> lease_deadline;
  std::function<bool()> confirm_all_reads;
  std::function<void(RangeId, LeasedRangePtr)> publish;  ///< Null: no longer served.
  std::function<void(RangeId, const Error&)> report_damage;
  std::function<void(RangeId, const Error&)> report_regression;
  std::function<void(RangeId, const Error&, bool marked)> report_disk_failure;  ///< See Replicas::Deps.
  std::function<void(RangeId)> forget;   ///< The range was dropped and nothing of it is left here.
  std::function<void()> note_disk_full;  ///< A write failed for want of space: disk_low, and all ranges hear of it.
  RemovalSweep* sweep;                   ///< Ranges that keep a dead member in S for a while; never null once in use.

  std::map<NodeId, Incarnation> peers;  ///< Connected.
  std::set<std::pair<NodeId, Incarnation>> fences;
  std::shared_ptr<SnapshotLine> snapshots;  ///< That this node sends; never null once in use.
  bool leaving{false};                      ///< The process stops: takes no range over.
  bool disk_low{false};                     ///< The disk has no room for more writes than are under way.

  bool fenced(const placement::Leaseholder& holder) const { return fences.contains({holder.node, holder.incarnation}); }
  /// Is it this very process?
  bool holds(const std::optional<placement::Leaseholder>& lease, const placement::Leaseholder& process) const {
    return lease && (*lease == process || (bugs.lease_by_node && lease->node == process.node));
  }
  /// Runs `work` on the range's worker, `done` back on the loop.
  template <class T>
  void on_worker(RangeId range, std::move_only_function<Result<T>()> work, Callback<T> done) {
    run_on(workers, range, std::move(work), std::move(done));
  }
  /// The same where the bytes of snapshots are read and written.
  template <class T>
  void on_copier(RangeId range, std::move_only_function<Result<T>()> work, Callback<T> done) {
    run_on(copiers, range, std::move(work), std::move(done));
  }

 private:
  template <class T>
  void run_on(Workers& threads, RangeId range, std::move_only_function<Result<T>()> work, Callback<T> done) {
    threads.submit(range.value, [&l = loop, work = std::move(work), done = std::move(done)]() mutable {
      Result<T> result = work();
      work = nullptr;  // whoever hears of the result may remove the replica that it kept
      l.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
    });
  }
};

/// An opened replica of this node: its log, the configuration it accepted, and what it knows to be durable. Applies
/// durable entries to the database file in the background, and only those (invariant I6).
/// Thread-safety: loop only. Lifetime: shared with callbacks under way.
class HeldReplica : public std::enable_shared_from_this<HeldReplica> {
 public:
  HeldReplica(std::shared_ptr<NodeContext> context, placement::ReplicaRef me, RangeId range,
              std::shared_ptr<storage::Replica> opened);

  void send(NodeId to, ReplicaId to_replica, proto::RangeMessage message) const;
  /// What send() writes into every message.
  void address(ReplicaId to_replica, proto::RangeMessage& message) const;
  /// The leaseholder says that `lsn` is durable; counts as far as this log reaches.
  void learn_durable(Lsn lsn);
  /// Applies what is durable now; `done` when it is in the database file.
  void apply_now(Callback<void> done);
  /// Applies nothing more until digest_at was asked or the time has passed.
  void hold_apply(Duration at_most);
  /// Hash of the database file at exactly `lsn`. kNotReady: it is not known to be durable yet, ask again;
  /// kInvalidState: more is applied already, hold first.
  void digest_at(Lsn lsn, Callback<storage::Digest> done);
  /// Entries did not go into the log: asks the disk where it ends.
  void look_up_end();
  /// Damaged from now on, unless it was only for want of space.
  void fail(Error error);

  const std::shared_ptr<NodeContext> keep;
  NodeContext& node;
  const RangeId range;
  const placement::ReplicaRef ref;
  const std::shared_ptr<storage::Replica> replica;
  ReplicaLog log;
  placement::RangeConfig accepted;  ///< Highest accepted (epoch, cfg); epoch 0 before the first.
  Lsn durable;                      ///< Known to be committed; never above the log's tail.
  Epoch followed;                   ///< A leaseholder of this epoch has spoken to this process.
  bool database_open{false};        ///< SQLite may still have the file open.
  bool failed{false};
  std::vector<Callback<void>> rereading;  ///< Who waits for reread_requests.
  std::function<void(const Error&)> on_failure;
  std::function<void()> on_database_closed;
  std::unique_ptr<UndecidedWrites> undecided;  ///< From a leadership that fell back to the next one of this process.

 private:
  void arm_apply();
  void apply(Callback<void> done);
  Lsn apply_limit() const;
  Lsn apply_target_{};
  Lsn held_at_{};         ///< Nothing above is applied ...
  Instant held_until_{};  ///< ... before this time.
  bool applying_{false};
  Loop::TimerId timer_{0};
};

}  // namespace outlast::replication
