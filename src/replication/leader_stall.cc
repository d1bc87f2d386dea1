// Leader: commits that wait for in-sync replicas which do not answer and cannot be removed (protocol A5.4, A4's table).
#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/leader.h"
#include "replication/stalled_range.h"

namespace outlast::replication {

/// The log tail is kept in any case: another member may hold it.
void Leader::check_stalled() {
  if (!opened_ || closing() || held_->durable == held_->log.tail().lsn) return;
  const placement::RangeConfig& record = host_.record();
  const bool can_shrink = static_cast<int>(record.insync.size()) > record.min_insync;
  const Duration waited = node().loop.now() - pending_since_;
  const Parameters& parameters = node().parameters;
  Duration patience = (can_shrink ? 2 : 1) * parameters.stall, stuck = parameters.stuck;
  if (only_this_disk_waits()) patience = parameters.stuck, stuck *= 2;  // slow, but not out of touch
  if (waited >= patience) stall();
  if (stalled_ && waited >= stuck && node().loop.now() >= release_after_) release();
}

bool Leader::only_this_disk_waits() const {
  return std::all_of(members_.begin(), members_.end(), [&](const auto& item) {
    return !item.second.voter || (item.second.activated && item.second.acked >= held_->log.tail().lsn);
  });
}

void Leader::stall() {
  if (!stalled_) {
    spdlog::warn("range {}: commits after LSN {} wait for in-sync replicas that do not answer; no new writes",
                 held_->range.value, held_->durable.value);
    stalled_ = true;
    served_->set_gate(ServedRange::Gate::kStalled);
  }
  if (view_ || opening_view_) return;
  opening_view_ = true;
  using Database = std::shared_ptr<storage::Database>;
  node().on_worker<Database>(
      held_->range, [served = served_, at = held_->durable] { return served->database().durable_view(at); },
      weakly([at = held_->durable](Leader& me, Result<Database> view) { me.view_opened(at, std::move(view)); }));
}

void Leader::view_opened(Lsn at, Result<std::shared_ptr<storage::Database>> view) {
  opening_view_ = false;
  if (!view.ok()) return spdlog::warn("range {}: reads wait as well: {}", held_->range.value, view.error().to_string());
  if (!stalled_ || closing() || held_->durable != at) {  // things have moved on; asked for again if need be
    return node().workers.submit(held_->range.value, [last = *std::move(view)]() mutable { last.reset(); });
  }
  view_ = std::make_shared<StalledRange>(served_, *std::move(view), at);
  served_->divert_reads(true);
  node().publish(held_->range, view_);
}

void Leader::drop_view() {
  if (!view_) return;
  view_->retire();
  node().workers.submit(held_->range.value, [last = std::exchange(view_, nullptr)]() mutable { last.reset(); });
}

/// S acknowledges again. To be called before anybody hears of a higher durable LSN: who reads after that must see it.
void Leader::progressed() {
  if (node().bugs.view_after_progress) return;
  if (view_) {
    drop_view();
    if (!closing()) {
      served_->divert_reads(false);
      node().publish(held_->range, served_);
    }
  }
  if (!stalled_ || held_->durable != served_->assigned()) return;
  spdlog::info("range {}: all commits are durable, writes go on", held_->range.value);
  stalled_ = false;
  if (!closing()) served_->set_gate(ServedRange::Gate::kOpen);
}

/// Nothing begins any more: before a change of the record that lets somebody else, or a new epoch, serve.
void Leader::close_gate() {
  drop_view();
  if (!served_) return;
  served_->set_gate(ServedRange::Gate::kMoving);
  served_->divert_reads(true);
  if (opened_) node().publish(held_->range, served_);
}

void Leader::reopen_gate() {
  if (!served_) return;
  served_->divert_reads(false);
  served_->set_gate(stalled_ ? ServedRange::Gate::kStalled : ServedRange::Gate::kOpen);
}

/// Are there, without this node, enough live replicas to lead and to keep min_insync?
bool Leader::others_can_lead() const {
  const placement::RangeConfig& record = host_.record();
  const auto lives = [&](const placement::ReplicaRef& ref) {
    return ref.node != node().self.node && node().nodes.live(ref.node).has_value();
  };
  const auto members = std::count_if(record.insync.begin(), record.insync.end(), lives);
  const auto learners = std::count_if(record.learners.begin(), record.learners.end(), lives);
  return members > 0 && members + learners >= record.min_insync;
}

/// Gives the lease up, so that any member of S may take over; what is not durable may then be cut. False: not now.
bool Leader::release() {
  if (closing() || host_.changing() || transfer_ || !others_can_lead()) return false;
  auto next = placement::release_lease(host_.record());
  if (!next.ok()) return false;
  spdlog::warn("range {}: gives its lease up, another member may lead", held_->range.value);
  releasing_ = true;
  close_gate();                                                             // the successor waits for nobody's clock
  host_.change(*std::move(next), {}, weakly([](Leader& me, Result<void>) {  // success ends this leadership
    me.releasing_ = false;
    me.release_after_ = me.node().loop.now() + me.node().parameters.stuck;
    me.reopen_gate();
    me.arm_timer();
  }));
  return true;
}

}  // namespace outlast::replication
