#pragma once
#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::cli {

/// How a restart is asked for: all three must give the same.
enum class RestartTrigger : std::uint8_t { kSignal, kStore, kHttp };
const char* to_string(RestartTrigger trigger);

/// One worker replaced. Times count since the load began.
struct RestartTurn {
  int node{0};  ///< From 0.
  RestartTrigger trigger{RestartTrigger::kSignal};
  Duration asked{0};
  std::uint64_t id{0};             ///< Of the run, given by the node's supervisor.
  std::optional<Duration> over;    ///< Its receipt was there.
  std::optional<Duration> healed;  ///< Every replica was in sync again.
  boost::json::object receipt;
};

/// Replaces the workers of all nodes in turn, again and again until `end`: the next one when the last one's receipt is
/// there and every replica is in sync. Never blocks for long; what hangs ends the rounds with a sentence.
/// Pure but for its ports. Thread-safety: none.
class RestartRounds {
 public:
  struct Ports {
    std::function<Result<std::uint64_t>(int node, RestartTrigger)> ask;  ///< The id of its run.
    std::function<std::optional<boost::json::object>(int node, std::uint64_t id)> receipt;
    std::function<bool()> healed;
    std::function<void(const std::string&)> say;
  };
  RestartRounds(int nodes, Duration end, Ports ports);
  void step(Duration now);
  /// Nothing more will happen: the time is over and the last turn too, or trouble() says why not.
  bool finished() const { return phase_ == Phase::kOver; }
  const std::string& trouble() const { return trouble_; }
  const std::vector<RestartTurn>& turns() const { return turns_; }

 private:
  enum class Phase : std::uint8_t { kResting, kRestarting, kHealing, kOver };
  void enter(Phase next, Duration now);
  void fail(const std::string& why);
  void begin(Duration now);
  void look(Duration now);

  const int nodes_;
  const Duration end_;
  const Ports ports_;
  Phase phase_{Phase::kResting};
  Duration since_{0};
  std::vector<RestartTurn> turns_;
  std::string trouble_;
};

/// How many restarts a run of this length must have had: twenty in 90 s, at least one.
std::size_t restarts_wanted(Duration run);

}  // namespace outlast::cli
