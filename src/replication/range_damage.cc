// RangeMachine: a replica whose files are damaged or whose disk failed (protocol A4.8).
#include <spdlog/spdlog.h>

#include "replication/range_machine.h"

namespace outlast::replication {

/// A failed sync or a bad checksum: this replica serves and acknowledges nothing any more. The leaseholder hears it and
/// takes it out of S; if this is the leaseholder, it gives the lease up (A4.8).
void RangeMachine::damaged(const Error& why) {
  const auto keep = shared_from_this();
  if (leader_) leadership_over(why);
  storage_ = Storage::kDamaged;
  trouble_ = why.message;
  node_.report_damage(range_, why);
  if (why.code == Errc::kIo) disk_failed(why);
  if (stopped_ || !record_) return;
  if (const auto& holder = record_->config.leaseholder; holder && !is_mine(record_->config)) {
    proto::RangeMessage in;
    in.set_to_replica(local_->replica.value);
    if (const auto* to = record_->config.find(holder->node)) in.set_from_replica(to->replica.value);
    refuse(holder->node, in, Errc::kCorrupt, "this replica is damaged");
  }
  evaluate();
}

/// What the files show may never reach the disk, and no later sync would tell: neither this process nor a later one may
/// build on it.
void RangeMachine::disk_failed(const Error& why) {
  node_.on_worker<void>(
      range_, [&store = node_.store, range = range_] { return store.distrust(range); },
      [node = keep_, range = range_, why](const Result<void>& marked) {
        node->report_disk_failure(range, why, marked.ok());
      });
}

/// Any other member of S may take over now; this one never does.
void RangeMachine::stand_down() {
  const Instant now = node_.loop.now();
  if (changing_ || record_->config.insync.size() < 2 || now < stand_down_again_) return;
  stand_down_again_ = now + node_.parameters.meta_timeout;
  auto next = placement::release_lease(record_->config);
  if (!next.ok()) return;
  spdlog::warn("range {}: gives the lease up, this replica is damaged", range_.value);
  change(*std::move(next), {}, [weak = weak_from_this()](Result<void> result) {
    const auto me = weak.lock();
    if (!me || result.ok()) return;
    me->node_.loop.after(me->node_.parameters.meta_timeout, [weak] {
      if (const auto again = weak.lock()) again->evaluate();
    });
  });
}

}  // namespace outlast::replication
