#pragma once
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"

namespace outlast::lifecycle {

/// What is left to copy, counted at one instant.
struct CopyLoad {
  struct Target {
    NodeId node;
    std::uint64_t bytes_left{0};
  };
  std::uint64_t bytes_left{0};
  std::uint64_t largest_left{0};    ///< One replica is copied as one stream.
  std::vector<Target> targets;      ///< Of what is under way.
  std::vector<Target> senders;      ///< What each leaseholder has to send, begun or not; empty: not known.
  std::size_t targets_possible{1};  ///< Nodes that may take replicas.
  std::uint64_t rate_max{0};  ///< kv.snapshot_rebalance.max_rate: bytes a second that one node sends; 0 = no limit.
};

enum class Bottleneck : std::uint8_t {
  kNone,
  kLimit,       ///< kv.snapshot_rebalance.max_rate.
  kSlowTarget,  ///< One node takes much longer than the others.
  kOneRange,    ///< What is left is mostly one large replica.
  kCopying,     ///< Disks and network.
};
std::string_view to_string(Bottleneck bottleneck);

struct Estimate {
  double rate{0};               ///< Bytes a second, measured over the last seconds.
  std::optional<Duration> eta;  ///< None while nothing is measured, and no limit says how long it takes.
  Duration at_least{0};         ///< With limits used in full, or at the best speed that was measured.
  Bottleneck bottleneck{Bottleneck::kNone};
  NodeId node;  ///< The slow target.
};

/// How fast a copy goes, and when it will be done. A sliding window of samples, so that a burst or a pause is
/// forgotten. Thread-safety: none.
class Pace {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(20);
  static constexpr Duration kBrief = std::chrono::seconds(2);  ///< What was measured so far says nothing yet.
  static constexpr Duration kSeen = std::chrono::seconds(1);   ///< As old are the sizes that a sample counts, at most.
  /// `now` must not go back.
  void sample(Instant now, const CopyLoad& load);
  Estimate estimate() const;

 private:
  struct Sample {
    Instant at;
    std::uint64_t done{0};  ///< Copied since the first sample, never less than before.
    std::vector<CopyLoad::Target> targets;
  };
  struct Sharing {  ///< What each sender sends in the end, and the one that has most to send.
    double each{0}, most{0};
    bool known{false};
    NodeId busiest;
  };
  double rate() const;
  Sharing sharing() const;
  void find_slow_target(Estimate& out, double& longest) const;
  double rate_of(NodeId target) const;

  std::deque<Sample> samples_;
  CopyLoad last_;
  double best_rate_{0};
};

}  // namespace outlast::lifecycle
