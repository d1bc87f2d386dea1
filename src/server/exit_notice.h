#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/loop.h"

namespace outlast::server {

/// Says that this process is about to end (phase leaving of its liveness record), and asks the leader frontend until it
/// knows (docs/graceful-exit.md). Nothing else decides what others take the process for.
/// Thread-safety: loop only. Lifetime: what the ports use outlives it.
class ExitNotice {
 public:
  struct Ports {
    std::function<void(bool leaving)> set_phase;
    /// The leader frontend's node when it knows; else an error that says why not.
    std::function<void(Callback<NodeId>)> ask_leader;
    std::function<void()> acknowledged;
  };
  ExitNotice(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}
  ~ExitNotice();
  ExitNotice(const ExitNotice&) = delete;
  ExitNotice& operator=(const ExitNotice&) = delete;

  /// The process ends, or stays after all; repeating it changes nothing.
  void give(bool ends);
  /// Who knows, since when.
  std::optional<NodeId> acknowledged_by() const { return by_; }
  Instant acknowledged_at() const { return at_; }
  /// Why nobody does yet; empty before the first answer.
  const std::string& not_acknowledged() const { return why_not_; }

 private:
  void ask();
  void answered(Result<NodeId> answer);

  Loop& loop_;
  const Ports ports_;
  bool given_{false}, asking_{false};
  std::optional<NodeId> by_;
  Instant at_{};
  std::string why_not_;
  Loop::TimerId again_{0};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
