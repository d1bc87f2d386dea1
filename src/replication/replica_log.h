#pragma once
#include <memory>
#include <vector>

#include "base/loop.h"
#include "replication/request_window.h"
#include "storage/log_writer.h"

namespace outlast::replication {

/// One replica's log as the loop sees it: what was queued (`tail`), what the disk confirmed (`synced`), and blocking
/// log work whose answers come back to the loop in the order of asking. Callbacks outlive this object's owner: capture
/// weak pointers. Thread-safety: loop only.
class ReplicaLog {
 public:
  ReplicaLog(Loop& loop, storage::LogWriter& port, std::shared_ptr<storage::Replica> replica,
             std::shared_ptr<RequestMemory> memory)
      : loop_(loop),
        port_(port),
        replica_(std::move(replica)),
        tail_(replica_->log_end()),
        synced_(tail_.lsn),
        requests_(std::make_shared<RequestWindow>(std::move(memory), tail_, loop.now())) {}

  /// The latest writes in this log, by the ids of those who asked for them.
  const std::shared_ptr<RequestWindow>& requests() const { return requests_; }

  const storage::LogPosition& tail() const { return tail_; }
  Lsn synced() const { return synced_; }

  /// Queues entries that continue tail(). `done` with the last LSN once they are on disk.
  void append(std::vector<storage::LogEntryPtr> entries, Callback<Lsn> done) {
    for (const storage::LogEntryPtr& entry : entries) requests_->note(*entry, loop_.now());
    tail_ = entries.back()->at;
    port_.submit(
        *replica_, std::move(entries),
        [&loop = loop_, keep = replica_, done = std::move(done)](Result<Lsn> result) mutable {
          loop.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
        });
  }
  /// Runs `work` on the log's thread, after everything queued before.
  template <class T>
  void run(std::move_only_function<Result<T>(storage::Replica&)> work, Callback<T> done) {
    port_.run(*replica_, [&loop = loop_, keep = replica_, work = std::move(work), done = std::move(done)]() mutable {
      Result<T> result = work(*keep);
      keep.reset();  // whoever hears of the result may remove the replica
      loop.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
    });
  }

  void note_synced(Lsn lsn) {
    if (lsn > synced_) synced_ = lsn;
  }
  /// The leader's commits are queued by SQL threads.
  void note_tail(const storage::LogPosition& tail) { tail_ = tail; }
  /// The log was cut, everything in it is synced.
  void note_cut(const storage::LogPosition& end) {
    tail_ = end;
    synced_ = end.lsn;
    requests_->cut(end.lsn);
  }

 private:
  Loop& loop_;
  storage::LogWriter& port_;
  const std::shared_ptr<storage::Replica> replica_;
  storage::LogPosition tail_;
  Lsn synced_;
  const std::shared_ptr<RequestWindow> requests_;
};

}  // namespace outlast::replication
