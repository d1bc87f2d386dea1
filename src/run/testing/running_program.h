#pragma once
#include <sys/types.h>

#include <boost/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "run/options.h"

namespace outlast::run::testing {

/// An `outlast run` in a process of its own, whose events a test reads. It is killed when this goes.
class RunningProgram {
 public:
  struct How {
    RunOptions options;
    std::map<std::string, std::string> environment;
    int socket{-1};        ///< Given to it as a process manager does, with LISTEN_FDS=1.
    bool as_pid_1{false};  ///< In a PID namespace of its own.
  };
  explicit RunningProgram(How how);
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int signal) const;
  /// Reads until an event has this name: that event, or {} when none came in 20 s.
  boost::json::object next(const std::string& event);
  /// Triggers a reload: its receipt.
  boost::json::object reload();
  /// The port of the first socket, once the server is ready.
  int ready_port();
  /// Its exit code; -1 when it does not end in 20 s. What it said and nobody read is in events() then.
  int wait();
  const std::vector<boost::json::object>& events() const { return events_; }  ///< All that were read.
  std::size_t count(const std::string& event) const;

 private:
  bool read_event();

  pid_t pid_{0};
  int out_{-1};
  std::string buffer_;
  std::vector<boost::json::object> events_;
};

int open_descriptors(pid_t pid);
/// A program that has just been started still opens and closes files of its own: whether it comes to `descriptors` in
/// 20 s.
bool settles_at(pid_t pid, int descriptors);
std::vector<pid_t> children_of(pid_t pid);

}  // namespace outlast::run::testing
