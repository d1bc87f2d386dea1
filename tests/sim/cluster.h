#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/testing/fault_disk.h"
#include "tests/sim/metadata.h"
#include "tests/sim/network.h"
#include "tests/sim/oracle.h"
#include "tests/sim/planted.h"
#include "tests/sim/process.h"

namespace outlast::sim {

/// Chances of faults at every disk write, message and look at the clock of one machine, of a million.
struct Chances {
  std::uint64_t crash_at_write{0}, power_at_write{0}, fail_at_write{0}, stall_at_write{0};
  std::uint64_t crash_at_message{0}, stall_at_clock{0};
};

/// One machine: disk, clock, ways to the others and to the metadata, a supervisor, and the worker process, if one runs.
struct Machine {
  Machine(World& world, int i, std::string at);
  const int index;
  const std::string path;
  std::unique_ptr<storage::testing::FaultDisk> disk;
  DiskShadow shadow;
  MachineClock clock;
  Pace pace;
  MetaWeather weather;
  Chances chances;
  NodeId node;  ///< Of the store, once it has an identity.
  bool on{true};
  enum class Doom : std::uint8_t { kNone, kKilled, kPowerLost, kExits } doom{Doom::kNone};
  std::unique_ptr<ProcessLoop> supervisor_loop;
  std::unique_ptr<SimMeta> supervisor_meta;
  std::unique_ptr<Process> process;
};

/// A whole cluster in one world. Faults are its verbs; the scenarios draw them.
class Cluster {
 public:
  Cluster(std::uint64_t seed, int machines, Planted planted, bool trace = false);
  ~Cluster();
  Cluster(const Cluster&) = delete;

  World world;
  Network network;
  MetaService meta;
  Oracle oracle;
  const Planted planted;

  Machine& machine(int index) { return *machines_.at(static_cast<std::size_t>(index)); }
  int size() const { return static_cast<int>(machines_.size()); }
  Machine& any() { return machine(static_cast<int>(world.random().below(machines_.size()))); }
  Machine* find(NodeId node);
  static std::string address_of(int machine) { return "m" + std::to_string(machine); }
  static int machine_at(const std::string& address) { return std::atoi(address.c_str() + 1); }
  /// A machine whose process serves ranges now; null when there is none.
  Process* leader_of(RangeId range);

  // Faults. A process that is in the middle of a step ends after it, and nothing leaves it any more.
  void start(Machine& machine);
  void kill(Machine& machine);       ///< As kill -9: the supervisor sees it, the disk keeps what was written.
  void power_off(Machine& machine);  ///< Nobody sees it, what was not synced may be lost.
  void exit(Machine& machine) { doom(machine, Machine::Doom::kExits); }
  void wipe(Machine& machine, bool keep_identity);
  void flip_a_bit(Machine& machine);
  void pause(Machine& machine, Duration d);  ///< SIGSTOP and, after `d`, SIGCONT.
  void set_meta_cut(Machine& machine, bool cut);
  void set_meta_up(bool up);
  void heal();  ///< Everything but processes that do not run.

  void note_message(NodeId from, NodeId to, const proto::RangeMessage& message);
  /// To be asked by processes: a needless fence is a violation (observers must give everybody time to renew).
  void on_fence(liveness::Peer peer, const std::string& why);
  liveness::Params liveness_params() const { return liveness_; }
  std::uint64_t next_owner() { return ++last_owner_; }
  std::string uuid();
  std::function<void(int machine)> on_process_gone = [](int) {};

 private:
  void doom(Machine& machine, Machine::Doom how, bool crash_disk = true);
  void at_write(Machine& machine);
  void equip(Machine& machine);
  void end_process(Machine& machine);
  void after_event(bool outermost);
  void on_meta_event(const meta::Event& event);
  void write_settings();

  storage::testing::TempDir dir_;
  std::vector<std::unique_ptr<Machine>> machines_;
  liveness::Params liveness_;
  Owner last_owner_{0};
  bool any_doom_{false};
};

}  // namespace outlast::sim
