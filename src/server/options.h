#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "placement/roles.h"

namespace outlast::server {

/// `outlast start`, as read from the command line. Addresses are host:port, port 0 = any free one.
struct StartOptions {
  std::string store;
  std::string roles{"frontend,backend,compute"};  ///< Some of them, or "none": see is_collector().
  std::string meta;                               ///< "embedded:DIR" or "etcd://…".
  std::string listen_addr{"127.0.0.1:26258"};     ///< Node to node, and the CLI.
  std::string sql_addr{"127.0.0.1:26257"};
  std::string http_addr{"127.0.0.1:8080"};
  std::string locality;        ///< Failure domains, largest first: "region=a,zone=b"; empty = none.
  std::string advertise_addr;  ///< Host that other nodes use; empty = the one of listen_addr.
  std::string log_file;        ///< Empty = stderr.
  std::string log_level{"info"};
  bool insecure{false};     ///< Said aloud: bind other addresses than loopback without TLS.
  bool single_node{false};  ///< Initialise the cluster by itself, replication factor 1.
  std::int64_t max_connections{500};
  bool with_source_only{false};  ///< Store nothing of what inputs take in until SIGWINCH; of the supervisor.
  std::string pid_file;          ///< Empty = none.
  Duration grace{0};             ///< What the process manager gives a stop before it kills; 0 = nobody said.
  std::string config;            ///< File that the values come from which the command line does not say; empty = none.
  /// The options as they were given, for the processes that take over: they read `config` anew.
  std::vector<std::string> given;
  /// The same command line with `config` read anew; empty in a worker. kInvalidArgument says what is wrong in it.
  std::function<Result<StartOptions>()> read_again;
};

/// Takes records in and passes them on, without SQL, metadata and other nodes.
inline bool is_collector(const StartOptions& options) {
  return options.roles == "none";
}
/// Has a SQL port.
bool takes_clients(const StartOptions& options);
/// Of a node that is no collector and whose options were checked.
placement::Roles roles_of(const StartOptions& options);
bool same_roles(const StartOptions& a, const StartOptions& b);
/// `roles`, and `meta` as they ask for. kInvalidArgument.
Result<void> check_roles(const StartOptions& options);

/// What only a worker knows besides: the open sockets come at fixed descriptors (handover/supervisor.h).
struct WorkerOptions {
  StartOptions start;
  int supervisor_pid{0};
  std::string ingest_config;               ///< File that describes inputs and sinks; empty: that of `start.config`.
  std::vector<std::string> input_sockets;  ///< "FD=ADDRESS" of each input's socket.
  bool source_only{false};                 ///< Inputs take in and buffer; sinks wait for the supervisor's word.
  bool standby{false};                     ///< Another worker owns the node: take it over from it (protocol A8).
};

}  // namespace outlast::server
