#pragma once
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

// For tests: this program itself as a supervisor with scripted workers and trials. What those do is read from files in
// the store: `hook` is "<role>:<state>:<die|hang>[:always]", done once unless `always`; `trial` is what a trial does;
// with `with_source_only` the supervisor starts source-only. A worker keeps `mode.PID`: "source_only" or "stores".
namespace outlast::handover::fake {

struct Start {
  std::string program;  ///< Empty: this one.
  std::map<std::string, std::string> environment;
  std::vector<std::string> prefix;  ///< In front of the command line: unshare and its options.
  std::vector<int> listen_fds;      ///< Passed as systemd does, from 3.
  bool wait_until_ready{true};
};

/// A folder's name that nothing else has.
std::string fresh_store();

/// A running supervisor of a store. Thread-safety: none. Lifetime: kills what is left of it, workers too.
class FakeNode {
 public:
  explicit FakeNode(std::string store);
  ~FakeNode();
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;

  void start(const Start& how = {});
  int pid() const { return pid_; }
  const std::string& store() const { return store_; }
  void write(const std::string& name, const std::string& text) const;
  std::string read(const std::string& name) const;
  /// Exit code, or 1000 + signal.
  int wait_for_end();
  void signal(int number) const;

  /// A connection is taken by a worker, who says its pid; 0 when nobody did within 20 s.
  int served_by() const;
  int connect() const;
  /// Sends a restart over the supervisor's socket and waits for its receipt.
  std::string restart(const std::string& binary = {}) const;
  /// Sends one request and returns the first answer.
  std::string ask(const std::string& kind, const std::string& text) const;
  /// Restarts.json's receipt of this id, once the state is idle again.
  std::string wait_for_receipt(std::uint64_t id) const;
  /// Pids of the workers that ever lived, as they noted themselves.
  std::vector<int> workers() const;
  int living_workers() const;

 private:
  const std::string store_;
  int pid_{0};
};

/// Polls until `done` says so, for at most 30 s of a busy machine.
template <class F>
bool eventually(F done);

bool lives(int pid);
std::string own_program();
void pause_briefly();
std::string value_of(const std::string& json, const std::string& key);

template <class F>
bool eventually(F done) {
  for (int i = 0; i < 3000; ++i) {
    if (done()) return true;
    pause_briefly();
  }
  return false;
}

}  // namespace outlast::handover::fake
