#include "tests/sim/process_loop.h"

namespace outlast::sim {
using namespace std::chrono_literals;

Duration MachineClock::in_world(Duration local) const {
  const Duration sane = std::min<Duration>(local, 100h);
  return Duration((sane.count() / ppm_) * kMillion + (sane.count() % ppm_) * kMillion / ppm_ + 1);
}

void MachineClock::set_rate(std::int64_t ppm_off) {
  local_base_ = now();
  world_base_ = world_.now();
  ppm_ = kMillion + ppm_off;
}

Instant ProcessLoop::now() const {
  const Instant seen = clock_.now();
  if (running_ && !stalled_ && stall_at_clock)
    if (const Duration d = stall_at_clock(); d > Duration{0}) stall(d);
  return seen;  // what was read before the stop is what the process goes on with
}

std::int64_t ProcessLoop::wall_micros() const {
  const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(clock_.now() - World::kStart);
  return 1'700'000'000'000'000 + passed.count() + clock_.wall_offset_micros;
}

Loop::TimerId ProcessLoop::after(Duration delay, Task task) {
  if (ended_) return 0;
  const TimerId id = ++last_timer_;
  const Duration sane = std::min<Duration>(std::max(delay, Duration{0}), 100h);
  timers_.emplace(id, Timer{clock_.now() + sane, 0, std::move(task)});
  arm(id);
  return id;
}

void ProcessLoop::arm(TimerId timer) {
  Timer& t = timers_.at(timer);
  t.event = world_.plan(owner_, clock_.in_world(t.due - clock_.now()), "timer",
                        [this, timer] { gate([this, timer] { fire(timer); }); });
}

void ProcessLoop::fire(TimerId timer) {
  const auto it = timers_.find(timer);
  if (it == timers_.end()) return;                       // cancelled while the process was stopped
  if (clock_.now() < it->second.due) return arm(timer);  // the clock has slowed down meanwhile
  Task task = std::move(it->second.task);
  timers_.erase(it);
  task();
}

void ProcessLoop::cancel(TimerId timer) {
  const auto it = timers_.find(timer);
  if (it == timers_.end()) return;
  world_.cancel(it->second.event);
  const Task dropped = std::move(it->second.task);
  timers_.erase(it);
}

void ProcessLoop::plan(Duration delay, const char* kind, Task task) {
  if (ended_) return;
  world_.plan(owner_, delay, kind, [this, task = std::move(task)]() mutable { gate(std::move(task)); });
}

void ProcessLoop::gate(Task task) {
  if (ended_ || doomed_) return;  // a doomed process ends with the step that it is in
  if (paused_ || stalled_) return deferred_.push_back(std::move(task));
  running_ = true;
  task();
  running_ = false;
}

void ProcessLoop::resume() {
  paused_ = false;
  if (stalled_) return;  // goes on when the step does
  for (Task& task : std::exchange(deferred_, {})) plan(Duration{0}, "late", std::move(task));
}

void ProcessLoop::stall(Duration d) const {
  if (!running_ || stalled_) return;
  stalled_ = true;
  world_.run_for(d);
  stalled_ = false;
  auto* self = const_cast<ProcessLoop*>(this);
  if (!paused_) self->resume();
}

void ProcessLoop::end() {
  ended_ = true;
  // What is dropped may cancel timers or plan more, which is then forgotten too.
  while (!timers_.empty() || !deferred_.empty()) {
    std::vector<Task> dropped;
    for (auto& [id, timer] : timers_) dropped.push_back(std::move(timer.task));
    timers_.clear();
    for (Task& task : std::exchange(deferred_, {})) dropped.push_back(std::move(task));
  }
  world_.drop(owner_);
}

void SimWorkers::submit(std::uint64_t key, Task task) {
  World& world = loop_.world();
  Instant& until = busy_until_[key];
  until = std::max(until, world.now()) + world.between(20us, 1500us * pace_.disk);
  loop_.plan(until - world.now(), "worker", std::move(task));
}

void SimLogWriter::submit(storage::Replica& replica, std::vector<storage::LogEntryPtr> entries, Callback<Lsn> synced) {
  queue_.push_back({&replica, std::move(entries), std::move(synced), {}});
  wake();
}

void SimLogWriter::run(storage::Replica& replica, Task task) {
  queue_.push_back({&replica, {}, {}, std::move(task)});
  wake();
}

void SimLogWriter::wake() {
  if (busy_ || queue_.empty()) return;
  busy_ = true;
  loop_.plan(loop_.world().between(5us, 100us * pace_.disk), "log append", [this] { round(); });
}

void SimLogWriter::round() {
  for (Job& job : std::exchange(queue_, {})) {
    if (job.task) {
      sync_one(job.replica);
      job.task();
      continue;
    }
    auto appended = job.entries.empty() ? Result<void>() : job.replica->append(job.entries);
    if (!appended.ok()) {
      job.synced(std::move(appended).error());
      continue;
    }
    auto it = std::find_if(pending_.begin(), pending_.end(), [&](auto& p) { return p.replica == job.replica; });
    if (it == pending_.end()) it = pending_.insert(it, Pending{job.replica, {}});
    it->waiting.emplace_back(job.replica->log_end().lsn, std::move(job.synced));
  }
  loop_.plan(loop_.world().between(20us, 800us * pace_.disk), "log sync", [this] { sync_rest(); });
}

void SimLogWriter::sync_one(storage::Replica* replica) {
  const auto it = std::find_if(pending_.begin(), pending_.end(), [&](auto& p) { return p.replica == replica; });
  if (it == pending_.end()) return;
  Pending mine = std::move(*it);
  pending_.erase(it);
  const auto synced = replica->sync();
  for (auto& [lsn, callback] : mine.waiting) callback(synced.ok() ? Result<Lsn>(lsn) : Result<Lsn>(synced.error()));
}

void SimLogWriter::sync_rest() {
  while (!pending_.empty()) sync_one(pending_.front().replica);
  busy_ = false;
  wake();
}

}  // namespace outlast::sim
