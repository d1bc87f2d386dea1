#include "replication/held_replica.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace outlast::replication {

HeldReplica::HeldReplica(std::shared_ptr<NodeContext> context, placement::ReplicaRef me, RangeId id,
                         std::shared_ptr<storage::Replica> opened)
    : keep(std::move(context)),
      node(*keep),
      range(id),
      ref(std::move(me)),
      replica(std::move(opened)),
      log(node.loop, node.logs, replica, node.requests),
      durable(replica->applied()),
      apply_target_(durable) {
  if (auto recorded = replica->recorded_config()) accepted = *std::move(recorded);
}

void HeldReplica::address(ReplicaId to_replica, proto::RangeMessage& message) const {
  message.set_range(range.value);
  message.set_from_replica(ref.replica.value);
  message.set_to_replica(to_replica.value);
  if (message.epoch() == 0) message.set_epoch(accepted.epoch.value);
  if (message.cfg() == 0) message.set_cfg(accepted.cfg.value);
}

void HeldReplica::send(NodeId to, ReplicaId to_replica, proto::RangeMessage message) const {
  address(to_replica, message);
  node.transport.send(to, std::move(message));
}

void HeldReplica::learn_durable(Lsn lsn) {
  durable = std::max(durable, std::min(lsn, log.tail().lsn));
  if (apply_limit() > apply_target_ || node.bugs.apply_whole_log) arm_apply();
}

void HeldReplica::arm_apply() {
  if (timer_ != 0 || database_open || failed) return;
  timer_ = node.loop.after(node.parameters.apply_every, [weak = weak_from_this()] {
    const auto me = weak.lock();
    if (!me) return;
    me->timer_ = 0;
    me->apply({});
  });
}

void HeldReplica::apply_now(Callback<void> done) {
  apply(std::move(done));
}

void HeldReplica::hold_apply(Duration at_most) {
  held_at_ = apply_target_;
  held_until_ = node.loop.now() + at_most;
  node.loop.after(at_most, [weak = weak_from_this()] {
    if (const auto me = weak.lock(); me && me->durable > me->apply_target_) me->arm_apply();
  });
}

void HeldReplica::digest_at(Lsn lsn, Callback<storage::Digest> done) {
  const std::string name = "range " + range.to_string();
  if (failed || database_open) return done(Error(Errc::kInvalidState, name + " has no follower here to compare"));
  if (durable < lsn || log.synced() < lsn)
    return done(Error(Errc::kNotReady, name + ": LSN " + lsn.to_string() + " is not known to be durable here yet"));
  if (apply_target_ > lsn)
    return done(Error(Errc::kInvalidState, name + " is past LSN " + lsn.to_string() + " here; hold it first"));
  held_at_ = lsn;
  held_until_ = std::max(held_until_, node.loop.now() + std::chrono::seconds(1));
  apply([me = shared_from_this(), lsn, done = std::move(done)](Result<void> applied) mutable {
    if (!applied.ok()) return done(applied.error());
    if (me->apply_target_ < lsn) return me->digest_at(lsn, std::move(done));  // an earlier apply was under way
    me->node.on_worker<storage::Digest>(
        me->range, [replica = me->replica] { return replica->digest(); },
        [me, lsn, done = std::move(done)](Result<storage::Digest> digest) mutable {
          me->held_until_ = Instant();
          if (me->durable > me->apply_target_) me->arm_apply();
          if (digest.ok() && digest->at.lsn != lsn)
            return done(Error(Errc::kInvalidState, "the replica moved on while it was read; ask again"));
          done(std::move(digest));
        });
  });
}

Lsn HeldReplica::apply_limit() const {
  const Lsn known = std::min(node.bugs.apply_whole_log ? log.synced() : durable, log.synced());
  return node.loop.now() < held_until_ ? std::min(known, held_at_) : known;
}

void HeldReplica::apply(Callback<void> done) {
  const Lsn target = apply_limit();
  if (failed || database_open || applying_ || target <= apply_target_) {
    if (done) {
      // Behind what is under way: the worker takes this range's tasks in order.
      node.on_worker<void>(range, [] { return Result<void>(); }, std::move(done));
    }
    return;
  }
  applying_ = true;
  apply_target_ = target;
  node.on_worker<void>(
      range, [keep = replica, target] { return keep->apply_to(target); },
      [me = shared_from_this(), done = std::move(done)](Result<void> result) mutable {
        me->applying_ = false;
        if (!result.ok()) {
          me->apply_target_ = me->replica->applied();
          me->fail(result.error());
        }
        if (!me->failed && me->apply_limit() > me->apply_target_) me->arm_apply();
        if (done) done(std::move(result));
      });
}

void HeldReplica::look_up_end() {
  log.run<storage::LogPosition>(
      [](storage::Replica& on) -> Result<storage::LogPosition> {
        TRY(on.sync());
        return on.log_end();
      },
      [me = shared_from_this()](Result<storage::LogPosition> end) {
        if (!end.ok()) return me->fail(end.error());
        me->log.note_cut(*end);
      });
}

void HeldReplica::fail(Error error) {
  if (failed) return;
  if (error.code == Errc::kDiskFull) {
    if (!node.disk_low) spdlog::warn("range {}: {}", range.value, error.to_string());
    return node.note_disk_full();
  }
  failed = true;
  spdlog::error("range {}: this replica is damaged: {}", range.value, error.to_string());
  if (on_failure) on_failure(error);
}

}  // namespace outlast::replication
