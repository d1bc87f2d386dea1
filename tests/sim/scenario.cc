#include "tests/sim/scenario.h"

#include "meta/fencing.h"

namespace outlast::sim {
using namespace std::chrono_literals;
using F = Fault;

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      {"steady", "nothing fails; leases and replicas move", {{F::kTransfer, 3}, {F::kRemoveReplica, 1}}, 800ms, 5s},
      {"crash",
       "processes and machines die, also at any single write or message",
       {{F::kKill, 4}, {F::kPowerOff, 3}, {F::kCrashyWrites, 3}, {F::kCrashyMessages, 3}, {F::kTransfer, 1}},
       900ms,
       8s},
      {"partition",
       "connections break, machines are cut off",
       {{F::kCut, 4}, {F::kPartition, 4}, {F::kSlowLink, 2}, {F::kKill, 1}, {F::kTransfer, 1}},
       700ms,
       8s},
      {"isolate",
       "one machine reaches neither the others nor the metadata, its own clients still reach it",
       {{F::kIsolate, 5}, {F::kSlowDisk, 1}, {F::kKill, 1}},
       1200ms,
       10s,
       true},
      {"doubt",
       "answers of the metadata store are lost while the in-sync set changes",
       {{F::kMetaDoubt, 6}, {F::kRemoveReplica, 3}, {F::kSlowDisk, 3}, {F::kCut, 4}, {F::kTransfer, 1}},
       200ms,
       8s},
      {"asymmetric",
       "one direction lets nothing through",
       {{F::kSilence, 6}, {F::kCut, 1}, {F::kKill, 1}, {F::kTransfer, 1}},
       500ms,
       8s},
      {"pause",
       "processes are stopped, also in the middle of a step, and go on",
       {{F::kPause, 4}, {F::kStallInStep, 3}, {F::kTransfer, 1}, {F::kKill, 1}},
       900ms,
       10s},
      {"clock",
       "clock rates change within the drift, wall clocks jump, processes stop",
       {{F::kClockRate, 5}, {F::kWallJump, 2}, {F::kPause, 2}, {F::kMetaCut, 2}, {F::kPartition, 1}},
       700ms,
       10s},
      {"disk",
       "disks are slow, full, fail a write, flip a bit, lose unsynced writes",
       {{F::kSlowDisk, 2},
        {F::kFullDisk, 2},
        {F::kFailingWrite, 2},
        {F::kBitFlip, 1},
        {F::kPowerOff, 3},
        {F::kCrashyWrites, 2}},
       900ms,
       8s},
      {"wipe",
       "stores are wiped, with or without their identity",
       {{F::kWipe, 2}, {F::kWipeRanges, 2}, {F::kKill, 2}, {F::kTransfer, 2}},
       1500ms,
       9s},
      {"meta",
       "the metadata store is out of reach, slow, or loses answers and applies late",
       {{F::kMetaCut, 2},
        {F::kMetaOutage, 2},
        {F::kMetaDoubt, 4},
        {F::kMetaSlow, 1},
        {F::kKill, 3},
        {F::kCut, 2},
        {F::kTransfer, 2},
        {F::kRemoveReplica, 1}},
       500ms,
       10s},
      {"restart-all",
       "every process or every machine restarts at once",
       {{F::kRestartAll, 4}, {F::kKill, 1}, {F::kPowerOff, 1}},
       2500ms,
       9s},
      {"mixed",
       "everything",
       {{F::kKill, 4},         {F::kPowerOff, 3},       {F::kRestartAll, 1},
        {F::kCrashyWrites, 3}, {F::kCrashyMessages, 2}, {F::kCut, 3},
        {F::kSilence, 3},      {F::kPartition, 2},      {F::kSlowLink, 1},
        {F::kPause, 2},        {F::kStallInStep, 2},    {F::kClockRate, 1},
        {F::kWallJump, 1},     {F::kSlowDisk, 1},       {F::kFullDisk, 1},
        {F::kFailingWrite, 1}, {F::kBitFlip, 1},        {F::kMetaCut, 2},
        {F::kMetaOutage, 1},   {F::kMetaDoubt, 2},      {F::kMetaSlow, 1},
        {F::kTransfer, 3},     {F::kRemoveReplica, 1},  {F::kFenceLive, 1},
        {F::kWipe, 1}},
       450ms,
       10s},
  };
  return all;
}

const Scenario* find_scenario(std::string_view name) {
  for (const Scenario& scenario : scenarios())
    if (scenario.name == name) return &scenario;
  return nullptr;
}

void Trouble::plan_next() {
  cluster_.world.plan(0, cluster_.world.between(scenario_.gap / 4, scenario_.gap * 7 / 4), "trouble", [this] {
    if (stopped_) return;
    draw();
    plan_next();
  });
}

void Trouble::later(Duration low, Duration high, Task undo) {
  cluster_.world.plan(0, cluster_.world.between(low, high), "recovery", std::move(undo));
}

void Trouble::draw() {
  int total = 0;
  for (const auto& [fault, weight] : scenario_.faults) total += weight;
  auto dice = static_cast<int>(cluster_.world.random().below(static_cast<std::uint64_t>(total)));
  for (const auto& [fault, weight] : scenario_.faults) {
    dice -= weight;
    if (dice >= 0) continue;
    Machine& a = cluster_.any();
    Machine& b = cluster_.any();
    return strike(fault, a, b);
  }
}

void Trouble::strike(Fault fault, Machine& a, Machine& b) {
  Network& network = cluster_.network;
  World& world = cluster_.world;
  switch (fault) {
    case F::kKill:
      return cluster_.kill(a);
    case F::kPowerOff:
      cluster_.power_off(a);
      return later(200ms, 5s, [this, &a] { cluster_.start(a); });
    case F::kRestartAll: {
      const bool power = world.random().below(2) == 0;
      for (int i = 0; i < cluster_.size(); ++i)
        power ? cluster_.power_off(cluster_.machine(i)) : cluster_.kill(cluster_.machine(i));
      for (int i = 0; i < cluster_.size(); ++i)
        if (power) later(100ms, 3s, [this, i] { cluster_.start(cluster_.machine(i)); });
      return;
    }
    case F::kCrashyMessages:
      a.chances.crash_at_message = 3'000;
      return later(200ms, 1500ms, [&a] { a.chances.crash_at_message = 0; });
    case F::kCut:
      return network.cut_between(a.index, b.index);
    case F::kSilence:
      network.silence(a.index, b.index);
      return later(50ms, 4s, [&network, &a, &b] { network.let_through(a.index, b.index); });
    case F::kPartition:
      for (int i = 0; i < cluster_.size(); ++i) network.silence(a.index, i), network.silence(i, a.index);
      return later(50ms, 5s, [this, &a] {
        for (int i = 0; i < cluster_.size(); ++i)
          cluster_.network.let_through(a.index, i), cluster_.network.let_through(i, a.index);
      });
    case F::kIsolate: {
      Machine* which = &a;
      for (const auto& [range, config] : cluster_.oracle.records())  // mostly one that leads
        if (const Process* leader = cluster_.leader_of(range); leader != nullptr && world.random().below(4) != 0)
          which = cluster_.find(leader->self().node);
      cluster_.set_meta_cut(*which, true);
      later(2s, 6s, [this, which] { cluster_.set_meta_cut(*which, false); });
      return strike(F::kPartition, *which, b);
    }
    case F::kSlowLink:
      network.slow[a.index] = 2 + world.random().below(100);
      return later(200ms, 2s, [&network, &a] { network.slow.erase(a.index); });
    case F::kPause:
      return cluster_.pause(a, world.between(10ms, 6s));
    case F::kStallInStep:
      a.chances.stall_at_clock = 200;
      a.chances.stall_at_write = 1'500;
      return later(500ms, 2s, [&a] { a.chances.stall_at_clock = a.chances.stall_at_write = 0; });
    case F::kClockRate:
      return a.clock.set_rate(static_cast<std::int64_t>(world.random().below(100'001)) - 50'000);
    case F::kWallJump:
      a.clock.wall_offset_micros += static_cast<std::int64_t>(world.random().below(7'200'000'000)) - 3'600'000'000;
      return;
    case F::kMetaCut:
    case F::kMetaOutage:
    case F::kMetaDoubt:
    case F::kMetaSlow:
    case F::kFenceLive:
      return strike_metadata(fault, a);
    case F::kTransfer:
    case F::kRemoveReplica:
      return strike_range(fault, b);
    default:
      return strike_disk(fault, a);
  }
}

void Trouble::strike_metadata(Fault fault, Machine& a) {
  World& world = cluster_.world;
  switch (fault) {
    case F::kMetaCut:
      cluster_.set_meta_cut(a, true);
      return later(50ms, 6s, [this, &a] { cluster_.set_meta_cut(a, false); });
    case F::kMetaOutage:
      cluster_.set_meta_up(false);
      return later(100ms, 7s, [this] { cluster_.set_meta_up(true); });
    case F::kMetaDoubt:
      a.weather.doubt = 200 + world.random().below(500);
      return later(200ms, 3s, [&a] { a.weather.doubt = 0; });
    case F::kMetaSlow:
      a.weather.slow = 5 + world.random().below(100);
      return later(200ms, 3s, [&a] { a.weather.slow = 1; });
    default:  // somebody's observer was wrong about a process, as it may be
      if (!a.process || !a.process->serving() || !a.supervisor_meta) return;
      return meta::fence_now(*a.supervisor_meta, *a.supervisor_loop, a.process->self(), "the scenario", "drawn",
                             [](const Result<void>&) {});
  }
}

void Trouble::strike_disk(Fault fault, Machine& a) {
  switch (fault) {
    case F::kCrashyWrites:
      a.chances.crash_at_write = 4'000;
      return later(200ms, 2s, [&a] { a.chances.crash_at_write = 0; });
    case F::kSlowDisk:
      a.pace.disk = 5 + cluster_.world.random().below(100);
      return later(200ms, 3s, [&a] { a.pace.disk = 1; });
    case F::kFullDisk:
      a.disk->set_full(true);
      return later(100ms, 2s, [&a] { a.disk->set_full(false); });
    case F::kFailingWrite:
      if (betrayed_) return;
      betrayed_ = true;
      a.chances.fail_at_write = 20'000;
      return later(10ms, 300ms, [&a] { a.chances.fail_at_write = 0; });
    case F::kBitFlip:
      if (betrayed_) return;  // one disk of a history: more than min_insync covers is no promise
      betrayed_ = true;
      return cluster_.flip_a_bit(a);
    case F::kWipe:
    case F::kWipeRanges: {
      if (betrayed_) return;
      betrayed_ = true;
      cluster_.power_off(a);
      // Not before an outermost event has ended: a process may be in the middle of a step.
      return later(300ms, 2s, [this, &a, fault] {
        if (a.process) return;
        cluster_.wipe(a, fault == F::kWipeRanges);
        cluster_.start(a);
      });
    }
    default:
      return;
  }
}

void Trouble::strike_range(Fault fault, Machine& b) {
  for (const auto& [range, config] : cluster_.oracle.records()) {
    Process* const leader = cluster_.leader_of(range);
    if (leader == nullptr || leader->loop.doomed()) continue;
    const auto kind =
        fault == F::kTransfer ? placement::Step::Kind::kTransferLease : placement::Step::Kind::kRemoveReplica;
    leader->loop.plan(1ms, "step", [leader, step = placement::Step{kind, range, b.node, 0}] {
      leader->place(step, [](const Result<void>&) {});
    });
  }
}

}  // namespace outlast::sim
