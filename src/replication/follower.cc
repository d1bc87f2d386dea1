#include "replication/follower.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/messages.h"

namespace outlast::replication {

using placement::RangeConfig;
using storage::LogEntryPtr;
using storage::LogPosition;

namespace {
constexpr std::size_t kTailMax = 4096;  // positions per Mismatch

/// Positions from `from` downwards to what is known to be durable, newest first.
Result<std::vector<LogPosition>> tail_positions(storage::Replica& replica, Lsn from, Lsn durable) {
  std::vector<LogPosition> out;
  const Lsn floor = std::max(std::min(durable, from), replica.log_start().lsn);
  for (Lsn lsn = from; out.size() < kTailMax; lsn = Lsn(lsn.value - 1)) {
    ASSIGN_OR_RETURN(auto position, replica.position_at(lsn));
    out.push_back(position);
    if (lsn <= floor) break;
  }
  return out;
}
}  // namespace

/// What came of an Activate on the log's thread.
struct Follower::Joined {
  enum class Kind : std::uint8_t { kMatch, kMismatch, kDiverged } kind{Kind::kMatch};
  LogPosition end;
  std::vector<LogPosition> tail;
};

bool Follower::speaks(NodeId from, Incarnation incarnation, Epoch epoch, ReplicaId from_replica) {
  const RangeConfig& accepted = held_->accepted;
  if (epoch < accepted.epoch) {
    refuse(from, from_replica, Errc::kStaleEpoch, "this replica follows a newer epoch");
    return false;
  }
  if (epoch > accepted.epoch) {
    report_mismatch(from, from_replica);  // never activated in that epoch: let the leaseholder do it
    return false;
  }
  const bool leads = held_->node.holds(accepted.leaseholder, {from, incarnation});
  if (!leads) refuse(from, from_replica, Errc::kStaleEpoch, "another incarnation leads this epoch");
  return leads;
}

void Follower::on_append(NodeId from, Incarnation incarnation, proto::RangeMessage message) {
  const ReplicaId leader(message.from_replica());
  const Epoch epoch(message.epoch());
  if (!speaks(from, incarnation, epoch, leader) || frozen_ || joining_ || no_room_) return;
  held_->followed = held_->accepted.epoch;
  leader_node_ = from;
  leader_replica_ = leader;
  std::vector<LogEntryPtr> entries;
  LogPosition expected = held_->log.tail();
  for (auto& in : *message.mutable_append()->mutable_entries()) {
    auto entry = entry_from(std::move(in));
    if (!entry.ok()) {
      spdlog::error("range {}: {}", held_->range.value, entry.error().to_string());
      return report_mismatch(from, leader);
    }
    if ((*entry)->prev != expected) return report_mismatch(from, leader);
    expected = (*entry)->at;
    entries.push_back(*std::move(entry));
  }
  if (!entries.empty()) {
    if (held_->node.bugs.ack_before_sync) acknowledge(from, leader, epoch, expected.lsn);
    held_->log.append(std::move(entries), [me = shared_from_this(), from, leader, epoch](Result<Lsn> synced) {
      if (!synced.ok()) return me->append_failed(from, leader, synced.error());
      me->held_->log.note_synced(*synced);
      me->held_->learn_durable(me->held_->durable);  // what was known to be durable before it was here
      if (epoch == me->held_->accepted.epoch && !me->frozen_) me->acknowledge(from, leader, epoch, *synced);
    });
  }
  held_->learn_durable(Lsn(message.append().durable_lsn()));
}

void Follower::on_activate(NodeId from, Incarnation incarnation, const proto::RangeMessage& message) {
  const ReplicaId leader(message.from_replica());
  auto decoded = placement::decode_range_config(message.activate().config());
  if (!decoded.ok()) return refuse(from, leader, decoded.error().code, decoded.error().message);
  const RangeConfig& config = *decoded;
  RangeConfig& accepted = held_->accepted;
  if (config.epoch < accepted.epoch)
    return refuse(from, leader, Errc::kStaleEpoch, "this replica follows a newer epoch");
  if (!held_->node.holds(config.leaseholder, {from, incarnation}))
    return refuse(from, leader, Errc::kInvalidArgument, "the sender does not lead in the configuration it sent");
  if (config.epoch == accepted.epoch && accepted.leaseholder && accepted.leaseholder != config.leaseholder)
    return refuse(from, leader, Errc::kStaleEpoch, "another incarnation leads this epoch");
  if (config.epoch == accepted.epoch && frozen_) return;            // a take-over is under way; it answers for us
  if (config.epoch > accepted.epoch && config.cfg <= accepted.cfg)  // every change of a record raises cfg
    return refuse(from, leader, Errc::kStaleEpoch, "the sender's configuration comes from metadata that lost state");
  const placement::ReplicaRef* mine = config.find(held_->ref.node);
  if (mine == nullptr || *mine != held_->ref)
    return refuse(from, leader, Errc::kNotFound, "the configuration does not name this replica");
  const storage::LogPosition end = end_of(message.activate());
  if (config.epoch == acked_epoch_ && end.lsn < acked_) return;  // overtaken by what was acknowledged since
  frozen_ = no_room_ = false;
  if (config.epoch > accepted.epoch || config.cfg > accepted.cfg) accepted = config;
  held_->followed = accepted.epoch;
  leader_node_ = from;
  leader_replica_ = leader;
  join(from, leader, end, message.activate().probe());
}

void Follower::join(NodeId from, ReplicaId leader, LogPosition end, std::uint64_t probe) {
  joining_ = true;
  const std::uint64_t mine = ++join_;
  const Epoch epoch = held_->accepted.epoch;
  held_->log.run<Joined>(
      [config = held_->accepted, durable = held_->durable, end,
       careless = held_->node.bugs.cut_to_durable](storage::Replica& replica) -> Result<Joined> {
        const auto recorded = replica.recorded_config();
        if (!recorded || recorded->epoch < config.epoch || recorded->cfg < config.cfg)
          TRY(replica.record_config(config));  // before the first acknowledgement of the epoch (A4.2)
        if (careless && durable < replica.log_end().lsn) TRY(replica.cut_after(durable));
        Joined out;
        out.end = replica.log_end();
        if (end.lsn <= out.end.lsn) {
          auto here = replica.position_at(end.lsn);
          if (here.ok() && *here == end) {
            if (end.lsn < durable) {
              out.kind = Joined::Kind::kDiverged;  // never cut what is known to be committed
              return out;
            }
            if (end.lsn < out.end.lsn) TRY(replica.cut_after(end.lsn));
            out.end = end;
            return out;
          }
        }
        out.kind = end.lsn < durable ? Joined::Kind::kDiverged : Joined::Kind::kMismatch;
        if (out.kind == Joined::Kind::kMismatch) {
          ASSIGN_OR_RETURN(out.tail, tail_positions(replica, std::min(end.lsn, out.end.lsn), durable));
        }
        return out;
      },
      [me = shared_from_this(), mine, from, leader, epoch, probe](Result<Joined> result) {
        if (!result.ok()) {
          if (mine == me->join_) me->joining_ = false;
          return me->append_failed(from, leader, result.error());
        }
        if (result->kind == Joined::Kind::kMatch) me->held_->log.note_cut(result->end);
        if (mine != me->join_) return;  // a later Activate is being worked on
        me->joining_ = false;
        if (epoch == me->held_->accepted.epoch && !me->frozen_) me->joined(from, leader, probe, *std::move(result));
      });
}

void Follower::joined(NodeId from, ReplicaId leader, std::uint64_t probe, Joined result) {
  proto::RangeMessage out;
  if (result.kind == Joined::Kind::kMismatch) {
    auto& mismatch = *out.mutable_mismatch();
    mismatch.set_end_lsn(result.end.lsn.value);
    mismatch.set_end_epoch(result.end.epoch.value);
    mismatch.set_end_checksum(result.end.checksum);
    mismatch.set_probe(probe);
    for (const LogPosition& position : result.tail) set_position(*mismatch.add_tail(), position);
  } else {
    auto& ack = *out.mutable_activate_ack();
    ack.set_known_durable_lsn(held_->durable.value);
    ack.set_synced_lsn(result.kind == Joined::Kind::kMatch ? result.end.lsn.value : 0);
    ack.set_probe(probe);
    ack.set_disk_low(held_->node.disk_low);
    if (result.kind == Joined::Kind::kMatch) note_acked(result.end.lsn);
  }
  held_->send(from, leader, std::move(out));
}

void Follower::on_config_push(NodeId from, Incarnation incarnation, const proto::RangeMessage& message) {
  auto config = placement::decode_range_config(message.config_push().config());
  if (!config.ok() || config->epoch != held_->accepted.epoch || config->cfg <= held_->accepted.cfg) return;
  if (!held_->node.holds(config->leaseholder, {from, incarnation})) return;
  if (const auto* mine = config->find(held_->ref.node); mine == nullptr || *mine != held_->ref) return;
  held_->accepted = *config;
  held_->log.run<void>([config = *config](storage::Replica& replica) { return replica.record_config(config); },
                       [me = shared_from_this()](Result<void> result) {
                         if (!result.ok()) me->held_->fail(result.error());
                       });
}

void Follower::on_confirm_epoch(NodeId from, Incarnation incarnation, const proto::RangeMessage& message) {
  const ReplicaId leader(message.from_replica());
  if (!speaks(from, incarnation, Epoch(message.epoch()), leader) || frozen_) return;
  proto::RangeMessage out;
  out.mutable_epoch_confirmed()->set_round(message.confirm_epoch().round());
  held_->send(from, leader, std::move(out));
}

void Follower::unfreeze() {
  if (!frozen_) return;
  frozen_ = false;
  if (leader_replica_ && !joining_ && held_->followed == held_->accepted.epoch) say_ready(held_->accepted);
}

void Follower::say_ready(const RangeConfig& record) {
  if (!record.leaseholder) return;
  const placement::ReplicaRef* leader = record.find_insync(record.leaseholder->node);
  if (leader == nullptr || leader->node == held_->ref.node) return;
  proto::RangeMessage out;
  out.set_epoch(record.epoch.value);
  auto& fetch = *out.mutable_fetch();
  fetch.set_after_lsn(held_->log.tail().lsn.value);
  fetch.set_after_epoch(held_->log.tail().epoch.value);
  fetch.set_after_checksum(held_->log.tail().checksum);
  held_->send(leader->node, leader->replica, std::move(out));
}

void Follower::acknowledge(NodeId to, ReplicaId leader, Epoch epoch, Lsn lsn) {
  note_acked(lsn);
  proto::RangeMessage out;
  out.set_epoch(epoch.value);
  out.mutable_append_ack()->set_synced_lsn(lsn.value);
  out.mutable_append_ack()->set_disk_low(held_->node.disk_low);
  held_->send(to, leader, std::move(out));
}

/// For want of space nothing is damaged: what went into the log stays, the leaseholder hears of it, and sends the rest
/// again when there is room.
void Follower::append_failed(NodeId to, ReplicaId leader, const Error& why) {
  if (why.code == Errc::kLogMismatch) return;  // comes behind an entry that did not go in
  held_->fail(why);
  if (why.code != Errc::kDiskFull || no_room_) return;
  no_room_ = true;
  refuse(to, leader, Errc::kDiskFull, why.message);
  held_->look_up_end();
}

void Follower::room_changed() {
  if (!leader_replica_ || frozen_ || joining_ || held_->followed != held_->accepted.epoch) return;
  if (no_room_ && !held_->node.disk_low) {
    no_room_ = false;
    return say_ready(held_->accepted);
  }
  if (!no_room_ && acked_epoch_ == held_->accepted.epoch)
    acknowledge(leader_node_, leader_replica_, acked_epoch_, acked_);
}

void Follower::note_acked(Lsn lsn) {
  if (acked_epoch_ != held_->accepted.epoch) acked_ = Lsn();
  acked_epoch_ = held_->accepted.epoch;
  acked_ = std::max(acked_, lsn);
}

void Follower::refuse(NodeId to, ReplicaId leader, Errc code, const std::string& why) {
  proto::RangeMessage out;
  auto& refused = *out.mutable_refused();
  refused.set_epoch(held_->accepted.epoch.value);
  refused.set_code(std::string(facts(code).name));
  refused.set_message(why);
  held_->send(to, leader, std::move(out));
}

void Follower::report_mismatch(NodeId to, ReplicaId leader) {
  const LogPosition& end = held_->log.tail();
  proto::RangeMessage out;
  auto& mismatch = *out.mutable_mismatch();
  mismatch.set_end_lsn(end.lsn.value);
  mismatch.set_end_epoch(end.epoch.value);
  mismatch.set_end_checksum(end.checksum);
  held_->send(to, leader, std::move(out));  // without positions: asks for an Activate
}

}  // namespace outlast::replication
