#pragma once
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"

namespace outlast::cli {

/// What a node writes to NODE.json in its store when it serves.
struct NodeFacts {
  NodeId node;
  pid_t pid{0};         ///< Supervisor: the process that was started.
  pid_t worker_pid{0};  ///< Changes with every worker.
  std::string listen_addr, sql_addr, http_addr;
  std::string roles;  ///< "frontend,backend,compute"; empty: an older program, which has all.
};
Result<NodeFacts> parse_node_facts(std::string_view json);

/// One range as GET /api/ranges shows it.
struct RangeFacts {
  RangeId range;
  std::string database;
  NodeId leaseholder;  ///< 0: none.
  std::vector<NodeId> insync;
  int rf{0}, min_insync{0};
};
Result<std::vector<RangeFacts>> parse_ranges(std::string_view json);

/// GET /api/ranges/<id>/digest: one replica's database file at one LSN.
struct ReplicaDigest {
  std::uint64_t lsn{0}, epoch{0}, crc{0}, file_size{0};
};
Result<ReplicaDigest> parse_digest(std::string_view json);

struct LocalClusterOptions {
  std::string binary;                   ///< The program; empty = the running one.
  std::string dir;                      ///< An existing folder of our own: stores, metadata and logs go below it.
  std::string meta;                     ///< For --meta; empty = an embedded store below `dir`.
  bool collectors{false};               ///< Nodes with --roles=none: no metadata, no `init`, no SQL.
  std::vector<std::string> start_args;  ///< Added to every `start`.
  std::function<std::vector<std::string>(int node)> node_args;  ///< The same, of one node; may be empty.
  std::function<bool()> give_up = [] { return false; };  ///< Asked while waiting; true ends the wait with kCancelled.
};

/// Nodes as real processes on this machine, over one metadata store: for the demo and the system tests.
/// Nodes are counted from 0; their ports are the kernel's choice and stay the same over restarts. Everything that was
/// started dies with this object, and with the process that made it.
/// Thread-safety: none; use it from the thread that made it (a child's parent-death signal is bound to that thread).
class LocalCluster {
 public:
  explicit LocalCluster(LocalClusterOptions options);
  ~LocalCluster();
  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  /// Starts the process and returns at once. kInvalidState when it runs already.
  Result<void> start(int node);
  /// `outlast init`; repeated until the metadata store is there or 10 s passed.
  Result<void> init();
  /// Until /health?ready=1 answers 200, by a worker other than `not_worker`. Errors name the node and its log.
  Result<NodeFacts> wait_ready(int node, Duration timeout, pid_t not_worker = 0);
  /// One look, no wait: as wait_ready.
  Result<NodeFacts> ready(int node, pid_t not_worker = 0) const;
  /// Until wait returns true; kDeadline or kCancelled.
  Result<void> wait_until(const std::string& what, Duration timeout, const std::function<bool()>& reached) const;

  Result<NodeFacts> facts(int node) const;  ///< NODE.json as it stands.
  /// kill -9 of the worker only; returns its pid.
  Result<pid_t> kill_worker(int node);
  /// kill -9 of the supervisor, then of its worker; returns when both are gone.
  void kill_node(int node);
  /// SIGTERM to the supervisor; its exit code, or 128 + signal. kDeadline when it goes on.
  Result<int> terminate(int node, Duration timeout);
  /// SIGTERM to the supervisor, without waiting; running() tells when it has ended.
  void ask_to_stop(int node);
  /// Waits for the supervisor to end by itself: its exit code, or 128 + signal.
  Result<int> wait_exit(int node, Duration timeout);
  bool running(int node);  ///< The supervisor.
  void kill_all();

  /// Starts another run of the program beside the nodes, such as `cluster rolling-restart`; `log` gets its output.
  /// One at a time. kInvalidState while the last one runs.
  Result<void> start_command(const std::vector<std::string>& args, const std::string& log);
  /// Its exit code, or 128 + signal; empty while it runs.
  std::optional<int> command_exit();

  Result<std::vector<RangeFacts>> ranges(int node, Duration timeout = std::chrono::seconds(2)) const;
  Result<ReplicaDigest> digest(int node, RangeId range) const;
  /// postgresql:// text; empty when the node never served.
  std::string sql_url(int node, const std::string& database = "defaultdb") const;

  int size() const { return static_cast<int>(nodes_.size()); }
  std::string store(int node) const;
  std::string meta() const;  ///< The value of --meta.
  std::string log(int node) const;
  /// The last lines of a node's log, for error messages.
  std::string log_tail(int node, std::size_t bytes_max = 2000) const;

 private:
  struct Node {
    pid_t pid{0};          ///< 0: not running, reaped.
    int status{0};         ///< Of waitpid, once reaped.
    NodeFacts last_facts;  ///< Addresses to start again with.
  };
  Node& at(int node);
  pid_t spawn(const std::vector<std::string>& args, const std::string& log);
  Result<void> spawn_into(Node& node, const std::vector<std::string>& args, const std::string& log);
  bool reap(Node& node);
  void kill_strays() const;

  LocalClusterOptions options_;
  std::vector<Node> nodes_;
  Node command_;
};

}  // namespace outlast::cli
