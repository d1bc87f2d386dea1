#include "tests/sim/scenario.h"

#include "meta/fencing.h"

namespace outlast::sim {
using namespace std::chrono_literals;
using F = Fault;

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

/// Mostly one that leads a range.
Machine& Trouble::leading(Machine& otherwise) {
  for (const auto& [range, config] : cluster_.oracle.records())
    if (const Process* leader = cluster_.leader_of(range); leader != nullptr && cluster_.world.random().below(4) != 0)
      return *cluster_.find(leader->self().node);
  return otherwise;
}

/// A change that is in doubt matters most where commits depend on it: while a learner becomes a member.
void Trouble::await_learner(Instant until) {
  later(2ms, 2ms, [this, until] {
    if (stopped_ || cluster_.world.now() > until) return;
    for (const auto& [range, config] : cluster_.oracle.records()) {
      if (config.learners.empty() || !config.leaseholder) continue;
      Machine* const leader = cluster_.find(config.leaseholder->node);
      Machine* const learner = cluster_.find(config.learners[0].node);
      if (leader == nullptr || learner == nullptr) continue;
      cluster_.world.trace("node " + leader->node.to_string() + ": answers are lost while node " +
                           learner->node.to_string() + " is a learner");
      leader->weather.doubt = 900;
      leader->weather.slow = 50;
      learner->pace.disk = 20 + cluster_.world.random().below(60);
      return later(100ms, 600ms, [leader, learner] {
        leader->weather.doubt = 0, leader->weather.slow = 1;
        learner->pace.disk = 1;
      });
    }
    await_learner(until);
  });
}

void Trouble::isolate(Machine& which, Duration peers_after) {
  cluster_.set_meta_cut(which, true);
  later(peers_after + 2s, peers_after + 6s, [this, &which] { cluster_.set_meta_cut(which, false); });
  if (peers_after == Duration{0}) return strike(F::kPartition, which, which);
  later(peers_after, peers_after, [this, &which] {
    if (!stopped_) strike(F::kPartition, which, which);
  });
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
    case F::kIsolate:
      return isolate(leading(a), 0s);
    case F::kFade:
      return isolate(leading(a), world.between(1600ms, 2200ms));
    case F::kIsolateLate: {
      Machine& which = leading(a);
      // As far apart as the drift allows: its lease is to end before the others' patience all the same.
      for (int i = 0; i < cluster_.size(); ++i) cluster_.machine(i).clock.set_rate(i == which.index ? -50'000 : 50'000);
      which.weather.late = world.between(600ms, 740ms);
      later(4s, 6s, [&which] { which.weather.late = Duration{0}; });
      return later(1s, 3s, [this, &which] {
        if (!stopped_) isolate(which, 0s);
      });
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
    case F::kMetaDoubtOfLeader:
    case F::kMetaSlow:
    case F::kFenceLive:
      return strike_metadata(fault, a);
    case F::kDoubtedPromotion:
      strike_range(F::kRemoveReplica, b);
      return await_learner(world.now() + 2s);
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
    case F::kMetaDoubtOfLeader: {
      Machine& which = leading(a);
      which.weather.doubt = 200 + world.random().below(400);
      which.weather.slow = 1 + world.random().below(60);
      return later(200ms, 1500ms, [&which] { which.weather.doubt = 0, which.weather.slow = 1; });
    }
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
    case F::kFullMoment: {
      Machine& which = leading(a);
      which.disk->set_full(true);
      return later(1ms, 40ms, [&which] { which.disk->set_full(false); });
    }
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
