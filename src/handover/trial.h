#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "handover/child.h"

namespace outlast::handover {

/// A new binary tried with today's options: `start --check` prints one JSON object and exits 0, or says in one sentence
/// what is wrong. It touches nothing. Thread-safety: none. Lifetime: kills the process when it is destroyed.
class Trial {
 public:
  struct Result {
    std::string refusal;  ///< Empty: passed.
    std::string report;   ///< The JSON.
    std::string version;
  };
  static outlast::Result<std::unique_ptr<Trial>> start(const std::vector<std::string>& argv);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  int pid() const { return process_.pid; }
  /// What to poll for reading: its outputs (-1 once closed) and its end.
  std::vector<int> fds() const { return {out_.fd, err_.fd, process_.pid_fd}; }
  /// Reads what there is; the result once it has ended.
  std::optional<Result> look();

 private:
  struct Stream {
    int fd{-1};
    std::string text;
    void read_some();
  };
  Trial() = default;
  Result judge(const ChildEnd& end) const;

  Child process_;
  Stream out_, err_;
};

}  // namespace outlast::handover
