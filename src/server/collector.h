#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "http/server.h"
#include "server/asio_loop.h"
#include "server/handover_in.h"
#include "server/handover_out.h"
#include "server/io_threads.h"
#include "server/metrics.h"
#include "server/node_ingest.h"
#include "server/options.h"
#include "server/restarts.h"
#include "server/supervisor_link.h"
#include "storage/store_dir.h"

namespace outlast::server {

/// One worker process of a collector (`--roles=none`): inputs, buffers, sinks and HTTP, without SQL, metadata and other
/// nodes. A restart goes as a node's does (protocol A8), with the same supervisor, states and messages; only inputs
/// move. Thread-safety: run() on the main thread.
class Collector {
 public:
  explicit Collector(WorkerOptions options);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  /// Serves until the supervisor ends it. Returns the exit code for the supervisor.
  int run();

 private:
  /// What the main thread is woken for.
  enum class Ending : std::uint8_t {
    kNone,
    kStop,
    kFailed,      ///< Said why.
    kCannotTake,  ///< Standby: said why.
    kHandedOver,  ///< Another worker owns the store, the receipt is written.
  };
  Result<void> start();
  void start_http();
  void watch_supervisor();
  void on_supervisor(handover::ControlMessage message);
  void on_supervisor_lost();
  void end_source_only();
  void put_in_force(const std::string& reload);
  std::string plan() const;
  HandoverIn::Ports handover_in_ports();
  HandoverOut::Ports handover_out_ports();
  void accept_clients(bool accept);
  void take_over();
  void own();
  void release(Callback<proto::HandoverReleased> done);
  void allow_adoption();
  void write_facts(int supervisor_pid) const;
  void end_if_handed_over();
  void tell(handover::ControlMessage::Kind kind, std::string text = {});
  void tell_state(handover::HandoverState state);
  std::string not_ready() const;
  void end(Ending how);
  Ending wait_for_end();

  const WorkerOptions options_;
  SystemClock clock_;
  AsioLoop loop_;
  IoThreads io_{1};
  Restarts restarts_;
  std::unique_ptr<SupervisorLink> link_;
  std::unique_ptr<storage::Disk> disk_;
  std::unique_ptr<storage::StoreDir> store_;
  Incarnation incarnation_;
  std::string http_addr_;
  std::unique_ptr<NodeIngest> ingest_;  ///< From start() to the end.
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<HandoverOut> handover_out_;
  std::unique_ptr<HandoverIn> handover_in_;
  Loop::TimerId lock_timer_{0};
  Metrics metrics_;
  std::atomic<bool> serving_{false}, source_only_;
  std::atomic<bool> owning_{false};  ///< The store's lock is ours.

  std::mutex mutex_;
  std::condition_variable ended_;
  Ending ending_{Ending::kNone};  // under mutex_
};

}  // namespace outlast::server
