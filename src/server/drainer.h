#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "lifecycle/drain.h"

namespace outlast::server {

/// What the cluster has to know of this node's drain (meta::DrainRecord).
struct DrainWish {
  bool draining{false}, force{false}, step_out{false}, drained{false}, leave{false};
  friend bool operator==(const DrainWish&, const DrainWish&) = default;
};

/// A drain at one instant, as far as the machine and the counts tell.
struct DrainView {
  lifecycle::DrainPhase phase{};
  lifecycle::DrainEnd end{};
  lifecycle::DrainBlocker blocker{};
  lifecycle::DrainRequest request;
  lifecycle::DrainSettings settings;
  lifecycle::DrainLoad load, at_start;
  std::string by;
  std::int64_t since_micros{0};  ///< Wall clock, for display; 0: no drain.
  Duration elapsed{0};
  struct Phase {
    lifecycle::DrainPhase phase;
    Duration lasted;
  };
  std::vector<Phase> phases;  ///< Those entered so far, the present one last.
  double per_second{0};       ///< How fast `remaining` fell since the drain began.
  std::optional<Duration> eta;
};

/// Carries out the drain machine's orders on this node: asks for counts, takes steps, tells sessions and leases to go,
/// says how far it is. It keeps no truth about work of its own.
/// Thread-safety: loop only. Lifetime: what the ports use outlives it.
class Drainer {
 public:
  struct Ports {
    std::function<lifecycle::DrainSettings()> settings;
    std::function<lifecycle::DrainLoad()> load;
    /// Called with every look while a drain is under way, and when it and its record are undone: repeating is harmless.
    std::function<void(const lifecycle::DrainOrders&)> carry_out;
    /// Writes or erases the durable record; called again until it succeeds or the wish is another.
    std::function<void(const DrainWish&, const std::string& by, Callback<void>)> record;
    /// One line for operators.
    std::function<void(const std::string& event, const DrainView&)> report;
    /// The drain came to its end: keep the receipt.
    std::function<void(const DrainView&)> drained;
  };
  Drainer(Loop& loop, Ports ports);
  ~Drainer();
  Drainer(const Drainer&) = delete;
  Drainer& operator=(const Drainer&) = delete;

  /// Begins, or adds to the drain under way (DrainMachine::drain).
  Result<void> drain(lifecycle::DrainRequest request, std::string by);
  /// kInvalidState once the process is to end in any case (end_after()).
  Result<void> undrain();
  /// Calls back once when the node is drained, at once if it is already; undrain() forgets it unless `final`.
  void when_drained(Task done, bool final);
  /// Something changed that a drain may wait for: looks soon, not only when it is time again.
  void nudge();
  DrainView view() const;
  std::int64_t since_micros() const { return since_micros_; }
  const std::string& by() const { return by_; }
  bool draining() const { return machine_.draining(); }
  bool rehearsing() const { return machine_.rehearsing(); }
  bool frontend_only() const { return machine_.frontend_only(); }
  bool begins(const lifecycle::DrainRequest& request) const { return machine_.begins(request); }
  bool handing_over() const { return machine_.draining() && machine_.request().handover; }
  const lifecycle::DrainRequest& request() const { return machine_.request(); }
  lifecycle::DrainOrders orders() const { return machine_.orders(); }
  /// The durable record says that this node leaves, or may say so: nothing may come in before it is erased.
  bool is_recorded_to_leave() const { return recorded_to_leave_; }

 private:
  void look();
  void schedule(Instant at);
  void keep_record();
  void note_recorded(const DrainWish& wish);
  DrainWish wish() const;

  Loop& loop_;
  const Ports ports_;
  lifecycle::DrainMachine machine_;
  std::string by_;
  std::int64_t since_micros_{0};
  lifecycle::DrainLoad at_start_;
  Instant progress_at_{}, drained_at_{};
  Instant look_from_{};  ///< No look before it.
  Loop::TimerId timer_{0}, retry_{0};
  std::vector<Task> waiting_;
  bool final_{false};
  bool recording_{false};
  DrainWish recorded_;
  bool recorded_to_leave_{false};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
