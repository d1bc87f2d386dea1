#include "replication/leader.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/messages.h"
#include "replication/stalled_range.h"

namespace outlast::replication {

using storage::LogPosition;

Leader::Leader(std::shared_ptr<HeldReplica> held, LeaderHost& host)
    : held_(std::move(held)),
      host_(host),
      epoch_(host.record().epoch),
      undecided_(std::exchange(held_->undecided, nullptr)),
      rf_wanted_(held_->node.parameters.replication_factor) {
  if (undecided_ && undecided_->epoch().next() != epoch_) undecided_.reset();
}

void Leader::start() {
  held_->accepted = host_.record();
  held_->followed = epoch_;
  pending_since_ = node().loop.now();
  held_->log.run<LogPosition>(
      [config = held_->accepted, known = held_->durable,
       careless = node().bugs.cut_own_tail](storage::Replica& replica) -> Result<LogPosition> {
        TRY(replica.sync());
        if (careless && known < replica.log_end().lsn) TRY(replica.cut_after(known));
        TRY(replica.record_config(config));  // A4.3 (iii)
        return replica.log_end();
      },
      weakly([](Leader& me, Result<LogPosition> end) {
        if (!end.ok() && end.error().code == Errc::kDiskFull) return me.no_room(end.error(), &Leader::start);
        if (!end.ok()) return me.held_->fail(end.error());
        me.recorded_ = true;
        me.end_ = *end;
        me.held_->log.note_cut(*end);
        me.refresh_members();
        me.advance();
      }));
}

void Leader::stop(const Error& why) {
  if (stopped_) return;
  stopped_ = true;
  for (const Loop::TimerId timer : {timer_, push_timer_, checkpoint_timer_})
    if (timer != 0) node().loop.cancel(timer);
  if (view_) view_->database().fence();
  drop_view();
  undecided_.reset();
  if (served_) {
    if (opened_) node().publish(held_->range, nullptr);
    if (falling_back_) held_->undecided = std::make_unique<UndecidedWrites>(epoch_, served_->take_writers());
    held_->log.note_tail(served_->end(why, falling_back_));
    if (falling_back_) held_->look_up_end();
    // Closing SQLite blocks for a moment: not on the loop.
    node().workers.submit(held_->range.value, [last = std::exchange(served_, nullptr)]() mutable { last.reset(); });
  }
  snapshots_.clear();
  for (auto& done : reads_.take()) done(Error(Errc::kNotLeaseholder, why.message));
  if (transfer_) transfer_done(why);
  for (auto& [step, done] : std::exchange(steps_, {})) done(why);
}

Member* Leader::find(NodeId id) {
  const auto it = members_.find(id);
  return it == members_.end() ? nullptr : &it->second;
}

proto::RangeMessage Leader::message() const {
  proto::RangeMessage out;
  out.set_epoch(epoch_.value);
  out.set_cfg(host_.record().cfg.value);
  return out;
}

/// Follows the record: new members and learners are probed, those that left are forgotten.
void Leader::refresh_members() {
  const placement::RangeConfig& record = host_.record();
  std::erase_if(members_, [&](const auto& item) {
    const placement::ReplicaRef* ref = record.find(item.first);
    if (ref != nullptr && *ref == item.second.ref) return false;
    snapshots_.erase(item.first);
    return true;
  });
  if (promoting_ && record.find_learner(*promoting_) == nullptr) promoting_.reset(), promotion_sent_ = false;
  for (const auto* refs : {&record.insync, &record.learners})
    for (const placement::ReplicaRef& ref : *refs) {
      if (ref.node == node().self.node) continue;
      const auto [it, fresh] = members_.try_emplace(ref.node);
      it->second.voter = refs == &record.insync;
      if (!fresh) continue;
      it->second.ref = ref;
      it->second.progress = node().loop.now();
      if (node().peers.contains(ref.node)) peer_up(ref.node);
    }
  check_room();
  arm_timer();
}

void Leader::adopt() {
  held_->accepted = host_.record();
  if (!recorded_) return;
  held_->log.run<void>([config = held_->accepted](storage::Replica& replica) { return replica.record_config(config); },
                       weakly([](Leader& me, Result<void> result) {
                         if (!result.ok()) me.held_->fail(result.error());
                       }));
  refresh_members();
  push_config();
  advance();
}

void Leader::peer_up(NodeId id) {
  Member* member = find(id);
  // Its word that the data of a removed replica is gone may be lost with the connection.
  if (recorded_ && std::ranges::any_of(host_.record().removed, [&](const auto& gone) { return gone.node == id; }))
    push_config();
  const auto peer = node().peers.find(id);
  if (member == nullptr || !recorded_ || peer == node().peers.end()) return;
  member->incarnation = peer->second;
  member->was_up = true;
  member->broken = false;  // a restarted process may have repaired itself; else it will say so again
  member->progress = node().loop.now();
  probe(*member, held_->log.tail());
  arm_timer();
}

void Leader::peer_down(NodeId id) {
  Member* member = find(id);
  if (member == nullptr) return;
  member->state = Member::State::kDown;
  ++member->stream;
  snapshots_.erase(id);
  if (promoting_ == id && !promotion_sent_) promoting_.reset();
  advance();
  arm_timer();
}

void Leader::probe(Member& member, LogPosition end) {
  member.state = Member::State::kProbing;
  ++member.stream;
  // A learner may have begun anew; what a member acknowledged in this epoch stays true.
  const bool required = member.voter || (promoting_ == member.ref.node && promotion_sent_);
  if (!required) member.activated = false, member.acked = Lsn();
  member.in_flight.clear();
  member.in_flight_bytes = 0;
  snapshots_.erase(member.ref.node);
  proto::RangeMessage out = message();
  *out.mutable_activate() = activate_of(host_.record(), end, held_->durable);
  out.mutable_activate()->set_probe(member.stream);
  held_->send(member.ref.node, member.ref.replica, std::move(out));
}

void Leader::on_message(NodeId from, Incarnation incarnation, proto::RangeMessage in) {
  if (stopped_ || !recorded_) return;
  if (in.body_case() == proto::RangeMessage::kRefused) {
    const auto& removed = host_.record().removed;
    const ReplicaId replica(in.from_replica());
    const bool gone = std::any_of(removed.begin(), removed.end(), [&](const auto& r) { return r.replica == replica; });
    if (gone && errc_from_name(in.refused().code()) == Errc::kNotFound) {
      deleted_.insert(replica);
      return consider();
    }
  }
  Member* member = find(from);
  if (member == nullptr || member->ref.replica.value != in.from_replica()) return;
  if (in.body_case() == proto::RangeMessage::kRefused) return on_refused(*member, in.refused());
  if (in.epoch() != epoch_.value || member->incarnation != incarnation) return;
  switch (in.body_case()) {
    case proto::RangeMessage::kAppendAck:
      note_room(*member, in.append_ack().disk_low());
      // Refused for want of space before, and there is room now.
      if (member->state == Member::State::kDown && !member->low && !member->broken)
        return probe(*member, held_->log.tail());
      return acknowledged(*member, Lsn(in.append_ack().synced_lsn()));
    case proto::RangeMessage::kEpochConfirmed:
      reads_.answer(from, in.epoch_confirmed().round());
      return check_reads();
    case proto::RangeMessage::kActivateAck:
      return on_activate_ack(*member, in.activate_ack());
    case proto::RangeMessage::kMismatch:
      return on_mismatch(*member, in.mismatch());
    case proto::RangeMessage::kFetch:
      if (in.fetch().need_snapshot()) return need_snapshot(*member);
      if (member->state != Member::State::kStreaming || Lsn(in.fetch().after_lsn()) != member->acked)
        probe(*member, held_->log.tail());
      return;
    case proto::RangeMessage::kSnapshotAck:
      if (const auto it = snapshots_.find(from); it != snapshots_.end()) {
        member->progress = node().loop.now();
        it->second->on_ack(in.snapshot_ack());
      }
      return;
    default:
      return;
  }
}

void Leader::on_activate_ack(Member& member, const proto::ActivateAck& ack) {
  if (member.state != Member::State::kProbing || ack.probe() != member.stream) return;
  const Lsn known(ack.known_durable_lsn()), synced(ack.synced_lsn());
  if (member.voter && known > held_->log.tail().lsn) {
    spdlog::critical("range {}: node {} has committed entries up to {}, but this log ends at {}: this disk lost them",
                     held_->range.value, member.ref.node.value, known.value, held_->log.tail().lsn.value);
    return host_.give_up_to(member.ref.node);
  }
  if (synced < known) {  // it keeps other entries below what was committed: one of the two disks lied, and it follows
    spdlog::critical("range {}: the replica on node {} differs below the committed LSN {}", held_->range.value,
                     member.ref.node.value, known.value);
    member.broken = true;
    if (!member.voter) return need_snapshot(member);
    member.state = Member::State::kDown;
    return consider();
  }
  if (!member.voter && synced == Lsn() && snapshot_is_shorter()) return need_snapshot(member);
  member.state = Member::State::kStreaming;
  member.activated = true;
  note_room(member, ack.disk_low());
  member.next = synced.next();
  if (opened_) tell_durable(member);  // it may have missed the last push, and an idle range sends nothing else
  ask_member(member);
  acknowledged(member, synced);
  ship(member);
}

void Leader::on_mismatch(Member& member, const proto::Mismatch& mismatch) {
  if (mismatch.tail().empty()) {  // it only says that it cannot follow
    if (member.state == Member::State::kStreaming) probe(member, held_->log.tail());
    return;
  }
  if (member.state != Member::State::kProbing || mismatch.probe() != member.stream) return;
  std::vector<LogPosition> tail;
  for (const proto::Position& position : mismatch.tail()) tail.push_back(position_of(position));
  held_->log.run<std::optional<LogPosition>>(
      [tail](storage::Replica& replica) -> Result<std::optional<LogPosition>> {
        for (const LogPosition& theirs : tail) {
          if (theirs.lsn > replica.log_end().lsn) continue;
          auto ours = replica.position_at(theirs.lsn);
          if (!ours.ok() && ours.error().code == Errc::kCompacted) return std::optional<LogPosition>();
          if (!ours.ok()) return ours.error();
          if (*ours == theirs) return std::optional(theirs);
        }
        if (tail.back().lsn.value == 0) return std::optional<LogPosition>();
        auto below = replica.position_at(Lsn(tail.back().lsn.value - 1));
        if (!below.ok()) return std::optional<LogPosition>();
        return std::optional(*below);  // not shared yet: look further down
      },
      weakly([id = member.ref.node, stream = member.stream](Leader& me, Result<std::optional<LogPosition>> found) {
        Member* them = me.find(id);
        if (!found.ok()) return me.held_->fail(found.error());
        if (them == nullptr || them->stream != stream) return;
        const bool lost = *found && them->activated && (*found)->lsn < them->acked;  // in this epoch: its disk lied
        if (*found && !lost) return me.probe(*them, **found);
        if (!them->voter) return me.need_snapshot(*them);
        spdlog::critical("range {}: the log of node {} shares nothing with this one", me.held_->range.value, id.value);
        them->broken = true;
        them->state = Member::State::kDown;
        me.consider();
      }));
}

void Leader::on_refused(Member& member, const proto::Refused& refused) {
  const Errc code = errc_from_name(refused.code());
  if (Epoch(refused.epoch()) > epoch_)
    return host_.leadership_over({Errc::kNotLeaseholder, "a newer epoch of the range is led elsewhere"});
  if (code == Errc::kStaleEpoch || code == Errc::kNotFound) return;  // not ready, or about to hear of us
  if (code == Errc::kDiskFull) {
    if (Epoch(refused.epoch()) != epoch_) return;
    // It says when there is room again.
    member.state = Member::State::kDown;
    ++member.stream;
    note_room(member, true);
    return consider();
  }
  spdlog::warn("range {}: node {} refuses: {}", held_->range.value, member.ref.node.value, refused.message());
  member.broken = true;
  member.state = Member::State::kDown;
  ++member.stream;
  consider();
}

void Leader::acknowledged(Member& member, Lsn lsn) {
  if (!member.activated || lsn > held_->log.tail().lsn) return;
  if (lsn > member.acked) {
    member.acked = lsn;
    member.progress = node().loop.now();
  }
  for (; !member.in_flight.empty() && member.in_flight.front().first <= member.acked; member.in_flight.pop_front())
    member.in_flight_bytes -= member.in_flight.front().second;
  ship(member);
  advance();
}

/// Everything that an acknowledgement, a disk or a configuration change may have made possible.
void Leader::advance() {
  if (stopped_ || !recorded_) return;
  const auto common = common_position(held_->log.synced(), members_, promoting_);
  if (common && opened_ && *common > held_->durable) {
    held_->durable = std::min(*common, held_->log.tail().lsn);
    durable_moved();
  }
  const bool all_answered = common && *common >= end_.lsn;
  if (all_answered) decide_writes();
  if (!served_ && (all_answered || node().bugs.serve_before_all_answered)) maybe_serve();
  check_reads();
  if (stopped_) return;
  if (falling_back_) return try_fall_back();
  if (transfer_) transfer_step();
  if (!stopped_) consider();
}

void Leader::durable_moved() {
  pending_since_ = node().loop.now();
  progressed();
  served_->advance_durable(held_->durable);
  trim_recent();
  maybe_checkpoint();
  if (push_timer_ != 0) return;
  push_timer_ = node().loop.after(node().parameters.durable_push, weakly([](Leader& me) {
                                    me.push_timer_ = 0;
                                    me.push_durable();
                                  }));
}

}  // namespace outlast::replication
