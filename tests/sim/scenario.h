#pragma once
#include <string_view>
#include <vector>

#include "tests/sim/cluster.h"

namespace outlast::sim {

/// What may go wrong. Each is drawn with its weight, hits a machine or two drawn at random, and mostly heals by itself.
enum class Fault : std::uint8_t {
  kKill,            ///< kill -9; the supervisor fences and restarts.
  kPowerOff,        ///< Unsynced writes are lost or torn; nobody says so.
  kRestartAll,      ///< Every process, or every machine.
  kCrashyWrites,    ///< For a while each disk write may be the last one.
  kCrashyMessages,  ///< For a while each message may be the last one.
  kCut,             ///< Connections between two machines break.
  kSilence,         ///< One direction lets nothing through.
  kPartition,       ///< One machine, both directions, all others.
  kIsolate,         ///< The same, and the metadata too: only its own clients reach it.
  kFade,            ///< The same, but the metadata first and the others about when its lease ends.
  kIsolateLate,     ///< kIsolate of one whose renewals were answered late.
  kSlowLink,
  kPause,        ///< SIGSTOP.
  kStallInStep,  ///< The same in the middle of what the process does.
  kClockRate,    ///< Within the assumed drift.
  kWallJump,
  kSlowDisk,
  kFullDisk,
  kFullMoment,    ///< Mostly the leaseholder's, for milliseconds: appends fail and it falls back.
  kFailingWrite,  ///< One write or sync fails.
  kBitFlip,       ///< In one range log of one machine of the history.
  kMetaCut,
  kMetaOutage,
  kMetaDoubt,
  kMetaDoubtOfLeader,  ///< Mostly the leaseholder's answers are lost, and its watches are slow to tell.
  kDoubtedPromotion,   ///< The same as soon as there is a learner, whose disk is slow then.
  kMetaSlow,
  kTransfer,
  kRemoveReplica,
  kFenceLive,   ///< Somebody fences a process that lives.
  kWipe,        ///< A machine comes back with an empty disk.
  kWipeRanges,  ///< ... with its identity, and without its replicas.
};

struct Scenario {
  std::string_view name, help;
  std::vector<std::pair<Fault, int>> faults;  ///< With weights.
  Duration gap;                               ///< Between faults, on average.
  Duration length;                            ///< Of the time of trouble.
  bool at_leader{false};                      ///< Clients connect where the range is led.
  bool bulk{false};                           ///< Transactions that spill out of SQLite's page cache.
  bool membership{false};                     ///< Nodes leave; another simulation of its own (membership.h).
};
const std::vector<Scenario>& scenarios();
const Scenario* find_scenario(std::string_view name);

/// Draws a scenario's faults until it is told to stop.
class Trouble {
 public:
  Trouble(Cluster& cluster, const Scenario& scenario) : cluster_(cluster), scenario_(scenario) {}
  void begin() { plan_next(); }
  void stop() { stopped_ = true; }
  /// A disk broke its word: take-overs then need more than what is left of S.
  bool disk_betrayed() const { return betrayed_; }

 private:
  void plan_next();
  void draw();
  void strike(Fault fault, Machine& a, Machine& b);
  void later(Duration low, Duration high, Task undo);
  Machine& leading(Machine& otherwise);
  void await_learner(Instant until);
  void isolate(Machine& which, Duration peers_after);
  void strike_metadata(Fault fault, Machine& a);
  void strike_disk(Fault fault, Machine& a);
  void strike_range(Fault fault, Machine& b);

  Cluster& cluster_;
  const Scenario& scenario_;
  bool stopped_{false}, betrayed_{false};
};

}  // namespace outlast::sim
