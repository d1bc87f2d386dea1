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
      log(node.loop, node.logs, replica),
      durable(replica->applied()),
      apply_target_(durable) {
  if (auto recorded = replica->recorded_config()) accepted = *std::move(recorded);
}

void HeldReplica::send(NodeId to, ReplicaId to_replica, proto::RangeMessage message) const {
  message.set_range(range.value);
  message.set_from_replica(ref.replica.value);
  message.set_to_replica(to_replica.value);
  if (message.epoch() == 0) message.set_epoch(accepted.epoch.value);
  if (message.cfg() == 0) message.set_cfg(accepted.cfg.value);
  node.transport.send(to, std::move(message));
}

void HeldReplica::learn_durable(Lsn lsn) {
  durable = std::max(durable, std::min(lsn, log.tail().lsn));
  if (durable > apply_target_ || node.bugs.apply_whole_log) arm_apply();
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

void HeldReplica::apply(Callback<void> done) {
  const Lsn target = std::min(node.bugs.apply_whole_log ? log.synced() : durable, log.synced());
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
        if (!result.ok())
          me->fail(result.error());
        else if (me->durable > me->apply_target_)
          me->arm_apply();
        if (done) done(std::move(result));
      });
}

void HeldReplica::fail(Error error) {
  if (failed) return;
  failed = true;
  spdlog::error("range {}: this replica is damaged: {}", range.value, error.to_string());
  if (on_failure) on_failure(error);
}

}  // namespace outlast::replication
