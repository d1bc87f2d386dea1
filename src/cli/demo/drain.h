#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// One node's turn: drained, stopped, started, and back at work. Times count since the load began.
struct DrainTurn {
  int node{0};  ///< From 0.
  Duration asked{0};
  std::optional<Duration> complete;  ///< The drain ended.
  std::optional<Duration> ready;     ///< Its new process said ready.
  std::optional<Duration> back;      ///< It caught up and leads its share again.
  proto::DrainStatus receipt;        ///< The drain's last status.
};

/// Takes every node in turn out of service and back, as an operator would in a rolling restart: the next one only when
/// the last one is wholly back. Spreads the turns over the run, so that there is quiet time to compare with. Never
/// blocks; a step that hangs ends the rounds with a sentence.
/// Pure but for its ports. Thread-safety: none.
class DrainRounds {
 public:
  struct Ports {
    std::function<Result<proto::DrainReply>(int node, const proto::DrainRequest&)> ask;
    std::function<void(int node)> stop;  ///< SIGTERM.
    std::function<bool(int node)> running;
    std::function<Result<void>(int node)> start;
    std::function<bool(int node)> ready;
    std::function<bool()> healed;  ///< Every replica in sync, and leases spread evenly.
    std::function<void(const std::string&)> say;
  };
  DrainRounds(int nodes, int rounds, Duration end, Ports ports);
  void step(Duration now);
  /// Nothing more will happen: every turn is over, or trouble() says why not.
  bool finished() const { return phase_ == Phase::kOver; }
  const std::string& trouble() const { return trouble_; }
  const std::vector<DrainTurn>& turns() const { return turns_; }
  std::size_t wanted() const { return wanted_; }

 private:
  enum class Phase : std::uint8_t { kResting, kDraining, kStopping, kStarting, kReturning, kOver };
  void enter(Phase next, Duration now);
  void fail(const std::string& why);
  void begin(Duration now);
  void look(Duration now);
  Duration due() const;

  const int nodes_;
  const std::size_t wanted_;
  const Duration end_;
  const Ports ports_;
  Phase phase_{Phase::kResting};
  Duration since_{0};
  std::vector<DrainTurn> turns_;
  std::string trouble_;
};

}  // namespace outlast::cli
