#include "storage/log_writer.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

namespace outlast::storage {
namespace {

/// One call: entries with a callback, or a task.
struct Job {
  Replica* replica{nullptr};
  std::vector<LogEntryPtr> entries;
  Callback<Lsn> synced;
  Task task;
};

/// What was appended to one replica in this round and waits for its sync.
struct Pending {
  std::vector<std::pair<Lsn, Callback<Lsn>>> waiting;
};

class ThreadLogWriter final : public LogWriter {
 public:
  ThreadLogWriter() : thread_([this] { run_loop(); }) {}
  ~ThreadLogWriter() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void submit(Replica& replica, std::vector<LogEntryPtr> entries, Callback<Lsn> synced) override {
    push({&replica, std::move(entries), std::move(synced), {}});
  }
  void run(Replica& replica, Task task) override { push({&replica, {}, {}, std::move(task)}); }

 private:
  void push(Job job) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

  void run_loop() {
    for (;;) {
      std::vector<Job> jobs;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
        if (queue_.empty()) return;
        jobs.swap(queue_);
      }
      for (Job& job : jobs) take(job);
      // In the order of first touch; the map is emptied before anybody is called, who may free the replica.
      for (Replica* replica : std::exchange(touched_, {})) sync(*replica);
    }
  }

  void take(Job& job) {
    if (job.task) {
      if (pending_.contains(job.replica)) sync(*job.replica);
      job.task();
      return;
    }
    auto appended = job.entries.empty() ? Result<void>() : job.replica->append(job.entries);
    if (!appended.ok()) {
      job.synced(std::move(appended).error());
      return;
    }
    auto [it, fresh] = pending_.try_emplace(job.replica);
    if (fresh) touched_.push_back(job.replica);
    it->second.waiting.emplace_back(job.replica->log_end().lsn, std::move(job.synced));
  }

  void sync(Replica& replica) {
    auto found = pending_.extract(&replica);
    if (found.empty()) return;  // a task had it synced already
    const auto synced = replica.sync();
    for (auto& [lsn, callback] : found.mapped().waiting) {
      if (synced.ok())
        callback(lsn);
      else
        callback(synced.error());
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> queue_;
  bool ending_{false};
  // Of the thread.
  std::unordered_map<Replica*, Pending> pending_;
  std::vector<Replica*> touched_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<LogWriter> make_log_writer() {
  return std::make_unique<ThreadLogWriter>();
}

}  // namespace outlast::storage
