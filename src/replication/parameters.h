#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "meta/store.h"
#include "placement/range_config.h"
#include "storage/commit_sink.h"

namespace outlast::replication {

/// Protocol A1's table, as far as replication reads it.
struct Parameters {
  Duration ack_timeout = std::chrono::seconds(1);  ///< A member without progress for so long is removed.
  Duration stall = std::chrono::seconds(1);  ///< A commit not durable for so long: no new writes, reads of the prefix.
  Duration stuck = std::chrono::seconds(3);  ///< ... and for so long: another member may lead.
  Duration recovery_wait = std::chrono::seconds(10);         ///< A4.7.
  Duration takeover_step = std::chrono::milliseconds(100);   ///< Delay per position in the order of successors.
  Duration removal_idle = std::chrono::seconds(60);          ///< A3: an idle range keeps a dead member in S so long.
  int removals_per_second = 500;                             ///< ... and then they go so fast, on one node.
  Duration transfer_limit = std::chrono::milliseconds(500);  ///< A7: steps 3 to 7.
  Duration meta_timeout = std::chrono::seconds(2);           ///< For one metadata transaction.
  Duration meta_retry = std::chrono::milliseconds(100);      ///< Until an answer in doubt is asked for again.
  Duration durable_push = std::chrono::milliseconds(20);     ///< Backups learn the durable LSN of an idle range.
  Duration apply_every = std::chrono::milliseconds(500);     ///< Backups write committed pages at least so often.
  Duration checkpoint_idle = std::chrono::seconds(1);        ///< Without commits, before the leader writes its pages.
  std::uint64_t scrub_rate = 1U << 20;                       ///< Bytes a second read to find damage; 0 = none.
  Duration checkpoint_patience = std::chrono::seconds(3);    ///< A checkpoint blocks so long for the last commits.
  std::size_t apply_bytes = 4U << 20;                        ///< ... or after so many bytes of log.
  std::size_t promote_lag = 64U << 10;                       ///< A learner this close is made a member.
  std::size_t window_bytes = 8U << 20;                       ///< Sent and not acknowledged, per member or snapshot.
  std::size_t log_bytes_shipped = 4U << 20;                  ///< A shorter log is no reason to send a snapshot.
  std::size_t batch_bytes = 1U << 20;                        ///< Per Append message and per snapshot piece.
  std::size_t recent_bytes = 32U << 20;                      ///< Log kept in memory for shipping, per range.
  Duration resolve_window = std::chrono::seconds(120);       ///< The ids of writes are kept so long, in memory,
  std::size_t resolve_bytes = 64U << 20;                     ///< ... or until those of all ranges need more than this.
  std::size_t pending_bytes = 64U << 20;                     ///< Not yet durable: beyond this commits are refused.
  std::uint64_t wal_bytes = 4'000U * 4'120U;                 ///< Checkpoint when SQLite's WAL is larger.
  std::uint64_t snapshot_rate = 0;                           ///< Bytes a second of all that this node sends; 0 = any.
  int snapshots_at_once = 8;                                 ///< Sent by this node.
  std::size_t changes_per_batch = 100;                       ///< Of range records, in one metadata transaction.
  int batches_at_once = 8;                                   ///< Metadata transactions with such changes under way.
  int replication_factor = 3;                                ///< Wanted; a range's rf grows to it with its members.
};

/// Who this process is.
struct Identity {
  NodeId node;
  std::string store_uuid;
  Incarnation incarnation;
};

/// What the node knows of the others. Called on the loop only.
class NodeDirectory {
 public:
  virtual ~NodeDirectory() = default;
  /// The incarnation of `node` that may serve now (live, neither fenced nor standby); none when it is silent.
  virtual std::optional<Incarnation> live(NodeId node) const = 0;
  /// The store that `node` registered; empty when unknown.
  virtual std::string store_of(NodeId node) const = 0;
  /// Its process leaves service: it gets neither leases nor learners (A7).
  virtual bool draining(NodeId) const { return false; }
  /// ... and holds no lease any more: leaseholders go on without its replicas in their in-sync sets, where they may.
  virtual bool stepping_out(NodeId) const { return false; }
  /// What the transaction that gives `node` a replica compares, so that none is added to a node that is leaving the
  /// cluster, whatever this process knows of it. kNotFound, kInvalidState: it gets none.
  virtual Result<std::vector<meta::Compare>> admit_replica(NodeId) const { return std::vector<meta::Compare>(); }
  /// Decommissioned: no process ever opens its store again.
  virtual bool gone_for_good(NodeId) const { return false; }
};

/// storage's encoding of a commit (storage/log_format.h).
using EncodePages = std::function<std::string(const storage::CommitPages&)>;

/// Its reverse, for the header alone.
using RequestOf = std::function<Result<storage::RequestOutcome>(std::string_view payload)>;

/// Bugs that tests plant to see that they are found. All off in a node.
struct PlantedBugs {
  bool removal_before_confirmed = false;  ///< Commits stop needing a member when its removal is asked for.
  bool apply_whole_log = false;           ///< A backup applies what is not known to be durable.
  bool cut_to_durable = false;  ///< A follower cuts to what it knows to be durable, not to the last shared entry.
  bool promote_without_union = false;      ///< A learner is promoted though commits did not need it.
  bool ack_before_sync = false;            ///< A backup acknowledges what its disk has not confirmed.
  bool serve_before_all_answered = false;  ///< A new leaseholder serves before all of S' answered.
  bool read_unconfirmed = false;           ///< Past the lease deadline reads are answered all the same.
  bool confirm_once = false;               ///< What the members said once counts for later reads.
  bool request_not_poisoned = false;       ///< "Not applied" is answered and the request may still come.
  bool cut_request_kept = false;           ///< Requests of cut entries are still answered with their outcome.
  bool forgotten_is_absent = false;        ///< What memory does not hold is answered by "not applied".
  bool fall_back_same_epoch = false;       ///< A fall-back begins anew in its old epoch.
  bool cut_own_tail = false;               ///< A new leaseholder cuts its own log to what it knows to be durable.
  bool shrink_to_one = false;              ///< Members that do not answer leave S whatever min_insync says.
  bool view_after_progress = false;        ///< Reads of a stalled range go on at the old LSN when S acknowledges again.
  bool lease_by_node = false;              ///< A lease belongs to a node, whichever process of it asks.
  bool doubt_is_failure = false;           ///< A change of a record whose answer was lost counts as not done.
  bool wiped_keeps_id = false;             ///< A store without the replica that it should hold makes an empty one.
};

}  // namespace outlast::replication
