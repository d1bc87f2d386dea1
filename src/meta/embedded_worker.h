#pragma once
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "meta/embedded.h"
#include "meta/meta_file.h"
#include "meta/poke.h"

namespace outlast::meta {

/// Where the worker's news go: implemented by the store, which posts them to the Loop.
class EmbeddedSink {
 public:
  virtual ~EmbeddedSink() = default;
  virtual void answer(Task task) = 0;  ///< A callback with its result bound.
  virtual void deliver(Store::WatchId id, WatchBatch batch) = 0;
  virtual void connection(bool connected) = 0;
};

/// The thread of the embedded store: commits queued transactions in groups, follows the commits of other processes
/// and cuts the history. One loop, one SQLite connection: a slow disk delays everything in order and nothing overtakes.
/// Thread-safety: submit(), add_watch(), drop_watch() and compact() from any thread; the sink is called from the
/// worker.
class EmbeddedWorker {
 public:
  static Result<std::unique_ptr<EmbeddedWorker>> start(const std::filesystem::path& dir, EmbeddedOptions options,
                                                       EmbeddedSink& sink);
  /// Joins the thread. Requests that have not begun are dropped.
  ~EmbeddedWorker();

  void submit(Txn txn, Duration timeout, Callback<TxnReply> done);
  void add_watch(Store::WatchId id, std::string prefix);
  void drop_watch(Store::WatchId id);
  void compact(std::uint64_t keep, Callback<Revision> done);

 private:
  using Clock = std::chrono::steady_clock;
  struct Request {
    Txn txn;
    Clock::time_point deadline;
    Callback<TxnReply> done;
    std::optional<Result<TxnReply>> result;
  };
  struct Compaction {
    std::uint64_t keep;
    Callback<Revision> done;
  };
  struct Watch {
    Store::WatchId id;
    std::string prefix;
    bool started{false};
    Revision seen;  ///< Told everything up to here, once started.
  };
  struct Inbox {  ///< What other threads ask for.
    std::deque<Request> requests;
    std::vector<Watch> watches;
    std::vector<Store::WatchId> dropped;
    std::vector<Compaction> compactions;
    bool stop{false};
  };
  EmbeddedWorker(EmbeddedOptions options, EmbeddedSink& sink, std::unique_ptr<MetaFile> file,
                 std::unique_ptr<PokeSocket> poke, int wake_fd);

  void run();
  void wait();
  bool take_inbox();
  void wake();
  // Commits.
  void commit_group();
  Result<void> run_group(std::vector<Request>& group, bool& busy, bool& changed);
  void run_one(Request& request, Revision& revision);
  void finish(std::vector<Request>& group, const Result<void>& outcome);
  void expire(Clock::time_point now);
  void compact_all();
  Result<Revision> compact_one(std::uint64_t keep);
  void set_connected(bool connected);
  // Watches.
  void pump();
  Result<void> pump_in_transaction();
  void tell(Watch& watch, const std::vector<Event>& events, Revision now);

  const EmbeddedOptions options_;
  EmbeddedSink& sink_;
  const std::unique_ptr<MetaFile> file_;
  const std::unique_ptr<PokeSocket> poke_;
  const int wake_fd_;
  std::mutex mutex_;
  Inbox inbox_;  ///< Guarded by mutex_.
  // The worker's own.
  std::deque<Request> pending_;
  std::vector<Compaction> compactions_;
  std::vector<Watch> watches_;
  std::uint64_t data_version_{0};
  bool pump_needed_{true};
  bool busy_{false};  ///< Another process writes: try again soon.
  bool connected_{true};
  std::minstd_rand jitter_{std::random_device{}()};
  std::thread thread_;
};

}  // namespace outlast::meta
