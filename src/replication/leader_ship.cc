// Leader: from commits to the other replicas.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/leader.h"
#include "replication/messages.h"

namespace outlast::replication {

using storage::LogEntryPtr;

namespace {
constexpr std::chrono::seconds kSnapshotAgain{1};  ///< After one that failed: what was wrong is mostly still so.
}

void Leader::on_commits() {
  if (stopped_ || !served_) return;
  auto entries = served_->take_outbox();
  if (entries.empty()) return;
  const bool idle = held_->durable == held_->log.tail().lsn;
  if (idle) {
    pending_since_ = node().loop.now();
    for (auto& [id, member] : members_)
      if (member.acked == held_->log.tail().lsn) member.progress = pending_since_;
  }
  for (LogEntryPtr& entry : entries) {
    held_->log.note_tail(entry->at);
    recent_bytes_ += entry->payload.size();
    since_checkpoint_ += entry->payload.size();
    recent_.push_back(std::move(entry));
  }
  trim_recent();
  ship_all();
  arm_timer();
  advance();
}

void Leader::ship_all() {
  for (auto& [id, member] : members_) ship(member);
}

void Leader::ship(Member& member) {
  while (member.state == Member::State::kStreaming && !member.reading && member.next <= held_->log.tail().lsn &&
         member.in_flight_bytes < node().parameters.window_bytes) {
    if (recent_.empty() || member.next < recent_.front()->at.lsn) return read_for(member);
    std::vector<LogEntryPtr> batch;
    std::size_t bytes = 0;
    for (std::size_t i = member.next.value - recent_.front()->at.lsn.value;
         i < recent_.size() && (batch.empty() || bytes < node().parameters.batch_bytes); ++i) {
      batch.push_back(recent_[i]);
      bytes += recent_[i]->payload.size();
    }
    if (batch.empty()) return;
    send_entries(member, batch);
  }
}

void Leader::send_entries(Member& member, const std::vector<LogEntryPtr>& entries) {
  proto::RangeMessage out = message();
  auto& append = *out.mutable_append();
  append.set_durable_lsn(held_->durable.value);
  std::size_t bytes = 0;
  for (const LogEntryPtr& entry : entries) {
    set_entry(*append.add_entries(), *entry);
    bytes += entry->payload.size();
  }
  member.next = entries.back()->at.lsn.next();
  member.in_flight.emplace_back(entries.back()->at.lsn, bytes);
  member.in_flight_bytes += bytes;
  held_->send(member.ref.node, member.ref.replica, std::move(out));
}

void Leader::read_for(Member& member) {
  member.reading = true;
  const Lsn after(member.next.value - 1);
  held_->log.run<std::vector<LogEntryPtr>>(
      [after, bytes = node().parameters.batch_bytes](storage::Replica& replica) { return replica.read(after, bytes); },
      weakly([id = member.ref.node, stream = member.stream, after](Leader& me, Result<std::vector<LogEntryPtr>> read) {
        Member* them = me.find(id);
        if (them == nullptr) return;
        them->reading = false;
        if (them->stream != stream) return me.ship(*them);
        if (!read.ok() && read.error().code == Errc::kCompacted) {
          if (!them->voter) return me.need_snapshot(*them);
          them->broken = true;  // a member cannot lack what was committed
          return me.consider();
        }
        if (!read.ok()) return me.held_->fail(read.error());
        if (read->empty() || them->next.value != after.value + 1) return;
        // Commits newer than those the loop has heard of are left for their own turn.
        std::erase_if(*read, [&](const LogEntryPtr& entry) { return entry->at.lsn > me.held_->log.tail().lsn; });
        if (read->empty()) return;
        me.send_entries(*them, *read);
        me.ship(*them);
      }));
}

/// The log still begins where an empty replica ends, but the file is less to write: the learner writes what the log
/// says twice, into its log and into its file. Not before the first checkpoint: a snapshot of an empty file would leave
/// the learner where it was.
bool Leader::snapshot_is_shorter() const {
  const std::uint64_t log = held_->replica->log_bytes();
  return held_->replica->applied() > Lsn() && log > node().parameters.log_bytes_shipped &&
         held_->replica->disk_bytes() - log < 2 * log;
}

void Leader::need_snapshot(Member& member) {
  if (member.voter) return;
  member.state = Member::State::kSnapshot;
  ++member.stream;
  auto ended = weakly([id = member.ref.node, stream = member.stream](Leader& me, const Result<void>& result) {
    me.snapshot_ended(id, stream, result);
  });
  auto sender = std::make_shared<SnapshotSender>(held_, member.ref, message(), placement::encode(host_.record()),
                                                 std::move(ended));
  snapshots_[member.ref.node] = sender;
  sender->start();
}

std::vector<NodeId> Leader::copies_in_line() const {
  std::vector<NodeId> nodes;
  for (const auto& [id, sender] : snapshots_)
    if (sender->waits()) nodes.push_back(id);
  return nodes;
}

void Leader::snapshot_ended(NodeId id, std::uint64_t stream, const Result<void>& result) {
  Member* them = find(id);
  if (them == nullptr || them->stream != stream) return;
  snapshots_.erase(id);
  if (result.ok()) return probe(*them, held_->log.tail());
  spdlog::warn("range {}: {}", held_->range.value, result.error().to_string());
  node().loop.after(kSnapshotAgain, weakly([id, stream](Leader& me) {
                      Member* learner = me.find(id);
                      if (learner != nullptr && learner->stream == stream) me.probe(*learner, me.held_->log.tail());
                    }));
}

/// Forgets entries that every stream has, and the oldest when too many are kept: slow members are read from disk for.
void Leader::trim_recent() {
  Lsn needed = held_->durable;
  for (const auto& [id, member] : members_)
    if (member.state == Member::State::kStreaming) needed = std::min(needed, Lsn(member.next.value - 1));
  while (!recent_.empty() && (recent_.front()->at.lsn <= needed || recent_bytes_ > node().parameters.recent_bytes)) {
    recent_bytes_ -= recent_.front()->payload.size();
    recent_.pop_front();
  }
}

/// Is what a learner lacks so little that commits may wait for it from now on?
bool Leader::close_enough(const Member& member) const {
  const Lsn tail = held_->log.tail().lsn;
  if (member.acked >= tail) return true;
  if (recent_.empty() || member.acked.next() < recent_.front()->at.lsn) return false;
  std::size_t lag = 0;
  for (std::size_t i = member.acked.value + 1 - recent_.front()->at.lsn.value; i < recent_.size(); ++i)
    lag += recent_[i]->payload.size();
  return lag <= node().parameters.promote_lag;
}

/// An idle range's backups would otherwise not learn that the last commits are durable.
void Leader::push_durable() {
  for (auto& [id, member] : members_)
    if (member.state == Member::State::kStreaming) tell_durable(member);
}

void Leader::tell_durable(const Member& member) {
  proto::RangeMessage out = message();
  out.mutable_append()->set_durable_lsn(held_->durable.value);
  held_->send(member.ref.node, member.ref.replica, std::move(out));
}

}  // namespace outlast::replication
