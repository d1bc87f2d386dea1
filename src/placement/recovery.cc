#include "placement/recovery.h"

#include <algorithm>

namespace outlast::placement {
namespace {
using Condition = ReplicaFacts::Condition;

const ReplicaFacts* find(std::span<const ReplicaFacts> facts, const ReplicaRef& replica) {
  const auto it = std::ranges::find(facts, replica, &ReplicaFacts::replica);
  return it == facts.end() ? nullptr : &*it;
}

bool healthy(std::span<const ReplicaFacts> facts, const ReplicaRef& replica) {
  const ReplicaFacts* known = find(facts, replica);
  return known != nullptr && known->condition == Condition::kHealthy;
}

std::string nodes_of(const std::vector<NodeId>& nodes) {
  std::string out = nodes.size() == 1 ? "node " : "nodes ";
  for (std::size_t i = 0; i < nodes.size(); ++i) out += (i == 0 ? "" : ", ") + nodes[i].to_string();
  return out;
}

/// Why the chosen replica cannot be led from; empty when it can.
std::string unusable(const RangeConfig& now, NodeId from, std::span<const ReplicaFacts> facts) {
  const std::string node = "node " + from.to_string();
  const ReplicaRef* chosen = now.find(from);
  if (chosen == nullptr) {
    std::vector<NodeId> there;
    for (const auto* refs : {&now.insync, &now.learners})
      for (const ReplicaRef& ref : *refs) there.push_back(ref.node);
    return node + " has no replica of this range; " + nodes_of(there) + (there.size() == 1 ? " has" : " have");
  }
  const ReplicaFacts* known = find(facts, *chosen);
  if (known == nullptr || known->condition == Condition::kSilent)
    return node + " does not answer for its replica: start that node first";
  if (known->condition == Condition::kDamaged) return "the replica on " + node + " is damaged; choose another one";
  if (known->condition == Condition::kOpening) return node + " is still opening its replica: ask again in a moment";
  if (known->condition == Condition::kRefusing)
    return "the replica on " + node +
           " knows a newer configuration than the metadata record: run `outlast meta rebuild` first";
  return {};
}

}  // namespace

RecoveryJudgement judge_recovery(const RangeConfig& now, NodeId from, std::span<const ReplicaFacts> facts,
                                 bool holder_finished) {
  RecoveryJudgement out;
  std::vector<NodeId> alive, silent;
  for (const ReplicaRef& member : now.insync) (healthy(facts, member) ? alive : silent).push_back(member.node);
  const bool enough =
      !alive.empty() && alive.size() >= std::min(static_cast<std::size_t>(now.min_insync), now.insync.size());
  for (const ReplicaFacts& each : facts) {
    if (!each.serving || (!enough && each.replica.node == from)) continue;
    out.refused = "node " + each.replica.node.to_string() + " leads the range and serves it: ";
    out.refused += enough ? "nothing is to be done" : "recover from that node, it holds every acknowledged write";
    return out;
  }
  if (out.refused = unusable(now, from, facts); !out.refused.empty()) return out;
  if (enough) {
    out.refused = "the in-sync replicas on " + nodes_of(alive) + " are enough to go on without loss (min_insync is " +
                  std::to_string(now.min_insync) +
                  "): one of them takes over by itself once the old leaseholder is fenced; wait for liveness.ttl and "
                  "recovery_wait";
    return out;
  }
  const bool chosen_in_sync = now.find_insync(from) != nullptr;
  if (!chosen_in_sync && !alive.empty()) {
    out.refused = "the replica on " + nodes_of(alive) +
                  " is in sync and holds every acknowledged write, the one on node " + from.to_string() +
                  " is not: recover from node " + alive[0].to_string();
    return out;
  }
  if (!holder_finished && now.leaseholder && now.leaseholder->node != from) {
    out.refused = "the leaseholder's process on node " + now.leaseholder->node.to_string() +
                  " is not fenced yet and might still serve: wait for liveness.ttl, or stop that node";
    return out;
  }
  const ReplicaFacts& chosen = *find(facts, *now.find(from));
  Lsn known_durable = chosen.durable;
  for (const ReplicaFacts& each : facts) known_durable = std::max(known_durable, each.durable);
  const std::string end = "LSN " + chosen.end.to_string() + " (epoch " + chosen.end_epoch.to_string() + ")";
  if (chosen_in_sync) {
    out.losses.push_back("the replica on node " + from.to_string() + " is in sync, its log ends at " + end +
                         ": no acknowledged write is lost, as far as its disk kept what it confirmed");
  } else {
    out.losses.push_back("the replica on node " + from.to_string() + " is a learner, its log ends at " + end +
                         ": every acknowledged write after it is lost");
    out.losses.push_back(known_durable > chosen.end
                             ? "others know of acknowledged writes up to LSN " + known_durable.to_string() +
                                   ": at least " + std::to_string(known_durable.value - chosen.end.value) +
                                   " transactions are lost"
                             : "how many that are is not known to any replica that answers");
  }
  for (const NodeId node : silent)
    if (node != from)
      out.losses.push_back("what only the replica on node " + node.to_string() +
                           " holds is thrown away when that node comes back");
  return out;
}

Result<RangeConfig> unsafe_recovery(const RangeConfig& now, NodeId from, Incarnation incarnation) {
  const ReplicaRef* found = now.find(from);
  if (found == nullptr)
    return Error(Errc::kInvalidState,
                 "range " + now.range.to_string() + ": node " + from.to_string() + " has no replica of it");
  const ReplicaRef chosen = *found;
  RangeConfig next = now;
  next.epoch = now.epoch.next();
  next.cfg = now.cfg.next();
  next.leaseholder = Leaseholder{from, incarnation};
  next.learners.insert(next.learners.end(), now.insync.begin(), now.insync.end());
  std::erase(next.learners, chosen);
  next.insync = {chosen};
  next.rf = 1;
  next.min_insync = min_insync_of(1);
  next.clean = false;
  return next;
}

RangeConfig rebuilt_record(const RangeConfig& found, const RangeConfig* stored, bool complete) {
  RangeConfig next = found;
  next.epoch = std::max(found.epoch, stored != nullptr ? stored->epoch : Epoch()).next();
  next.cfg = std::max(found.cfg, stored != nullptr ? stored->cfg : ConfigVersion()).next();
  next.leaseholder.reset();
  next.clean = found.clean && complete;
  return next;
}

}  // namespace outlast::placement
