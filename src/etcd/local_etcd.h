#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::etcd {

struct LocalEtcdOptions {
  std::string dir;  ///< An existing folder: data and logs go below it.
  int members{3};
  std::vector<std::string> args;  ///< Added to every member's.
  std::string ca_file;            ///< TLS for clients: what signed `cert_file`, the servers' certificate for 127.0.0.1.
  std::string cert_file, key_file;
  bool clients_need_certificates{false};
  std::function<bool()> give_up = [] { return false; };  ///< Asked while waiting; true ends the wait with kCancelled.
};

/// An etcd of real processes on this machine's loopback, for the demo and the tests. Members are counted from 0; their
/// ports are free ones, chosen here, and stay the same over restarts. The processes die with this object and with the
/// process that made it.
/// Thread-safety: none; use it from the thread that made it (a child's parent-death signal is bound to that thread).
class LocalEtcd {
 public:
  explicit LocalEtcd(LocalEtcdOptions options) : options_(std::move(options)) {}
  ~LocalEtcd();
  LocalEtcd(const LocalEtcd&) = delete;
  LocalEtcd& operator=(const LocalEtcd&) = delete;

  /// The path of etcd; kNotFound says how to install it.
  static Result<std::string> find_program();
  /// Starts all members and waits until each serves. Errors: kNotFound, kUnavailable with the end of a member's log.
  Result<void> start(Duration timeout);
  /// Starts a member that was killed; returns at once.
  Result<void> restart(int member);
  /// kill -9; returns when it is gone.
  void kill(int member);
  /// Stops the process where it is, or lets it go on (SIGSTOP, SIGCONT).
  void freeze(int member);
  void thaw(int member);

  std::string endpoint(int member) const;  ///< "127.0.0.1:port"
  std::string endpoints() const;           ///< Of all, with commas.
  int size() const { return options_.members; }
  /// Who leads, as a running member says it; -1: nobody answers.
  int leader() const;
  std::string log_tail(int member, std::size_t bytes_max = 2000) const;

 private:
  struct Process {
    pid_t pid{0};
    int client_port{0}, peer_port{0};
    std::uint64_t id{0};  ///< etcd's name for it, once it served.
  };
  Result<void> choose_ports();
  Result<void> wait_serving(Duration timeout);
  std::vector<std::string> arguments(int member) const;
  std::string log(int member) const;
  bool has_ended(int member);
  void kill_all();

  const LocalEtcdOptions options_;
  std::vector<Process> processes_;
};

}  // namespace outlast::etcd
