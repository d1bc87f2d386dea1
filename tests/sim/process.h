#pragma once
#include <map>
#include <memory>

#include "executor/executor.h"
#include "meta/housekeeping.h"
#include "meta/liveness_driver.h"
#include "replication/replicas.h"
#include "server/cluster_state.h"
#include "storage/store_dir.h"
#include "tasks/placer.h"
#include "tests/sim/links.h"
#include "tests/sim/metadata.h"

namespace outlast::sim {

struct Machine;

/// One run of a worker process: the rooms of a node put together as server::Node does, on simulated ports. Joins,
/// becomes live, opens its replicas, serves. Ends when it is destroyed, as by kill -9.
class Process {
 public:
  Process(Cluster& cluster, Machine& machine, Owner owner);
  ~Process();

  void start();
  bool serving() const { return serving_; }
  liveness::Peer self() const { return {node_, incarnation_}; }
  /// A gateway's request over `stream`, which it opened: the answer goes back the same way.
  void serve(const StreamPtr& stream, proto::ExecRequest request, std::move_only_function<void(proto::ExecReply)> got);
  /// One step of placement for a range that this process leads.
  void place(const placement::Step& step, Callback<void> done);

  ProcessLoop loop;
  std::unique_ptr<storage::StoreDir> store_dir;
  std::unique_ptr<SimMeta> meta;
  std::unique_ptr<SimLogWriter> logs;
  std::unique_ptr<SimWorkers> workers;
  std::unique_ptr<storage::ReplicaStore> store;
  std::unique_ptr<server::ClusterState> state;
  std::unique_ptr<meta::LivenessDriver> liveness;
  std::unique_ptr<meta::Office> office;
  std::unique_ptr<SimLinks> links;
  std::unique_ptr<executor::SqlPool> sql;
  std::unique_ptr<replication::Replicas> replicas;
  std::unique_ptr<executor::Executor> executor;
  std::unique_ptr<tasks::Placer> placer;
  std::unique_ptr<meta::Housekeeping> housekeeping;

 private:
  // The way up, each step after the answer of the one before.
  void join();
  void draw_incarnation();
  void mirror();
  void announce();
  void become_live();
  void open_replicas();
  void begin_to_serve();
  void again(void (Process::*step)());
  void leave(const Error& why);  ///< The process cannot go on: it exits, and its supervisor starts another.

  void refresh_peers();
  void look();
  void sweep();
  void take_step(const placement::Step& step, Callback<void> done);
  void answered(RangeId range, Epoch epoch, Lsn visible, const proto::ExecReply& reply);

  Cluster& cluster_;
  Machine& machine_;
  NodeId node_;
  Incarnation incarnation_;
  std::string store_uuid_;
  bool serving_{false}, disk_low_{false};
  std::map<std::uint64_t, std::unique_ptr<executor::Channel>> channels_;  ///< By stream.
};

}  // namespace outlast::sim
