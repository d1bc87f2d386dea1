#include "storage/log_writer.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace outlast::storage {
namespace {

/// One call: entries with a callback, or a task.
struct Job {
  std::vector<LogEntryPtr> entries;
  Callback<Lsn> synced;
  Task task;
};

/// What was queued for one replica, on its way to the disk together.
class Round {
 public:
  explicit Round(Replica& replica) : replica_(replica) {}

  void take(Job& job) {
    if (job.task) {
      sync();
      std::exchange(job.task, {})();  // what it kept is not kept until the round is over
      return;
    }
    auto appended = job.entries.empty() ? Result<void>() : replica_.append(job.entries);
    if (!appended.ok()) {
      job.synced(std::move(appended).error());
      return;
    }
    waiting_.emplace_back(replica_.log_end().lsn, std::move(job.synced));
  }

  void sync() {
    if (waiting_.empty()) return;
    const auto synced = replica_.sync();
    // The last callback may free the replica.
    for (auto& [lsn, callback] : std::exchange(waiting_, {})) {
      if (synced.ok())
        callback(lsn);
      else
        callback(synced.error());
    }
  }

 private:
  Replica& replica_;
  std::vector<std::pair<Lsn, Callback<Lsn>>> waiting_;
};

/// Each replica with work stands in `ready_` once; a thread takes it, does all that is queued for it as one round, and
/// puts it back at the end of the line when more has come meanwhile. So one range's commits share a sync, ranges do not
/// wait for each other, and what several threads sync at once the kernel writes with one flush of the disk.
class ThreadLogWriter final : public LogWriter {
 public:
  explicit ThreadLogWriter(std::size_t threads) {
    for (std::size_t i = 0; i < threads; ++i)
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "log");
        run_loop();
      });
  }
  ~ThreadLogWriter() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void submit(Replica& replica, std::vector<LogEntryPtr> entries, Callback<Lsn> synced) override {
    push(replica, {std::move(entries), std::move(synced), {}});
  }
  void run(Replica& replica, Task task) override { push(replica, {{}, {}, std::move(task)}); }

 private:
  void push(Replica& replica, Job job) {
    {
      const std::lock_guard lock(mutex_);
      const auto [queue, fresh] = queues_.try_emplace(&replica);
      queue->second.push_back(std::move(job));
      if (!fresh) return;  // stands in line, or is being worked on
      ready_.push_back(&replica);
    }
    wake_.notify_one();
  }

  void run_loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !ready_.empty(); });
      if (ready_.empty()) return;
      Replica* const replica = ready_.front();
      ready_.pop_front();
      std::vector<Job> jobs = std::exchange(queues_.at(replica), {});
      lock.unlock();
      work(*replica, jobs);
      jobs.clear();  // what the jobs keep alive is freed outside of the lock
      lock.lock();
      // By now the address may belong to another replica; what is queued under it has to be done all the same.
      if (queues_.at(replica).empty())
        queues_.erase(replica);
      else
        ready_.push_back(replica);
    }
  }

  static void work(Replica& replica, std::vector<Job>& jobs) {
    Round round(replica);
    for (Job& job : jobs) round.take(job);
    round.sync();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  /// Present as long as a replica stands in line or is worked on.
  std::unordered_map<Replica*, std::vector<Job>> queues_;
  std::deque<Replica*> ready_;
  bool ending_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<LogWriter> make_log_writer(std::size_t threads) {
  return std::make_unique<ThreadLogWriter>(threads);
}

}  // namespace outlast::storage
