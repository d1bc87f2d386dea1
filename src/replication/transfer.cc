// Leader: the planned move of the lease (protocol A7).
#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/leader.h"

namespace outlast::replication {

struct Leader::Transfer {
  NodeId target;
  Incarnation incarnation;
  Callback<void> done;
  WriterLock::Hold hold;  ///< No write transaction is open while it is held.
  Loop::TimerId timer{0};
  std::uint64_t ticket{0};
  bool locked{false}, sent{false};
  std::vector<Callback<void>> waiting;  ///< Who asked for another move meanwhile.
};

std::vector<NodeId> Leader::successors() const {
  std::vector<NodeId> out;
  for (const auto& [id, member] : members_)
    if (member.voter && member.state == Member::State::kStreaming && member.acked >= held_->durable &&
        node().nodes.live(id) == member.incarnation)
      out.push_back(id);
  return out;
}

double Leader::heat() const {
  if (!serving()) return 0;
  const std::chrono::duration<double> served = node().loop.now() - opened_at_;
  return static_cast<double>(served_->admitted()) / std::max(served.count(), 1.0);
}

void Leader::transfer(NodeId target, Callback<void> done) {
  const Member* member = find(target);
  const auto live = node().nodes.live(target);
  if (!serving() || stalled_) return done(Error(Errc::kNotLeaseholder, "the range is not served here at present"));
  if (transfer_) return transfer_->waiting.push_back(std::move(done));
  if (member == nullptr || !member->voter || member->state != Member::State::kStreaming || !live ||
      member->incarnation != *live)
    return done(
        Error(Errc::kInvalidState, "node " + target.to_string() + " is not a live in-sync member of the range"));
  if (node().nodes.draining(target))
    return done(Error(Errc::kInvalidState, "node " + target.to_string() + " is draining: it takes no lease"));
  remove_dead();  // else the target would have to wait for them
  transfer_ = std::make_shared<Transfer>();
  transfer_->target = target;
  transfer_->incarnation = *live;
  transfer_->done = std::move(done);
  transfer_->timer = node().loop.after(
      node().parameters.transfer_limit, weakly([](Leader& me) {
        if (!me.transfer_ || me.transfer_->sent) return;  // once sent only the answer ends it
        me.transfer_->timer = 0;
        me.transfer_done(Error(Errc::kDeadline, "no instant without an open write transaction came in time"));
      }));
  const auto mine = transfer_;
  mine->ticket = served_->writer_lock().acquire(
      node().loop.now() + 2 * node().parameters.transfer_limit, true,
      [&loop = node().loop, weak = weak_from_this(), mine](Result<WriterLock::Hold> hold) {
        loop.post([weak, mine, hold = std::move(hold)]() mutable {
          const auto me = weak.lock();
          if (!me || me->stopped_ || me->transfer_ != mine) return;
          me->transfer_locked(std::move(hold));
        });
      });
}

void Leader::hold() {
  if (!serving() || stalled_ || transfer_) return;
  held_back_ = true;
  served_->set_gate(ServedRange::Gate::kEnding);
}

void Leader::end_hold() {
  if (!std::exchange(held_back_, false) || !serving() || stalled_ || transfer_) return;
  served_->set_gate(ServedRange::Gate::kOpen);
}

void Leader::transfer_locked(Result<WriterLock::Hold> hold) {
  if (!hold.ok()) return transfer_done(hold.error());
  transfer_->hold = *std::move(hold);
  transfer_->locked = true;
  served_->set_gate(ServedRange::Gate::kMoving);
  transfer_step();
}

/// Sends the change once nothing is in the way: the gate is closed, all is durable, no other change is under way.
void Leader::transfer_step() {
  if (!transfer_->locked || transfer_->sent || host_.changing()) return;
  if (held_->durable != served_->assigned()) return;
  const Member* member = find(transfer_->target);
  if (member == nullptr || !member->voter || member->state != Member::State::kStreaming)
    return transfer_done(Error(Errc::kUnavailable, "the target of the transfer went away"));
  auto next = placement::transfer_lease(host_.record(), transfer_->target, transfer_->incarnation);
  if (!next.ok()) return transfer_done(next.error());
  transfer_->sent = true;
  host_.change(*std::move(next),
               {meta::Compare::absent(meta::keys::fence({transfer_->target, transfer_->incarnation}))},
               [weak = weak_from_this(), mine = transfer_](Result<void> result) {
                 const auto me = weak.lock();
                 if (me && !me->stopped_ && me->transfer_ == mine) return me->transfer_done(std::move(result));
                 if (mine->done) std::exchange(mine->done, nullptr)(std::move(result));
               });
}

/// Success comes through stop() as well: the record then names another leaseholder and this leadership is over.
void Leader::transfer_done(Result<void> result) {
  const auto mine = std::exchange(transfer_, nullptr);
  if (mine->timer != 0) node().loop.cancel(mine->timer);
  const bool moved =
      host_.record().epoch > epoch_ && host_.record().leaseholder && host_.record().leaseholder->node == mine->target;
  if (!stopped_ && served_) {
    if (!mine->locked) served_->writer_lock().withdraw(mine->ticket);
    served_->set_gate(stalled_ ? ServedRange::Gate::kStalled : ServedRange::Gate::kOpen);
  }
  mine->hold.release();
  for (auto& other : std::exchange(mine->waiting, {}))
    other(Error(Errc::kMoving, "another move of the lease has just ended; look where it is now, and ask again"));
  if (stopped_ && mine->sent && !moved) return;  // the successor was heard of before the answer, which will tell
  auto done = std::exchange(mine->done, nullptr);
  if (moved)
    done({});
  else
    done(result.ok() ? Result<void>(Error(Errc::kNotLeaseholder, "the leadership ended")) : std::move(result));
  if (!stopped_) consider();
}

}  // namespace outlast::replication
