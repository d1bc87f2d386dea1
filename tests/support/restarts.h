#pragma once
#include <atomic>
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "handover/states.h"
#include "support/cluster.h"

namespace outlast::testing_support {

/// Who can die in a restart.
enum class Role : std::uint8_t { kOld, kNew, kSupervisor };
inline constexpr Role kAllRoles[] = {Role::kOld, Role::kNew, Role::kSupervisor};
std::string_view to_string(Role role);

/// The processes of one store, from /proc; those that have ended and are not waited for yet do not count.
struct StoreProcesses {
  std::vector<pid_t> supervisors, workers, trials;
  std::size_t size() const { return supervisors.size() + workers.size() + trials.size(); }
};
StoreProcesses processes_of(const std::string& store);

/// A FIFO that holds whoever opens it for reading, such as hold_point() in handover/states.h.
class Hold {
 public:
  explicit Hold(std::string path);
  ~Hold();
  /// One look: somebody is held. From then on nobody else will be.
  bool reached();
  void release();

 private:
  const std::string path_;
  int fd_{-1};
};

/// A client that inserts rows into t, one after the other, for as long as it lives. It connects again after a failure
/// and never repeats an insert, so that a row that is there twice was doubled by the server.
class Writer {
 public:
  Writer(std::string url, long first_id);
  ~Writer() { stop(); }
  void stop();
  const std::set<long>& acknowledged() const { return acknowledged_; }  // after stop()
  long failures() const { return failures_; }

 private:
  void work();
  const std::string url_;
  const long first_id_;
  std::atomic<bool> over_{false};
  std::set<long> acknowledged_;
  long failures_{0};
  std::thread thread_;
};

/// Nodes that are restarted while things go wrong. The table t of defaultdb has no key: doubled rows can be seen.
class RestartsTest : public ClusterTest {
 protected:
  RestartsTest();
  ~RestartsTest() override;

  /// `environment` for the node's processes, "NAME=VALUE"; it must come before the first start.
  void environment(const std::string& name, const std::string& value);
  /// One node with the table t.
  void start_one();

  /// Holds `role` ("old", "new", "supervisor") where it enters `state`.
  std::unique_ptr<Hold> hold(std::string_view role, handover::HandoverState state);
  void wait_reached(Hold& hold);
  void wait(const std::string& what, const std::function<bool()>& reached);

  pid_t supervisor() { return process(Role::kSupervisor); }
  pid_t worker();
  /// 0: there is none. The old one is the worker that owned the node when the restart was asked for.
  pid_t process(Role role);

  /// Sends SIGKILL or SIGSTOP, and waits until it has taken effect.
  void strike(pid_t victim, int signal);
  /// The node's facts name this supervisor: it is the node's now.
  bool facts_name(pid_t supervisor);

  /// Asks for a restart and returns its id.
  std::uint64_t begin_restart(const std::string& binary = "");
  /// Its receipt, waited for.
  boost::json::object receipt(std::uint64_t id);
  boost::json::object restart(const std::string& binary = "") { return receipt(begin_restart(binary)); }
  static std::string outcome(const boost::json::object& receipt);

  /// The server's end of this connection is open in the process.
  static bool serves(pid_t process, int client_fd);
  /// One supervisor and one worker, in the end.
  void expect_nobody_left_over();
  /// Each of the ids is there once; whatever else is there is there once, too.
  void expect_rows(const std::set<long>& acknowledged);

 private:
  std::vector<std::string> variables_;
  pid_t old_{0};
};

}  // namespace outlast::testing_support
