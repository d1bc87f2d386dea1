#include "tests/sim/cluster.h"

#include <filesystem>
#include <fstream>

#include "meta/fencing.h"

namespace outlast::sim {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

Machine::Machine(World& world, int i, std::string at)
    : index(i),
      path(std::move(at)),
      disk(std::make_unique<storage::testing::FaultDisk>()),
      clock(world, world.between(0h, 500h)) {}

Cluster::Cluster(std::uint64_t seed, int machines, Planted bugs, bool trace)
    : world(seed),
      network(world, [this](int m) { return machine(m).process ? &machine(m).process->loop : nullptr; }),
      oracle(world, [this](NodeId node) { return find(node) == nullptr ? nullptr : &find(node)->shadow; }),
      planted(bugs) {
  world.tracing = trace;
  world.after_event = [this](bool outermost) { after_event(outermost); };
  meta.on_event = [this](const meta::Event& event) { on_meta_event(event); };
  liveness_ = {.renew = 400ms, .ttl = 2s, .drift = 0.05, .follower_wait = 200ms};
  write_settings();
  for (int i = 0; i < machines; ++i) {
    auto made = std::make_unique<Machine>(world, i, dir_.path() + "/" + std::to_string(i));
    made->clock.set_rate(static_cast<std::int64_t>(world.random().below(100'001)) - 50'000);  // within the drift
    made->shadow.on_append = [this](RangeId range, const storage::LogEntry& entry) { oracle.on_append(range, entry); };
    made->shadow.on_apply = [this, m = made.get()](RangeId range, const LogPosition& at) {
      oracle.on_apply(m->node, range, at);
    };
    made->shadow.on_broken = [this, i](const std::string& what) {
      oracle.fail("storage of machine " + std::to_string(i) + ": " + what);
    };
    equip(*made);
    machines_.push_back(std::move(made));
  }
  network.on_send = [this](int from, int) {
    Machine& sender = machine(from);
    if (world.chance(sender.chances.crash_at_message)) kill(sender);
  };
  for (auto& made : machines_) start(*made);
}

Cluster::~Cluster() {
  world.stop = false;
  for (auto& machine : machines_) {
    machine->disk->crash();
    machine->process.reset();
    machine->supervisor_meta.reset();
  }
}

void Cluster::write_settings() {
  meta::Txn txn;
  for (const auto& [name, value] : std::map<std::string, std::string>{{"liveness.ttl", "2s"},
                                                                      {"liveness.renew", "400ms"},
                                                                      {"repl.ack_timeout", "400ms"},
                                                                      {"recovery_wait", "3s"},
                                                                      {"server.time_until_store_dead", "6s"}})
    txn.then.push_back(meta::Op::put(meta::keys::setting(name), value));
  OUTLAST_ASSERT(meta.apply(txn).ok());
}

std::string Cluster::uuid() {
  char text[40];
  std::snprintf(text, sizeof text, "%016llx-%04llx", static_cast<unsigned long long>(world.random().next()),
                static_cast<unsigned long long>(world.random().below(65536)));
  return text;
}

Machine* Cluster::find(NodeId node) {
  for (auto& machine : machines_)
    if (machine->node == node) return machine.get();
  return nullptr;
}

Process* Cluster::leader_of(RangeId range) {
  Process* found = nullptr;
  Epoch highest;
  for (auto& machine : machines_) {
    if (!machine->process || !machine->process->serving()) continue;
    const auto served = machine->process->replicas->find(range, Epoch());
    if (!served.ok() || (*served)->epoch() < highest) continue;
    highest = (*served)->epoch();
    found = machine->process.get();
  }
  return found;
}

void Cluster::start(Machine& machine) {
  if (machine.process) return;
  machine.on = true;
  if (!machine.supervisor_loop) {
    machine.supervisor_loop = std::make_unique<ProcessLoop>(world, next_owner(), machine.clock);
    machine.supervisor_meta = std::make_unique<SimMeta>(meta, *machine.supervisor_loop, machine.weather);
    if (machine.index == 0) meta::init_cluster(*machine.supervisor_meta, "simulated", 0, [](const Result<void>&) {});
  }
  world.trace("machine " + std::to_string(machine.index) + ": a process starts");
  machine.process = std::make_unique<Process>(*this, machine, next_owner());
  machine.process->loop.stall_at_clock = [this, &machine] {
    return world.chance(machine.chances.stall_at_clock) ? world.between(1ms, 3s) : Duration{0};
  };
  machine.process->loop.plan(world.between(1ms, 50ms), "start", [p = machine.process.get()] { p->start(); });
}

void Cluster::equip(Machine& machine) {
  machine.disk->on_point = [this, &machine] { at_write(machine); };
}

/// Called before every single write, sync, rename of the machine.
void Cluster::at_write(Machine& machine) {
  const Chances& chances = machine.chances;
  auto& disk = *machine.disk;
  if (!machine.process || machine.process->loop.doomed()) return;
  if (world.chance(chances.crash_at_write) || world.chance(chances.power_at_write)) {
    world.trace("machine " + std::to_string(machine.index) + ": crashes at a write");
    if (world.random().below(2) == 0) machine.on = false;
    disk.crash_at(disk.points() + 1);  // this very write is torn
    doom(machine, machine.on ? Machine::Doom::kKilled : Machine::Doom::kPowerLost, false);
  } else if (world.chance(chances.fail_at_write)) {
    world.trace("machine " + std::to_string(machine.index) + ": a write fails");
    disk.fail_at(disk.points() + 1, Errc::kIo);
  } else if (world.chance(chances.stall_at_write)) {
    machine.process->loop.stall(world.between(1ms, 3s));
  }
}

void Cluster::pause(Machine& machine, Duration d) {
  if (!machine.process || machine.process->loop.paused()) return;
  world.trace("machine " + std::to_string(machine.index) + ": the process is stopped");
  machine.process->loop.pause();
  world.plan(machine.process->loop.owner(), d, "continue", [this, &machine] {
    world.trace("machine " + std::to_string(machine.index) + ": the process goes on");
    machine.process->loop.resume();
  });
}

void Cluster::doom(Machine& machine, Machine::Doom how, bool crash_disk) {
  if (!machine.process) return;
  if (machine.doom == Machine::Doom::kNone || how == Machine::Doom::kPowerLost) machine.doom = how;
  machine.process->loop.doom();
  if (how != Machine::Doom::kExits && crash_disk) machine.disk->crash();
  any_doom_ = true;
  if (!world.inside_event()) after_event(true);
}

void Cluster::kill(Machine& machine) {
  doom(machine, Machine::Doom::kKilled);
}

void Cluster::power_off(Machine& machine) {
  machine.on = false;
  doom(machine, Machine::Doom::kPowerLost);
}

/// The process is gone. Its supervisor reaps it, fences it and starts another, unless the machine went with it.
void Cluster::end_process(Machine& machine) {
  const bool power_lost = machine.doom == Machine::Doom::kPowerLost;
  const liveness::Peer gone = machine.process->self();
  world.trace("machine " + std::to_string(machine.index) + (power_lost ? ": power lost" : ": the process is gone"));
  world.note("gone");
  network.process_gone(machine.index, power_lost);
  machine.disk->crash();
  machine.process.reset();
  machine.disk->restart(world.random(), power_lost);
  machine.doom = Machine::Doom::kNone;
  on_process_gone(machine.index);
  if (power_lost) {
    machine.supervisor_meta.reset();
    machine.supervisor_loop.reset();
    return;
  }
  if (gone.incarnation)
    machine.supervisor_loop->plan(world.between(2ms, 80ms), "reap", [&machine, gone] {
      meta::fence_now(*machine.supervisor_meta, *machine.supervisor_loop, gone, "its supervisor", "process is gone",
                      [](const Result<void>&) {});
    });
  machine.supervisor_loop->plan(world.between(50ms, 1500ms), "restart", [this, &machine] { start(machine); });
}

void Cluster::after_event(bool outermost) {
  if (outermost && any_doom_) {
    any_doom_ = false;
    for (auto& machine : machines_)
      if (machine->doom != Machine::Doom::kNone) end_process(*machine);
  }
  for (auto& machine : machines_) {
    if (machine->disk->crashed() && machine->process && machine->doom == Machine::Doom::kNone) kill(*machine);
    if (!machine->process || !machine->process->replicas) continue;
    for (const auto& stats : machine->process->replicas->stats().ranges)
      oracle.on_belief(machine->node, machine->shadow, stats);
  }
  oracle.check_members();
}

void Cluster::wipe(Machine& machine, bool keep_identity) {
  OUTLAST_ASSERT(!machine.process, "only a machine that is off is wiped");
  world.trace("machine " + std::to_string(machine.index) + ": wiped" + (keep_identity ? ", its identity is kept" : ""));
  if (keep_identity) {
    for (const auto& [range, shadow] : machine.shadow.ranges) {
      // A learner may begin anew under its id; so may a member once it has left S.
      const placement::RangeConfig* config = oracle.record(range);
      if (config != nullptr && config->find_insync(machine.node) != nullptr)
        machine.shadow.wiped[range] = shadow.identity.replica;
    }
    fs::remove_all(machine.path + "/ranges");
  } else {
    fs::remove_all(machine.path);
    machine.node = NodeId();
    machine.shadow.wiped.clear();
  }
  machine.shadow.ranges.clear();
  machine.disk = std::make_unique<storage::testing::FaultDisk>();
  equip(machine);
}

/// In the log of one range: the part of a replica that has checksums.
void Cluster::flip_a_bit(Machine& machine) {
  for (auto& [range, shadow] : machine.shadow.ranges) {
    std::vector<std::string> logs;
    for (const auto& entry : fs::directory_iterator(machine.path + "/ranges/" + range.to_string()))
      if (entry.path().filename().string().starts_with("log.")) logs.push_back(entry.path().string());
    if (logs.empty()) continue;
    std::sort(logs.begin(), logs.end());
    const std::string& path = logs[world.random().below(logs.size())];
    const auto size = fs::file_size(path);
    if (size == 0) continue;
    const auto at = static_cast<std::streamoff>(world.random().below(size));
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char flipped = static_cast<char>(file.get() ^ (1 << world.random().below(8)));
    file.seekp(at);
    file.put(flipped);
    shadow.damaged = true;
    world.trace("machine " + std::to_string(machine.index) + ": a bit flips in " + path);
    return;
  }
}

void Cluster::set_meta_cut(Machine& machine, bool cut) {
  machine.weather.cut = cut;
  if (machine.process && machine.process->meta) machine.process->meta->weather_changed();
  if (machine.supervisor_meta) machine.supervisor_meta->weather_changed();
}

void Cluster::set_meta_up(bool up) {
  if (meta.up == up) return;
  world.trace(up ? "the metadata store is back" : "the metadata store is gone");
  if (!up) meta.down_since = world.now();
  if (up) meta.up_since = world.now();
  meta.up = up;
  for (auto& machine : machines_) set_meta_cut(*machine, machine->weather.cut);
}

void Cluster::heal() {
  network.heal();
  set_meta_up(true);
  for (auto& machine : machines_) {
    machine->weather = {};
    machine->pace = {};
    machine->disk->set_full(false);
    machine->chances = {};
    set_meta_cut(*machine, false);
    if (machine->process) {
      machine->process->loop.resume();
    }
  }
}

void Cluster::note_message(NodeId from, NodeId to, const proto::RangeMessage& message) {
  world.note(message.SerializeAsString());
  if (world.tracing)
    world.trace(from.to_string() + " -> " + to.to_string() + ": " + message.ShortDebugString().substr(0, 300));
}

/// An observer waits a whole ttl after its own session came back: by then whoever lives has renewed.
void Cluster::on_fence(liveness::Peer peer, const std::string& why) {
  world.trace("fence of " + peer.to_string() + ": " + why);
  const bool long_outage = meta.up_since - meta.down_since >= 2 * liveness_.ttl;
  if (why.find("silent") == std::string::npos || !long_outage) return;
  if (world.now() - meta.up_since < liveness_.lease())
    oracle.fail(
        "A1: " + peer.to_string() + " is fenced as silent " +
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(world.now() - meta.up_since).count()) +
        " ms after the metadata store came back");
}

void Cluster::on_meta_event(const meta::Event& event) {
  // The keys of events end with a true random number, for people; a database's record counts requests of the process.
  const bool for_people = event.kv.key.starts_with(meta::keys::kEvents);
  world.note(for_people ? meta::keys::kEvents : event.kv.key);
  if (!for_people && !event.kv.key.starts_with(meta::keys::kDatabases)) world.note(event.kv.value);
  const bool put = event.kind == meta::Event::Kind::kPut;
  if (const auto id = meta::keys::parse_number(meta::keys::rest(event.kv.key, meta::keys::kRanges))) {
    put ? oracle.on_record(event.kv) : oracle.on_record_gone(RangeId(*id));
    const placement::RangeConfig* config = oracle.record(RangeId(*id));
    for (auto& machine : machines_)
      if (config != nullptr && config->find_insync(machine->node) == nullptr) machine->shadow.wiped.erase(RangeId(*id));
  }
  if (const auto peer = meta::keys::parse_peer(event.kv.key, meta::keys::kFences); peer && put)
    on_fence(*peer, event.kv.value);
}

}  // namespace outlast::sim
