#pragma once
#include <deque>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "storage/log_writer.h"
#include "tests/sim/world.h"

namespace outlast::sim {

/// A machine's boot clock: runs at its own rate, which may change, and goes on while processes are stopped. Its wall
/// clock jumps.
class MachineClock {
 public:
  MachineClock(World& world, Duration ahead)
      : world_(world), world_base_(world.now()), local_base_(world.now() + ahead) {}
  Instant now() const { return local_base_ + Duration((world_.now() - world_base_).count() * ppm_ / kMillion); }
  /// World time in which this clock moves by `local`, rounded up.
  Duration in_world(Duration local) const;
  void set_rate(std::int64_t ppm_off);
  std::int64_t rate() const { return ppm_ - kMillion; }
  std::int64_t wall_offset_micros{0};

 private:
  static constexpr std::int64_t kMillion = 1'000'000;
  World& world_;
  Instant world_base_, local_base_;
  std::int64_t ppm_{kMillion};
};

/// The loop of one run of one process, on its machine's clock. It can be stopped (SIGSTOP): what comes due meanwhile
/// waits; also in the middle of a step, whenever the step looks at the clock or writes to the disk. After end() nothing
/// runs any more and everything that is planned is forgotten at once.
class ProcessLoop final : public Loop {
 public:
  ProcessLoop(World& world, Owner owner, MachineClock& clock) : world_(world), owner_(owner), clock_(clock) {}
  ~ProcessLoop() override { end(); }

  Instant now() const override;
  std::int64_t wall_micros() const override;
  void post(Task task) override { plan(Duration{0}, "post", std::move(task)); }
  TimerId after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  bool on_this_loop() const override { return true; }

  /// Runs `task` as part of this process after `delay` of world time.
  void plan(Duration delay, const char* kind, Task task);
  void pause() { paused_ = true; }
  void resume();
  bool paused() const { return paused_; }
  /// Stops here, in the middle of a step, for `d`; the others go on. Does nothing when no step of this process runs.
  void stall(Duration d) const;
  bool stalled() const { return stalled_; }
  /// Asked at every look at the clock; a positive answer stalls for so long.
  std::function<Duration()> stall_at_clock;
  void end();
  /// The process ends with this step: nothing leaves it any more.
  void doom() { doomed_ = true; }
  bool doomed() const { return doomed_; }
  Owner owner() const { return owner_; }
  World& world() const { return world_; }

 private:
  struct Timer {
    Instant due;
    World::EventId event;
    Task task;
  };
  void gate(Task task);
  void fire(TimerId timer);
  void arm(TimerId timer);

  World& world_;
  const Owner owner_;
  MachineClock& clock_;
  TimerId last_timer_{0};
  std::unordered_map<TimerId, Timer> timers_;
  std::deque<Task> deferred_;
  bool paused_{false}, ended_{false}, running_{false}, doomed_{false};
  mutable bool stalled_{false};
};

/// How long things take on one machine, in multiples of the usual.
struct Pace {
  std::uint64_t disk{1}, cpu{1};
};

/// Runs work with the same key in order, one at a time, each after a while.
class SimWorkers final : public Workers {
 public:
  SimWorkers(ProcessLoop& loop, const Pace& pace) : loop_(loop), pace_(pace) {}
  void submit(std::uint64_t key, Task task) override;

 private:
  ProcessLoop& loop_;
  const Pace& pace_;
  std::map<std::uint64_t, Instant> busy_until_;
};

/// What storage's log thread does, in two events: what is queued is appended, then each touched replica is synced once.
class SimLogWriter final : public storage::LogWriter {
 public:
  SimLogWriter(ProcessLoop& loop, const Pace& pace) : loop_(loop), pace_(pace) {}
  void submit(storage::Replica& replica, std::vector<storage::LogEntryPtr> entries, Callback<Lsn> synced) override;
  void run(storage::Replica& replica, Task task) override;

 private:
  struct Job {
    storage::Replica* replica;
    std::vector<storage::LogEntryPtr> entries;
    Callback<Lsn> synced;
    Task task;
  };
  struct Pending {
    storage::Replica* replica;
    std::vector<std::pair<Lsn, Callback<Lsn>>> waiting;
  };
  void wake();
  void round();
  void sync_one(storage::Replica* replica);
  void sync_rest();

  ProcessLoop& loop_;
  const Pace& pace_;
  std::vector<Job> queue_;
  std::vector<Pending> pending_;  ///< In the order of first touch.
  bool busy_{false};
};

}  // namespace outlast::sim
