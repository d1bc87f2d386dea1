// Leader: an entry that can no longer become durable in this epoch (protocol A5.4), and disks without room (A4's
// table).
#include <spdlog/spdlog.h>

#include "replication/leader.h"

namespace outlast::replication {
namespace {
constexpr std::chrono::seconds kRoomRetry{1};
}

/// The local log did not take an entry, and is as it was before. Other members may have the entry: only a new epoch may
/// use its LSN again.
void Leader::append_failed(const Error& why) {
  if (why.code == Errc::kDiskFull) node().note_disk_full();
  if (stopped_ || falling_back_ || !opened_) return;
  spdlog::warn("range {}: falls back from LSN {}: {}", held_->range.value, held_->log.tail().lsn.value,
               why.to_string());
  falling_back_ = true;
  if (transfer_) transfer_done(why);
  close_gate();
  try_fall_back();
}

void Leader::try_fall_back() {
  if (host_.changing()) return;  // advance() comes again
  auto next = placement::fall_back(host_.record());
  if (!next.ok()) return;
  if (node().bugs.fall_back_same_epoch) next->epoch = epoch_;
  host_.change(*std::move(next), {}, weakly([](Leader& me, Result<void> result) {
    // Success has ended this leadership, but for a planted bug. Else: again, until somebody else leads.
    if (result.ok()) return me.host_.leadership_over({Errc::kInternal, "planted: the same epoch again"});
    me.node().loop.after(me.node().parameters.meta_retry, me.weakly([](Leader& again) { again.try_fall_back(); }));
  }));
}

/// All of S' has this log and nothing else: the writers of the leadership before can be told.
void Leader::decide_writes() {
  if (const auto writes = std::exchange(undecided_, nullptr)) writes->decide(end_.lsn);
}

/// This disk has no room for what a leaseholder must write down. Nothing is damaged.
void Leader::no_room(const Error& why, void (Leader::*again)()) {
  spdlog::warn("range {}: {}", held_->range.value, why.to_string());
  node().note_disk_full();
  retry_with_room(again);
}

void Leader::retry_with_room(void (Leader::*again)()) {
  node().loop.after(kRoomRetry, weakly([again](Leader& me) {
                      if (me.closing() || me.release()) return me.retry_with_room(again);
                      (me.*again)();
                    }));
}

/// Who keeps commits from being stored, or from being stored safely: writes are refused before they begin.
void Leader::check_room() {
  if (!served_ || !opened_) return;
  const placement::RangeConfig& record = host_.record();
  const bool can_shrink = static_cast<int>(record.insync.size()) > record.min_insync;
  std::optional<NodeId> full, target;
  if (node().disk_low) full = node().self.node;
  for (const auto& [id, member] : members_) {
    if (!member.voter) continue;
    if (member.low && !can_shrink && !full) full = id;
    const bool ready = member.state == Member::State::kStreaming && member.activated && !member.low;
    if (ready && node().nodes.live(id)) target = id;
  }
  if (!full) return served_->refuse_writes(std::nullopt);
  const bool moves = node().disk_low && target && !stalled_ && !closing();
  if (moves)
    served_->refuse_writes(Error(Errc::kMoving, "the lease moves to a node with room on its disk; try again at once"));
  else
    served_->refuse_writes(Error(Errc::kDiskFull, "the disk of node " + full->to_string() +
                                                      " is full and the database cannot do without it; the write was "
                                                      "refused and nothing was applied; free space there"));
  if (moves && !transfer_) transfer(*target, [](Result<void>) {});
}

void Leader::note_room(Member& member, bool low) {
  if (member.low == low) return;
  spdlog::info("range {}: node {} {}", held_->range.value, member.ref.node.value,
               low ? "has no room on its disk" : "has room on its disk again");
  member.low = low;
  check_room();
}

void Leader::room_changed() {
  check_room();
  arm_timer();
}

}  // namespace outlast::replication
