// RangeMachine: what operators are shown, replicas compared at one LSN, and metadata that went back (A1).
#include <spdlog/spdlog.h>

#include "replication/range_machine.h"

namespace outlast::replication {

std::string_view to_string(ReplicaState::Role role) {
  using Role = ReplicaState::Role;
  switch (role) {
    case Role::kLeaseholder:
      return "leaseholder";
    case Role::kRecovering:
      return "recovering";
    case Role::kInSync:
      return "in-sync";
    case Role::kLearner:
      return "learner";
    case Role::kOpening:
      return "opening";
    case Role::kDamaged:
      return "damaged";
    case Role::kRefusing:
      return "refusing";
    case Role::kRemoved:
      return "removed";
  }
  return "unknown";
}

namespace {
/// Whom a new leaseholder still waits for.
std::string waits_for(const Leader& leader) {
  std::string nodes;
  for (const auto& [node, member] : leader.members())
    if (member.voter && !member.activated) nodes += (nodes.empty() ? "" : ", ") + node.to_string();
  return nodes.empty() ? std::string() : "waits for the in-sync replicas on node " + nodes;
}
}  // namespace

ReplicaState::Role RangeMachine::role() const {
  using Role = ReplicaState::Role;
  if (storage_ == Storage::kDamaged || (held_ && held_->failed)) return Role::kDamaged;
  if (storage_ != Storage::kOpen || !held_) return Role::kOpening;
  if (regressed_) return Role::kRefusing;
  if (leader_) return leader_->serving() ? Role::kLeaseholder : Role::kRecovering;
  const auto& config = record_ ? record_->config : held_->accepted;
  const auto* ref = config.find(held_->ref.node);
  if (ref == nullptr || *ref != held_->ref) return Role::kRemoved;
  return config.find_insync(held_->ref.node) != nullptr ? Role::kInSync : Role::kLearner;
}

std::optional<ReplicaState> RangeMachine::state() const {
  if (!local_) return std::nullopt;
  ReplicaState out{*local_, range_, role(), trouble_};
  if (leader_ && out.trouble.empty() && !leader_->serving()) out.trouble = waits_for(*leader_);
  if (record_) {
    out.record_epoch = record_->config.epoch;
    out.record_cfg = record_->config.cfg;
  }
  out.changing = changing_;
  out.file_bytes = installing_;
  if (!held_) return out;
  if (held_->accepted.epoch) out.accepted = held_->accepted;
  out.start = held_->replica->log_start();
  out.end = leader_ ? held_->replica->log_end() : held_->log.tail();
  out.synced = held_->log.synced();
  out.durable = held_->durable;
  out.applied = held_->replica->applied();
  out.log_bytes = held_->replica->log_bytes();
  out.file_bytes = held_->replica->disk_bytes() - out.log_bytes;
  if (leader_) out.copies_in_line = leader_->copies_in_line();
  if (out.role != ReplicaState::Role::kLearner) return out;
  if (out.end.lsn == Lsn()) out.file_bytes = 0;  // the empty database that it was created with
  if (receiver_) out.file_bytes = std::max(out.file_bytes, receiver_->next);
  return out;
}

void RangeMachine::hold_apply(Duration at_most) {
  if (held_) held_->hold_apply(at_most);
}

void RangeMachine::digest_at(Lsn lsn, Callback<storage::Digest> done) {
  if (leader_)
    return done(Error(Errc::kInvalidState, "range " + range_.to_string() + " is led here; ask for its own LSN"));
  if (!held_) return done(Error(Errc::kNotFound, "range " + range_.to_string() + " has no open replica on this node"));
  held_->digest_at(lsn, std::move(done));
}

/// The record here is older than what this replica accepted. Within an epoch that matters only when nobody leads:
/// a follower hears of a change before the watch tells.
bool RangeMachine::behind_accepted() const {
  const placement::RangeConfig &accepted = held_->accepted, &record = record_->config;
  if (accepted.epoch != record.epoch) return accepted.epoch > record.epoch;
  return accepted.cfg > record.cfg && leaderless();
}

/// This node's view may lag: what the store itself says decides, once the watch had its time.
void RangeMachine::watch_regression() {
  if (regressed_ || regression_timer_ != 0) return;
  regression_timer_ = node_.loop.after(node_.parameters.meta_timeout, [weak = weak_from_this()] {
    const auto me = weak.lock();
    if (!me) return;
    me->regression_timer_ = 0;
    if (!me->stopped_ && !me->gone_ && !me->regressed_ && me->held_ && me->behind_accepted()) me->check_regression();
  });
}

void RangeMachine::check_regression() {
  node_.records->read(range_, [weak = weak_from_this()](Result<std::optional<RangeRecord>> read) {
    const auto me = weak.lock();
    if (!me || me->stopped_ || me->gone_ || !me->held_) return;
    if (!read.ok()) return me->record_lost(read.error());
    if (!*read) return me->confirm_and_drop();
    me->took_record((*read)->config, (*read)->revision);
    if (!me->behind_accepted()) return me->evaluate();
    const auto& accepted = me->held_->accepted;
    me->regressed(
        "this replica accepted epoch " + accepted.epoch.to_string() + " (configuration " + accepted.cfg.to_string() +
        "), and the metadata record is at epoch " + (*read)->config.epoch.to_string() + " (configuration " +
        (*read)->config.cfg.to_string() +
        "): the metadata store lost or regressed its state, so the range is not served; run `outlast meta rebuild`");
  });
}

/// A read of the record failed: either nothing is known, and it is asked again, or the range was never heard of.
void RangeMachine::record_lost(const Error& why) {
  if (why.code == Errc::kInvalidState) return regressed(why.message);
  watch_regression();
}

void RangeMachine::regressed(const std::string& why) {
  if (regressed_) return;
  regressed_ = true;
  trouble_ = why;
  const Error error(Errc::kInvalidState, "range " + range_.to_string() + ": " + why);
  spdlog::critical("{}", error.message);
  if (leader_) leadership_over(error);
  if (node_.report_regression) node_.report_regression(range_, error);
}

/// A newer record came: the range may be served again.
void RangeMachine::clear_regression() {
  if (!regressed_ || !record_ || !held_ || behind_accepted()) return;
  regressed_ = false;
  trouble_.clear();
  spdlog::info("range {}: the metadata record is up to date again", range_.value);
}

}  // namespace outlast::replication
