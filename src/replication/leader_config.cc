// Leader: changes of the configuration (protocol A3) and the timers that ask for them.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "placement/replication_factor.h"
#include "replication/leader.h"

namespace outlast::replication {

using placement::RangeConfig;

namespace {
/// What a planted bug asks for.
Result<RangeConfig> without_minimum(RangeConfig record, NodeId id) {
  const int minimum = std::exchange(record.min_insync, 1);
  ASSIGN_OR_RETURN(RangeConfig next, placement::remove_backup(record, id));
  next.min_insync = minimum;
  return next;
}
}  // namespace

/// Looks for the next change to ask for; one is under way at a time. Called after everything that may matter.
void Leader::consider() {
  if (stopped_ || !recorded_ || host_.changing() || closing() || (transfer_ != nullptr && served_)) return;
  (void)(consider_removal() || consider_promotion() || consider_forgetting() || consider_steps());
}

/// Does anything wait for the other members? An idle range keeps even a dead one in S: that costs nothing, and a node's
/// end costs changes of the active ranges' records only (A3, lazy removal).
bool Leader::in_use() const {
  return !opened_ || remove_dead_ || reads_.running() || held_->durable < held_->log.tail().lsn;
}

bool Leader::unresponsive(const Member& member) const {
  if (member.broken || member.low) return true;
  if (!in_use()) return false;
  const Instant now = node().loop.now();
  const bool down = member.state == Member::State::kDown;
  const Lsn wanted = opened_ ? held_->log.tail().lsn : end_.lsn;
  if (member.activated && member.acked >= wanted && !down)
    return reads_.running() && !reads_.answered(member.ref.node) &&
           now - reads_.since() >= node().parameters.ack_timeout;
  // A broken stream: at once. So who is known to be gone when a range is taken over.
  if (down && (opened_ || member.was_up || !node().nodes.live(member.ref.node))) return true;
  return now - member.progress >= node().parameters.ack_timeout;
}

void Leader::remove_dead() {
  if (stopped_ || !recorded_) return;
  remove_dead_ = true;
  consider();
}

bool Leader::consider_removal() {
  for (auto& [id, member] : members_) {
    const bool leaves = member.voter && opened_ && node().nodes.stepping_out(id);
    if (!leaves && !(member.voter ? unresponsive(member) : member.broken)) continue;
    auto next = member.voter
                    ? placement::remove_backup(host_.record(), id)
                    : placement::remove_learner(host_.record(), id);  // data gone bad: placement adds a new one
    if (node().bugs.shrink_to_one && member.voter) next = without_minimum(host_.record(), id);
    if (!next.ok()) continue;
    spdlog::info("range {}: node {} {}; {}", held_->range.value, id.value,
                 leaves ? "leaves service" : "does not follow",
                 member.voter ? "it leaves the in-sync set" : "its learner leaves the range");
    if (node().bugs.removal_before_confirmed) member.voter = false;
    host_.change(*std::move(next), {}, weakly([](Leader& me, Result<void> result) {
      if (!result.ok()) me.arm_timer();
    }));
    if (node().bugs.removal_before_confirmed) advance();
    return true;
  }
  remove_dead_ = false;
  return false;
}

bool Leader::consider_promotion() {
  const auto healthy = [](const Member& m) {
    return m.state == Member::State::kStreaming && m.activated && !m.broken && !m.low;
  };
  if (!promoting_) {
    for (auto& [id, member] : members_)
      if (!member.voter && healthy(member) && close_enough(member) && !node().nodes.stepping_out(id)) {
        promoting_ = id;  // from now on commits need it (A4.4)
        promote_at_ = opened_ ? held_->durable : end_.lsn;
        break;
      }
    if (!promoting_) return false;
  }
  if (promotion_sent_) return false;
  Member* member = find(*promoting_);
  if (member == nullptr || member->voter || !healthy(*member) || node().nodes.stepping_out(*promoting_)) {
    promoting_.reset();
    return false;
  }
  if (member->acked < promote_at_) return false;
  const NodeId id = *promoting_;
  auto next = placement::promote_learner(host_.record(), id, member->ref.store_uuid, rf_wanted_);
  if (!next.ok()) return false;
  promotion_sent_ = true;
  if (node().bugs.promote_without_union) promoting_.reset();
  host_.change(*std::move(next), {meta::Compare::absent(meta::keys::fence({id, member->incarnation}))},
               weakly([id](Leader& me, Result<void> result) { me.promoted(id, std::move(result)); }));
  return true;
}

/// The outcome is known by now: only then may commits stop needing a learner that was not promoted.
void Leader::promoted(NodeId id, Result<void> result) {
  promotion_sent_ = false;
  if (promoting_ == id) promoting_.reset();
  if (!result.ok()) arm_timer();
  advance();
}

/// Deleted replicas, and those of nodes that are gone for good: nobody will ever say that they are deleted.
bool Leader::consider_forgetting() {
  for (const placement::ReplicaRef& gone : host_.record().removed)
    if (node().nodes.gone_for_good(gone.node)) deleted_.insert(gone.replica);
  for (const ReplicaId replica : deleted_) {
    auto next = placement::forget_removed(host_.record(), replica);
    if (!next.ok()) continue;
    host_.change(*std::move(next), {}, weakly([replica](Leader& me, Result<void> result) {
      if (result.ok()) me.deleted_.erase(replica);
    }));
    return true;
  }
  return false;
}

void Leader::step(placement::Step step, Callback<void> done) {
  if (step.kind == placement::Step::Kind::kTransferLease) return transfer(step.node, std::move(done));
  steps_.emplace_back(step, std::move(done));
  consider();
}

Result<RangeConfig> Leader::next_for(const placement::Step& step) const {
  const RangeConfig& record = host_.record();
  if (step.kind == placement::Step::Kind::kAddReplica) {
    if (!node().nodes.live(step.node))
      return Error(Errc::kUnavailable, "node " + step.node.to_string() + " does not answer");
    if (node().nodes.draining(step.node))
      return Error(Errc::kInvalidState, "node " + step.node.to_string() + " is draining: it gets no replicas");
    return placement::add_learner(record, step.node, node().nodes.store_of(step.node));
  }
  if (step.kind == placement::Step::Kind::kReduceReplication)
    return placement::reduce_replication(record, step.node, step.rf);
  if (record.find_insync(step.node) == nullptr) return placement::remove_learner(record, step.node);
  // Out of S and out of the range in one change: as a mere learner it would soon be promoted again.
  ASSIGN_OR_RETURN(const RangeConfig backup, placement::remove_backup(record, step.node));
  ASSIGN_OR_RETURN(RangeConfig next, placement::remove_learner(backup, step.node));
  next.cfg = record.cfg.next();
  return next;
}

bool Leader::consider_steps() {
  while (!steps_.empty()) {
    const placement::Step step = steps_.front().first;
    Callback<void> done = std::move(steps_.front().second);
    steps_.pop_front();
    if (step.rf > 0) rf_wanted_ = step.rf;
    const bool adds = step.kind == placement::Step::Kind::kAddReplica;
    auto admitted = adds ? node().nodes.admit_replica(step.node) : std::vector<meta::Compare>();
    auto next = admitted.ok() ? next_for(step) : Result<RangeConfig>(std::move(admitted).error());
    if (!next.ok()) {
      done(std::move(next).error());
      continue;
    }
    host_.change(*std::move(next), *std::move(admitted), std::move(done));
    return true;
  }
  return false;
}

/// One timer while something is owed by somebody; none when the range is idle, whole or not: the node's sweep comes
/// back to a dead member of an idle range.
void Leader::arm_timer() {
  if (stopped_ || !recorded_) return;
  const placement::RangeConfig& record = host_.record();
  const bool removable = static_cast<int>(record.insync.size()) > record.min_insync;
  const bool pending = held_->durable < held_->log.tail().lsn;
  bool owed = opened_ && (pending || stalled_ || node().disk_low || reads_.running());
  for (const auto& [id, member] : members_) {
    const bool behind = !member.activated || member.state == Member::State::kDown || member.low || pending;
    const bool joining = member.state == Member::State::kProbing || member.state == Member::State::kSnapshot;
    owed = owed || (member.voter ? behind && removable && (in_use() || member.low) : joining);
    if (member.voter && behind && removable && !in_use()) node().sweep->note(held_->range);
  }
  if (!owed || timer_ != 0) return;
  timer_ = node().loop.after(node().parameters.ack_timeout / 4, weakly([](Leader& me) {
                               me.timer_ = 0;
                               me.on_timer();
                             }));
}

void Leader::on_timer() {
  const Instant now = node().loop.now();
  for (auto& [id, member] : members_) {
    const bool waits = member.state == Member::State::kProbing;
    const Duration patience = node().parameters.ack_timeout * (waits ? 1 : 10);
    if (member.voter || (!waits && member.state != Member::State::kSnapshot)) continue;
    const auto snapshot = snapshots_.find(id);
    if (snapshot != snapshots_.end() && snapshot->second->waits()) member.progress = now;
    if (now - member.progress < patience || !node().peers.contains(id)) continue;
    member.progress = now;  // its answer may be lost with a replica that was not open yet
    probe(member, held_->log.tail());
  }
  on_reads_timer();
  consider();
  if (!stopped_) check_stalled();
  if (!stopped_ && node().disk_low) check_room();
  if (!stopped_) arm_timer();
}

void Leader::push_config() {
  const std::string config = placement::encode(host_.record());
  const auto push = [&](NodeId to, ReplicaId replica) {
    proto::RangeMessage out = message();
    out.mutable_config_push()->set_config(config);
    held_->send(to, replica, std::move(out));
  };
  for (const auto& [id, member] : members_)
    if (member.state == Member::State::kStreaming) push(id, member.ref.replica);
  for (const placement::ReplicaRef& gone : host_.record().removed) push(gone.node, gone.replica);
}

}  // namespace outlast::replication
