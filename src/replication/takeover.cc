// RangeMachine: who takes a range over, when and how (protocol A3, A4.3, A4.7).
#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/range_machine.h"

namespace outlast::replication {

using placement::Leaseholder;
using placement::RangeConfig;
using placement::ReplicaRef;

/// The record's leaseholder is finished: its incarnation is fenced, or it released the lease.
bool RangeMachine::leaderless() const {
  const auto& holder = record_->config.leaseholder;
  return !holder || node_.fenced(*holder);
}

bool RangeMachine::may_take_over() const {
  if (stopped_ || node_.leaving || !record_ || !held_ || held_->failed || leader_ || taking_over_ || changing_)
    return false;
  const ReplicaRef* mine = record_->config.find_insync(node_.self.node);
  return mine != nullptr && *mine == held_->ref && leaderless() && !behind_accepted();
}

/// First live member of S at once, the others a step later each; the old leaseholder's own node last. One that gave the
/// lease up because it got no further, or that drains, takes it only when nobody else wants it.
Duration RangeMachine::takeover_delay() const {
  const RangeConfig& config = record_->config;
  std::vector<NodeId> order;
  const auto& former =
      config.leaseholder || held_->accepted.epoch != config.epoch ? config.leaseholder : held_->accepted.leaseholder;
  const auto last = [&](NodeId id) { return former && former->node == id; };
  for (const bool tail : {false, true})
    for (const ReplicaRef& ref : config.insync)
      if (last(ref.node) == tail && (ref.node == node_.self.node || node_.nodes.live(ref.node)))
        order.push_back(ref.node);
  const auto position = std::find(order.begin(), order.end(), node_.self.node) - order.begin();
  const bool gave_up = !config.leaseholder && last(node_.self.node);
  const bool reluctant = gave_up || node_.nodes.draining(node_.self.node);
  return (position + (reluctant ? 5 : 0)) * node_.parameters.takeover_step;
}

/// A4.7: a restarted process that has not followed the last leaseholder waits until all of S has said how long its log
/// is, at most recovery_wait; the longest goes first.
Duration RangeMachine::recovery_delay() {
  const RangeConfig& config = record_->config;
  if (held_->followed == config.epoch || ended_ == config.epoch) return Duration::zero();
  if (recovery_epoch_ != config.epoch) {
    recovery_epoch_ = config.epoch;
    recovery_since_ = node_.loop.now();
    for (const ReplicaRef& ref : config.insync)
      if (node_.peers.contains(ref.node)) send_recovery_state(ref.node);
  }
  const auto length = [](const storage::LogPosition& p) { return std::pair(p.epoch, p.lsn); };
  bool all = true, best = true;
  for (const ReplicaRef& ref : config.insync) {
    if (ref.node == node_.self.node) continue;
    const auto heard = heard_.find(ref.node);
    if (heard == heard_.end() || heard->second.record_epoch != config.epoch) {
      all = false;
      continue;
    }
    if (length(heard->second.end) > length(held_->log.tail())) best = false;
  }
  if (all) return best ? Duration::zero() : 5 * node_.parameters.takeover_step;
  const Instant deadline = recovery_since_ + node_.parameters.recovery_wait;
  const Duration left = std::max(Duration::zero(), deadline - node_.loop.now());
  return best ? left : left + 5 * node_.parameters.takeover_step;
}

void RangeMachine::send_recovery_state(NodeId to) {
  const ReplicaRef* peer = record_->config.find_insync(to);
  if (peer == nullptr || to == node_.self.node) return;
  proto::RangeMessage out;
  out.set_epoch(record_->config.epoch.value);
  out.mutable_recovery_state()->set_end_lsn(held_->log.tail().lsn.value);
  out.mutable_recovery_state()->set_end_epoch(held_->log.tail().epoch.value);
  held_->send(to, peer->replica, std::move(out));
}

void RangeMachine::schedule_takeover() {
  if (!may_take_over()) return;
  const Duration wait = recovery_delay();
  const Duration delay = wait + takeover_delay();
  if (delay <= Duration::zero()) {
    if (takeover_timer_ != 0) node_.loop.cancel(std::exchange(takeover_timer_, 0));
    return take_over();
  }
  const Instant at = node_.loop.now() + delay;
  if (takeover_timer_ != 0 && takeover_at_ <= at) return;  // being asked again does not put it off
  if (takeover_timer_ != 0) node_.loop.cancel(takeover_timer_);
  takeover_at_ = at;
  takeover_timer_ = node_.loop.after(delay, [weak = weak_from_this()] {
    const auto me = weak.lock();
    if (!me) return;
    me->takeover_timer_ = 0;
    if (me->may_take_over()) me->take_over();
  });
}

void RangeMachine::take_over() {
  const RangeConfig& config = record_->config;
  auto next = placement::take_over(config, node_.self.node, node_.self.incarnation);
  if (!next.ok()) return;
  std::vector<meta::Compare> also;
  if (config.leaseholder) {
    also.push_back(
        meta::Compare::present(meta::keys::fence({config.leaseholder->node, config.leaseholder->incarnation})));
  }
  spdlog::info("range {}: takes over from epoch {}", range_.value, config.epoch.value);
  taking_over_ = true;
  follower_->freeze();  // (i): nothing of the old epoch is acknowledged any more
  change(*std::move(next), std::move(also), [weak = weak_from_this()](Result<void> result) {
    if (auto me = weak.lock()) me->take_over_answered(std::move(result));
  });
}

void RangeMachine::take_over_answered(Result<void> result) {
  taking_over_ = false;
  if (result.ok()) return;  // evaluate() follows and leads, unless a newer epoch has spoken meanwhile
  if (follower_) follower_->unfreeze();
  if (result.error().code == Errc::kMetaConflict) return refresh_record();
  node_.loop.after(node_.parameters.meta_retry, [weak = weak_from_this()] {
    if (auto me = weak.lock()) me->evaluate();
  });
}

/// The record names this incarnation: by take-over, by transfer, or as the creator of the range.
void RangeMachine::lead() {
  const RangeConfig& config = record_->config;
  if (config.epoch <= ended_ && !node_.bugs.fall_back_same_epoch) return;
  if (config.epoch < held_->accepted.epoch) return;
  if (config.epoch == held_->accepted.epoch && held_->accepted.leaseholder &&
      held_->accepted.leaseholder != config.leaseholder)
    return;
  if (takeover_timer_ != 0) node_.loop.cancel(std::exchange(takeover_timer_, 0));
  follower_->freeze();
  leader_ = std::make_shared<Leader>(held_, *this);
  leader_->start();
}

}  // namespace outlast::replication
