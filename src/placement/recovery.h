#pragma once
#include <span>
#include <string>
#include <vector>

#include "placement/range_config.h"

namespace outlast::placement {

/// What is known about one replica of a range that is in trouble.
struct ReplicaFacts {
  enum class Condition : std::uint8_t {
    kHealthy,
    kDamaged,  ///< Its node says so.
    kOpening,
    kRefusing,  ///< It accepted a newer configuration than the metadata record holds.
    kSilent,    ///< Its node is not live, or does not answer, or has no such replica.
  };
  ReplicaRef replica;
  Condition condition{Condition::kSilent};
  bool serving{false};  ///< It leads, and clients are served.
  Lsn end, durable;     ///< End of its log; what it knows to be durable.
  Epoch end_epoch;
};

/// Whether the named replica may become the only member of a range's in-sync set, by an operator's word (protocol A3,
/// "unsafe recovery").
struct RecoveryJudgement {
  std::string refused;              ///< Why it must not be, with what to do instead; empty when it may.
  std::vector<std::string> losses;  ///< What is known to be lost, and what nobody can know, one sentence each.
};
/// `holder_finished`: the leaseholder's process is fenced, or the record names none, or its node says that its replica
/// does not lead. Refused while the in-sync set can make progress by itself, or while another replica would lose less.
RecoveryJudgement judge_recovery(const RangeConfig& now, NodeId from, std::span<const ReplicaFacts> facts,
                                 bool holder_finished);

/// The record after an unsafe recovery: `from` leads alone with a new epoch, everybody else is a learner, rf starts
/// again at 1 (placement raises it as learners are promoted), clean is false for ever.
Result<RangeConfig> unsafe_recovery(const RangeConfig& now, NodeId from, Incarnation incarnation);

/// The record that `outlast meta rebuild` writes from the highest configuration that was found in the replicas' logs:
/// above it and above what the metadata store has, led by nobody, so that a member of S takes it over.
RangeConfig rebuilt_record(const RangeConfig& found, const RangeConfig* stored, bool complete);

}  // namespace outlast::placement
