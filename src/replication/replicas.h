#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "replication/leader.h"
#include "replication/lease_mover.h"
#include "replication/parameters.h"
#include "replication/replica_state.h"
#include "replication/scrubber.h"
#include "replication/transport.h"
#include "storage/log_writer.h"

namespace outlast::replication {

class RangeMachine;

struct RangeStats {
  RangeId range;
  Epoch epoch;
  bool leading{false}, serving{false};
  Lsn durable, end;
};
struct ReplicasStats {
  std::size_t replicas{0}, leases{0};
  std::vector<RangeStats> ranges;
};

/// All replicas of this node and the leases it holds. Event-driven on one loop: follows the range records and fences in
/// the metadata store, the connections and messages of its peers, and its own disk; nothing here blocks, reads a clock
/// of its own or costs time while its ranges are idle. docs/replication.md has the rules.
/// Thread-safety: find() from any thread, everything else on the loop. Lifetime: everything in Deps outlives this
/// object and all LeasedRanges; destroy it on the loop. Callbacks that it was given may then never run.
class Replicas final : public LeaseDirectory {
 public:
  struct Deps {
    Loop& loop;
    storage::ReplicaStore& store;
    storage::LogWriter& logs;
    Workers& workers;
    meta::Store& meta;
    Transport& transport;
    NodeDirectory& nodes;
    EncodePages encode;
    RequestOf request_of;
    std::function<Instant()> lease_deadline;  ///< Until when fast reads are allowed; asked from any thread.
    /// All reads are confirmed by the in-sync replicas, whatever the deadline says; asked from any thread.
    std::function<bool()> confirm_all_reads = [] { return false; };
    /// A range began or ceased to be served here; on the loop.
    std::function<void(RangeId, Epoch, bool leading)> on_leases_changed = {};
    std::function<void(RangeId, const Error&)> on_replica_damaged = {};
    /// This incarnation is fenced: it is finished for ever. On the loop.
    std::function<void()> on_fenced = {};
    /// The metadata record of a range is certainly older than what the replica here accepted.
    std::function<void(RangeId, const Error&)> on_record_regressed = {};
    /// The disk failed a sync or a write of this range (A4.8): this process has to end, for what it reads from the
    /// store need not be on the disk. Its replica is out of use already, and `marked`: in later processes too. On the
    /// loop.
    std::function<void(RangeId, const Error&, bool marked)> on_disk_failure = {};
    /// For the bytes of snapshots, which would keep other work of the store waiting; null: `workers`.
    Workers* copiers = nullptr;
  };
  Replicas(Deps deps, Identity self, Parameters parameters, PlantedBugs bugs = {});
  ~Replicas() override;

  /// Opens what the store holds and follows the metadata from now on.
  void start();
  void peer_up(NodeId node, Incarnation incarnation);
  void peer_down(NodeId node);
  void on_message(NodeId from, Incarnation incarnation, proto::RangeMessage message);
  /// A node begins or ceases to leave service: leaseholders look at their members again.
  void nodes_changed();
  /// Whether the store's disk is out of room but for what recovery needs. To be said now and then: a write that failed
  /// for want of space counts as `low` until then.
  void set_disk_low(bool low);

  /// One step of placement, at the leaseholder. kNotLeaseholder elsewhere; kInvalidState when a precondition of
  /// protocol A3 fails. Returns when the record is changed, not when a learner caught up.
  void place(placement::Step step, Callback<void> done);
  /// Moves the lease to a live in-sync member. kDeadline: a write transaction stayed open; nothing has changed.
  void transfer(RangeId range, NodeId target, Callback<void> done);
  /// Moves all leases that this node serves, see LeaseMover. Calls back with the outcome when none is left to move.
  /// Returns the mover: its progress may be read and it may be stopped, on the loop.
  std::shared_ptr<LeaseMover> transfer_all(LeaseTransferOptions options, Callback<LeaseTransferProgress> done);
  /// Holds all ranges served here (Leader::hold), until end_hold() or another process leads them: for a handover
  /// (A8.3).
  void hold_leases();
  void end_hold();
  /// Hash of the database file here: of the leaseholder at its end, of a backup at what it knows to be durable.
  void digest(RangeId range, Callback<storage::Digest> done);
  /// Comparing replicas while commits go on: the followers hold, the leaseholder's digest names an LSN, and each
  /// follower gives its own at exactly that one (see HeldReplica::digest_at).
  void hold_apply(RangeId range, Duration at_most);
  void digest_at(RangeId range, Lsn lsn, Callback<storage::Digest> done);
  /// The replicas here of these ranges; of all when the list is empty.
  std::vector<ReplicaState> states(const std::vector<RangeId>& only) const;
  /// Gives leases to live in-sync members as far as possible within `limit`, then closes all gates for ever. Value: how
  /// many leases were still here.
  void shutdown(Duration limit, Callback<std::size_t> done);
  /// Reads all replicas again and again to find damage (Scrubber): so many bytes a second, 0 = not at all.
  void set_scrub_rate(std::uint64_t bytes) { scrubber_->set_rate(bytes); }
  std::uint64_t scrub_passes() const { return scrubber_->passes(); }
  ReplicasStats stats() const;
  /// Parameters::snapshot_rate, from now on.
  void set_snapshot_rate(std::uint64_t bytes_a_second) {
    node_->parameters.snapshot_rate = bytes_a_second;
    node_->snapshots->set_rate(bytes_a_second);
  }

  Result<LeasedRangePtr> find(RangeId range, Epoch epoch) const override;

 private:
  void on_ranges(const meta::WatchBatch& batch);
  void on_fences(const meta::WatchBatch& batch);
  void on_range_record(const meta::KeyValue& kv);
  void add_fence(const std::string& key);
  void publish(RangeId range, LeasedRangePtr served);
  RangeMachine* machine(RangeId range) const;
  std::shared_ptr<RangeMachine> make_machine(RangeId range);
  void stop_all(const Error& why);
  void end_shutdown(Callback<std::size_t> done);

  Deps deps_;
  std::unique_ptr<RecordWriter> records_;
  std::unique_ptr<RemovalSweep> sweep_;
  std::unique_ptr<Scrubber> scrubber_;
  std::shared_ptr<NodeContext> node_;
  std::map<RangeId, std::shared_ptr<RangeMachine>> machines_;
  std::vector<meta::Store::WatchId> watches_;
  bool stopped_{false};
  Loop::TimerId shutdown_timer_{0};
  std::shared_ptr<char> alive_ = std::make_shared<char>();

  mutable std::mutex mutex_;
  std::map<RangeId, LeasedRangePtr> served_;  ///< Guarded by mutex_.
};

}  // namespace outlast::replication
