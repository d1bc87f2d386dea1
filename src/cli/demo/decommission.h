#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "cli/demo/task_watch.h"

namespace outlast::cli {

/// Takes two nodes of a cluster under load out for good with one command, as an operator would: first a quiet time to
/// compare with, then the pre-flight, a limit of the copying that makes the moves last most of the run, the command,
/// and a third node's end in the middle. Never blocks for long; what hangs ends it with a sentence.
/// Pure but for its ports. Thread-safety: none.
class DecommissionAct {
 public:
  struct Ports {
    std::function<Result<proto::DecommissionReply>(const proto::DecommissionRequest&)> ask;
    std::function<Result<proto::TaskStatus>(std::uint64_t task)> status;
    std::function<Result<void>(std::uint64_t bytes_a_second)> limit;  ///< Of what one node sends.
    std::function<Result<void>()> kill;                               ///< A node that stays; it comes back by itself.
    std::function<bool()> healed;
    std::function<void(const std::string&)> say;
  };
  /// `nodes`: so many send copies, those that leave included: they may be leaseholders.
  DecommissionAct(std::vector<NodeId> leave, int nodes, Duration run, Ports ports);
  void step(Duration now);
  /// Nothing more will happen: the task is over, or trouble() says why not.
  bool finished() const { return phase_ == Phase::kOver; }
  const std::string& trouble() const { return trouble_; }
  const std::vector<NodeId>& leave() const { return leave_; }
  bool killed() const { return killed_; }
  std::uint64_t limit() const { return limit_; }
  const proto::Preflight& preflight() const { return preflight_; }
  /// Null before the command was given.
  const TaskStory* story() const { return watch_ ? &watch_->story() : nullptr; }

 private:
  enum class Phase : std::uint8_t { kSteady, kUnderWay, kOver };
  void fail(const std::string& why);
  void begin(Duration now);
  void look(Duration now);
  proto::DecommissionRequest request(proto::DecommissionRequest::Action action) const;
  /// Why the node that was asked would not; empty = it did.
  std::string refused(const Result<proto::DecommissionReply>& reply) const;

  const std::vector<NodeId> leave_;
  const int nodes_;
  const Duration run_;
  const Ports ports_;
  Phase phase_{Phase::kSteady};
  proto::Preflight preflight_;
  std::optional<TaskWatch> watch_;
  std::uint64_t task_{0}, limit_{0};
  bool killed_{false};
  Duration looked_{0}, answered_{0};
  std::string trouble_;
};

/// What lets `nodes` nodes together send `bytes` in about `lasting`; a limit has a least value. Pure.
std::uint64_t rate_for(std::uint64_t bytes, int nodes, Duration lasting);

}  // namespace outlast::cli
