#pragma once
#include <functional>
#include <map>
#include <memory>

#include "base/loop.h"
#include "placement/planner.h"

namespace outlast::tasks {

/// The leader frontend's duty of placement: looks at the cluster, asks the pure planner for the next steps and the
/// ranges' leaseholders to take them. It keeps no truth: what it asked for and what came of it shows in the range
/// records, so that the next holder of the office goes on from there.
/// Thread-safety: loop only. Lifetime: `loop` and what the ports use outlive it.
class Placer {
 public:
  struct Ports {
    std::function<bool()> in_office;
    std::function<placement::ClusterView()> view;
    /// Asks the leaseholder of the step's range; the callback comes on the loop.
    std::function<void(const placement::Step&, Callback<void>)> take;
  };
  Placer(Loop& loop, Ports ports);
  ~Placer();
  Placer(const Placer&) = delete;
  Placer& operator=(const Placer&) = delete;

  void start();
  /// Something changed: look soon instead of at the next tick.
  void nudge();
  std::size_t steps_taken() const { return taken_; }
  std::size_t steps_failed() const { return failed_; }

 private:
  void tick();
  void schedule(Duration delay);
  void take(const placement::Step& step);

  Loop& loop_;
  Ports ports_;
  Loop::TimerId timer_{0};
  Instant due_{};
  std::map<RangeId, Instant> asked_;       ///< One step of a range at a time; forgotten when answered.
  std::map<RangeId, Instant> rest_until_;  ///< After a failure: let others go first.
  std::size_t taken_{0}, failed_{0};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::tasks
