#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "replication/parameters.h"
#include "replication/request_id.h"
#include "storage/log_entry.h"

namespace outlast::replication {

class RequestWindow;

/// What the windows of a node share: how long ids are kept, and how much memory all of them may use together.
/// Thread-safety: any thread. Lifetime: shared by the windows.
struct RequestMemory {
  RequestOf request_of;
  Duration keep = std::chrono::seconds(120);  ///< resolve.window
  std::size_t bytes_max = 64U << 20;
  PlantedBugs bugs = {};
  std::atomic<std::size_t> bytes{0};

  bool full() const { return bytes.load(std::memory_order_relaxed) > bytes_max; }
  bool nearly_full() const { return bytes.load(std::memory_order_relaxed) > bytes_max / 16 * 15; }
  /// Lets go of what all windows have kept for long enough; ranges without commits do not do so by themselves.
  void sweep(Instant now);

  std::mutex mutex;  ///< Of `windows`. Taken before a window's own.
  std::unordered_set<RequestWindow*> windows;
  Instant swept{};
};

/// The ids of the latest writes of one replica, with their outcomes, in memory (protocol A5.6): every entry that its
/// log got since `begin`, less those kept for resolve.window, less the oldest when memory is short. `forgotten()` says
/// up to where ids may be missing: a question that this line does not answer is never answered by "not applied" alone.
/// A leaseholder's commits come in through assign, a follower's through note; both are told of every cut.
/// Thread-safety: any thread. Time is passed in.
class RequestWindow {
 public:
  /// Position up to which ids may be missing, and when the last of them was learned here at the latest.
  struct Forgotten {
    Lsn lsn;
    Epoch epoch;
    Instant learned{};
  };
  struct Told {
    RequestAnswer answer;
    bool older_may_tell{false};  ///< The log may hold what memory does not: see fill.
  };
  using Entry = std::pair<storage::LogPosition, storage::RequestOutcome>;

  RequestWindow(std::shared_ptr<RequestMemory> memory, const storage::LogPosition& end, Instant now);
  ~RequestWindow();
  RequestWindow(const RequestWindow&) = delete;
  RequestWindow& operator=(const RequestWindow&) = delete;

  /// A follower's log gets this entry.
  void note(const storage::LogEntry& entry, Instant now);
  /// The log was cut: nothing above `lsn` counts any more.
  void cut(Lsn lsn);
  /// The leaseholder gives this commit its LSN. Refused (kStaleEpoch) when its gateway was told that it is not
  /// applied: this and ask() exclude each other, so one of the two comes first for good.
  Result<void> assign(const storage::LogPosition& at, storage::RequestOutcome outcome, Instant now);
  /// As assign, before the work is done.
  Result<void> accepts(const RequestId& id) const;
  /// Answers from memory, for a leaseholder that serves in `epoch`. A request of this epoch that is not found is
  /// poisoned: assign refuses it from now on.
  Told ask(const RequestQuestion& question, Epoch epoch, Instant now);
  /// What the log holds after `start` up to `end`, ascending: remembered again as far as memory allows. Ignored when
  /// more than `end` was forgotten meanwhile.
  void fill(const storage::LogPosition& start, Lsn end, std::vector<Entry> older, Instant now);
  Forgotten forgotten() const;
  std::size_t size() const;
  /// See RequestMemory::sweep.
  void evict(Instant now);

 private:
  struct Kept {
    Lsn lsn;
    Epoch epoch;
    Instant learned;
    storage::RequestOutcome outcome;
  };
  static std::size_t bytes_of(const Kept& kept);
  void push(Kept kept);
  void evict_locked(Instant now);
  void drop_front();
  void drop_above(Lsn lsn);
  const Kept* find(const RequestId& id) const;

  const std::shared_ptr<RequestMemory> memory_;
  mutable std::mutex mutex_;
  std::deque<Kept> kept_;  ///< By LSN, ascending.
  std::unordered_map<RequestId, Lsn> index_;
  Forgotten forgotten_;
  Epoch poisoned_epoch_;  ///< Of `poisoned_`: requests of other epochs are refused by their epoch.
  std::unordered_set<RequestId> poisoned_;
  Instant filled_{};  ///< Last time that fill ran.
};

}  // namespace outlast::replication
