#include "replication/range_machine.h"

#include <spdlog/spdlog.h>

namespace outlast::replication {

using placement::Leaseholder;
using placement::RangeConfig;

RangeMachine::RangeMachine(std::shared_ptr<NodeContext> node, RangeId range)
    : keep_(std::move(node)), node_(*keep_), range_(range) {}

RangeMachine::~RangeMachine() {
  for (const Loop::TimerId timer : {takeover_timer_, regression_timer_})
    if (timer != 0) node_.loop.cancel(timer);
  if (leader_) leader_->stop({Errc::kShuttingDown, "the node stops"});
}

bool RangeMachine::is_mine(const RangeConfig& config) const {
  return node_.holds(config.leaseholder, {node_.self.node, node_.self.incarnation});
}

void RangeMachine::on_record(const RangeConfig& config, Revision revision) {
  if (stopped_ || gone_) return;
  took_record(config, revision);
  evaluate();
}

/// Watches, answers to changes and reads arrive in any order: only what is newer counts.
void RangeMachine::took_record(const RangeConfig& config, Revision revision) {
  if (record_ && revision <= record_->revision) return;
  const bool same_epoch = record_ && record_->config.epoch == config.epoch;
  record_ = RangeRecord{config, revision};
  if (!leader_) return;
  if (is_mine(config) && config.epoch == leader_->epoch()) {
    if (const auto leader = leader_; same_epoch) leader->adopt();
    return;
  }
  leadership_over({Errc::kNotLeaseholder, "the range is led elsewhere now"});
}

void RangeMachine::leadership_over(const Error& why) {
  if (!leader_) return;
  spdlog::info("range {}: leadership of epoch {} is over: {}", range_.value, leader_->epoch().value, why.message);
  ended_ = std::max(ended_, leader_->epoch());
  const auto old = std::exchange(leader_, nullptr);
  old->stop(why);
  // Learns the outcome if the record here is behind; harmless otherwise.
  if (!stopped_ && is_mine(record_->config)) refresh_record();
}

void RangeMachine::refresh_record() {
  if (checking_) return;
  checking_ = true;
  node_.records->read(range_, [weak = weak_from_this()](Result<std::optional<RangeRecord>> read) {
    const auto me = weak.lock();
    if (!me || me->stopped_) return;
    me->checking_ = false;
    if (read.ok() && *read) me->on_record((*read)->config, (*read)->revision);
  });
}

void RangeMachine::change(RangeConfig next, std::vector<meta::Compare> also, Callback<void> done) {
  OUTLAST_ASSERT(!changing_, "one change of a record at a time");
  changing_ = true;
  RangeConfig copy = next;
  node_.records->change(
      std::move(next), record_->revision, std::move(also),
      [weak = weak_from_this(), next = std::move(copy), done = std::move(done)](Result<Revision> result) mutable {
        const auto me = weak.lock();
        if (!me || me->stopped_) return;
        // Nobody asks for the next change before the outcome of this one was heard.
        if (result.ok() && !me->gone_) me->took_record(next, *result);
        done(result.ok() ? Result<void>() : Result<void>(result.error()));
        me->changing_ = false;
        if (me->stopped_) return;
        if (const auto leader = me->leader_) leader->advance();
        me->evaluate();
      });
}

/// The one decision of who this replica is, taken again whenever something changed.
void RangeMachine::evaluate() {
  if (stopped_ || gone_ || !record_) return;
  if (storage_ == Storage::kDamaged && is_mine(record_->config)) return stand_down();
  if (!ensure_replica()) return;
  if (leader_ || taking_over_) return;
  if (held_->failed) return;
  clear_regression();
  if (behind_accepted()) return watch_regression();  // the record here lags, or metadata went back: never lead
  if (is_mine(record_->config)) return lead();
  held_->undecided.reset();
  if (leaderless()) return schedule_takeover();
  if (takeover_timer_ != 0) node_.loop.cancel(std::exchange(takeover_timer_, 0));
  // A replica opened late may have missed its leaseholder's Activate.
  if (held_->followed || said_ready_ == record_->config.epoch) return;
  said_ready_ = record_->config.epoch;
  follower_->say_ready(record_->config);
}

void RangeMachine::on_message(NodeId from, Incarnation incarnation, proto::RangeMessage in) {
  if (stopped_) return;
  using Body = proto::RangeMessage;
  const auto body = in.body_case();
  if (body == Body::kRecoveryState) {
    const auto& state = in.recovery_state();
    heard_[from] = {Epoch(in.epoch()), {Lsn(state.end_lsn()), Epoch(state.end_epoch()), 0}};
    return evaluate();
  }
  const bool from_leader = body == Body::kAppend || body == Body::kActivate || body == Body::kConfigPush ||
                           body == Body::kSnapshotChunk || body == Body::kConfirmEpoch;
  if (!from_leader) {
    if (const auto leader = leader_) leader->on_message(from, incarnation, std::move(in));
    return;
  }
  const bool mine = local_ && local_->replica.value == in.to_replica();
  if (storage_ == Storage::kDamaged && mine) return refuse(from, in, Errc::kCorrupt, "this replica is damaged");
  if (storage_ == Storage::kBusy) return;  // asks for it again once open
  if (body == Body::kSnapshotChunk && mine) return on_snapshot_chunk(from, incarnation, std::move(in));
  if (!mine || !held_) return refuse(from, in, Errc::kNotFound, "there is no such replica here");
  if (leader_) {  // somebody speaks as the leaseholder of this range
    if (Epoch(in.epoch()) <= leader_->epoch()) return refuse(from, in, Errc::kStaleEpoch, "a newer epoch is led here");
    leadership_over({Errc::kNotLeaseholder, "a newer epoch of the range is led elsewhere"});
  }
  if (body == Body::kAppend)
    follower_->on_append(from, incarnation, std::move(in));
  else if (body == Body::kActivate)
    follower_->on_activate(from, incarnation, in);
  else if (body == Body::kConfirmEpoch)
    follower_->on_confirm_epoch(from, incarnation, in);
  else
    follower_->on_config_push(from, incarnation, in);
}

void RangeMachine::refuse(NodeId to, const proto::RangeMessage& in, Errc code, const std::string& why) {
  proto::RangeMessage out;
  out.set_range(range_.value);
  out.set_epoch(in.epoch());
  out.set_to_replica(in.from_replica());
  out.set_from_replica(in.to_replica());
  auto& refused = *out.mutable_refused();
  refused.set_epoch(leader_ ? leader_->epoch().value : held_ ? held_->accepted.epoch.value : 0);
  refused.set_code(std::string(facts(code).name));
  refused.set_message(why);
  node_.transport.send(to, std::move(out));
}

void RangeMachine::peer_up(NodeId peer) {
  if (stopped_) return;
  if (const auto leader = leader_)
    leader->peer_up(peer);
  else if (record_ && recovery_epoch_ == record_->config.epoch && held_)
    send_recovery_state(peer);
}

void RangeMachine::peer_down(NodeId peer) {
  if (stopped_) return;
  heard_.erase(peer);
  if (const auto leader = leader_) leader->peer_down(peer);
}

void RangeMachine::room_changed() {
  if (stopped_) return;
  if (const auto leader = leader_)
    leader->room_changed();
  else if (follower_)
    follower_->room_changed();
}

void RangeMachine::digest(Callback<storage::Digest> done) {
  if (const auto leader = leader_) return leader->digest(std::move(done));
  if (!held_) return done(Error(Errc::kNotFound, "range " + range_.to_string() + " has no open replica on this node"));
  held_->apply_now([held = held_, done = std::move(done)](Result<void> applied) mutable {
    if (!applied.ok()) return done(applied.error());
    held->node.on_worker<storage::Digest>(
        held->range, [replica = held->replica] { return replica->digest(); }, std::move(done));
  });
}

void RangeMachine::give_up_to(NodeId holder) {
  const auto live = node_.nodes.live(holder);
  const Error why(Errc::kCorrupt, "this disk lost entries that node " + holder.to_string() + " knows to be committed");
  if (live && !changing_) {
    if (auto next = placement::transfer_lease(record_->config, holder, *live); next.ok()) {
      auto without = placement::remove_backup(*next, node_.self.node);
      if (without.ok()) without->cfg = next->cfg;
      change(without.ok() ? *without : *next, {}, [](Result<void>) {});
    }
  }
  held_->fail(why);
}

void RangeMachine::stop(const Error& why) {
  if (stopped_) return;
  stopped_ = true;
  if (takeover_timer_ != 0) node_.loop.cancel(std::exchange(takeover_timer_, 0));
  if (leader_) std::exchange(leader_, nullptr)->stop(why);
  if (held_) held_->undecided.reset();
}

}  // namespace outlast::replication
