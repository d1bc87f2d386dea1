// RangeMachine: the local replica's life, as the record wants it: created, opened, received, removed.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crc32c.h"
#include "replication/range_machine.h"

namespace outlast::replication {

using placement::ReplicaRef;
using ReplicaPtr = std::shared_ptr<storage::Replica>;

namespace {
Result<ReplicaPtr> shared(Result<std::unique_ptr<storage::Replica>> opened) {
  if (!opened.ok()) return std::move(opened).error();
  return ReplicaPtr(*std::move(opened));
}

/// Somebody still reads it, such as a transfer that ends, mostly for a few milliseconds; or the disk failed. Nobody may
/// think that it stays: until its data is gone, its node cannot leave the cluster.
void remove_later(Loop& loop, RangeId range, const Error& why, int refused_before, Task again) {
  const bool in_use = why.code == Errc::kInvalidState;
  if (!in_use) spdlog::warn("range {}: files of a removed replica stay for now: {}", range.value, why.message);
  const auto soon = std::chrono::milliseconds(std::min(200, 5 << std::min(refused_before, 6)));
  loop.after(in_use ? soon : std::chrono::seconds(5), std::move(again));
}
}  // namespace

void RangeMachine::open_existing(storage::ReplicaIdentity identity) {
  const ReplicaRef ref{node_.self.node, identity.store_uuid, identity.replica};
  local_ = ref;
  storage_ = Storage::kBusy;
  node_.on_worker<ReplicaPtr>(
      range_, [&store = node_.store, range = range_] { return shared(store.open(range)); },
      [weak = weak_from_this(), ref](Result<ReplicaPtr> replica) {
        if (auto me = weak.lock()) me->opened(ref, std::move(replica));
      });
}

/// True when the replica that the record lists for this node is open here.
bool RangeMachine::ensure_replica() {
  if (storage_ == Storage::kBusy) return false;
  const ReplicaRef* wanted = record_->config.find(node_.self.node);
  if (wanted != nullptr && wanted->store_uuid != node_.self.store_uuid) wanted = nullptr;  // another, earlier store
  if (local_ && (wanted == nullptr || *wanted != *local_)) {
    // Ids are never reused: a newer id here proves that the old replica was dropped; otherwise ask linearizably.
    if (wanted != nullptr && wanted->replica > local_->replica)
      drop_replica();
    else
      confirm_and_drop();
    return false;
  }
  if (storage_ == Storage::kDamaged) {
    if (may_salvage()) salvage();
    return false;
  }
  if (held_) return true;
  if (wanted == nullptr) return false;
  const placement::RangeConfig& config = record_->config;
  const bool fresh = config.epoch == Epoch(1) && config.insync.size() == 1 && config.find_insync(node_.self.node);
  if (config.find_learner(node_.self.node) != nullptr || fresh || node_.bugs.wiped_keeps_id)
    create(*wanted);
  else {
    spdlog::critical("range {}: this store should hold an in-sync replica and does not", range_.value);
    local_ = *wanted;
    storage_ = Storage::kDamaged;
    trouble_ = "an in-sync replica is missing from the store";
    node_.report_damage(range_, {Errc::kCorrupt, trouble_});
  }
  return false;
}

void RangeMachine::create(ReplicaRef ref) {
  local_ = ref;
  storage_ = Storage::kBusy;
  node_.on_worker<ReplicaPtr>(
      range_,
      [&store = node_.store, identity = storage::ReplicaIdentity{range_, ref.replica, ref.store_uuid}] {
        return shared(store.create(identity));
      },
      [weak = weak_from_this(), ref](Result<ReplicaPtr> replica) {
        if (auto me = weak.lock()) me->opened(ref, std::move(replica));
      });
}

void RangeMachine::opened(ReplicaRef ref, Result<ReplicaPtr> replica) {
  storage_ = Storage::kDamaged;
  installing_ = 0;
  if (!replica.ok()) {
    spdlog::error("range {}: the local replica cannot be opened: {}", range_.value, replica.error().to_string());
    trouble_ = replica.error().message;
    node_.report_damage(range_, replica.error());
    if (replica.error().code == Errc::kIo) disk_failed(replica.error());
  }
  if (stopped_) return;
  if (replica.ok()) hold(ref, *std::move(replica));
  if (gone_) return drop_replica();
  evaluate();
}

void RangeMachine::hold(ReplicaRef ref, ReplicaPtr replica) {
  storage_ = Storage::kOpen;
  if (!regressed_) trouble_.clear();
  held_ = std::make_shared<HeldReplica>(keep_, ref, range_, std::move(replica));
  follower_ = std::make_shared<Follower>(held_);
  held_->on_failure = [weak = weak_from_this()](const Error& why) {
    if (auto me = weak.lock()) me->damaged(why);
  };
  held_->on_database_closed = [weak = weak_from_this()] {
    const auto me = weak.lock();
    if (me && me->leader_) std::shared_ptr(me->leader_)->advance();
  };
  said_ready_ = Epoch();
}

/// An earlier process was failed by the disk, and there is no other member of S that the replica could be rebuilt from.
bool RangeMachine::may_salvage() const {
  const placement::RangeConfig& config = record_->config;
  return !salvaged_ && !held_ && local_ && config.insync.size() == 1 && config.insync.front() == *local_;
}

void RangeMachine::salvage() {
  salvaged_ = true;
  storage_ = Storage::kBusy;
  node_.on_worker<ReplicaPtr>(
      range_, [&store = node_.store, range = range_] { return shared(store.salvage(range)); },
      [weak = weak_from_this(), ref = *local_](Result<ReplicaPtr> replica) {
        const auto me = weak.lock();
        if (!me) return;
        if (replica.ok()) spdlog::warn("range {}: opens its only replica after the disk had failed", me->range_.value);
        if (replica.ok() || replica.error().code != Errc::kNotFound) return me->opened(ref, std::move(replica));
        me->storage_ = Storage::kDamaged;  // in another way, which was told
        if (me->gone_) me->drop_replica();
      });
}

void RangeMachine::on_record_gone() {
  if (!stopped_) confirm_and_drop();
}

void RangeMachine::confirm_and_drop() {
  if (checking_) return;
  checking_ = true;
  node_.records->read(range_, [weak = weak_from_this()](Result<std::optional<RangeRecord>> read) {
    const auto me = weak.lock();
    if (!me || me->stopped_) return;
    me->checking_ = false;
    if (!read.ok() && read.error().code == Errc::kInvalidState) return me->regressed(read.error().message);
    if (!read.ok()) {
      me->node_.loop.after(me->node_.parameters.meta_timeout, [weak] {
        if (auto again = weak.lock(); again && !again->stopped_) again->confirm_and_drop();
      });
      return;
    }
    if (!*read) {  // the range was dropped: its id never comes back
      me->gone_ = true;
      me->leadership_over({Errc::kUndefinedDatabase, "the database was dropped"});
      return me->drop_replica();
    }
    const placement::RangeConfig& config = (*read)->config;
    const ReplicaRef* wanted = config.find(me->node_.self.node);
    const bool listed = me->local_ && wanted != nullptr && *wanted == *me->local_;
    const bool newer = !me->held_ || config.cfg >= me->held_->accepted.cfg;
    if (me->local_ && !listed && newer) me->drop_replica();
    me->on_record(config, (*read)->revision);
  });
}

void RangeMachine::drop_replica() {
  if (storage_ == Storage::kBusy) return;  // asked for again when that is done
  if (!local_) return gone_ ? node_.forget(range_) : void();
  if (leader_) leadership_over({Errc::kNotLeaseholder, "this replica left the range"});
  const ReplicaRef gone = *local_;
  storage_ = Storage::kBusy;
  receiver_.reset();
  follower_ = nullptr;
  // The replica is closed behind all log work that was queued for it; its files go after that.
  auto last = std::exchange(held_, nullptr);
  auto erase = [this, weak = weak_from_this(), gone] {
    const auto me = weak.lock();
    if (!me) return;
    node_.on_worker<void>(
        range_, [&store = node_.store, range = range_] { return store.remove(range); },
        [weak, gone](Result<void> removed) {
          const auto self = weak.lock();
          if (!self || (!removed.ok() && self->stopped_)) return;
          if (!removed.ok())
            return remove_later(self->node_.loop, self->range_, removed.error(), self->drops_refused_++, [weak] {
              const auto me = weak.lock();
              if (!me || me->stopped_) return;
              me->storage_ = Storage::kNone;
              me->drop_replica();
            });
          self->drops_refused_ = 0;
          self->storage_ = Storage::kNone;
          self->local_.reset();
          if (self->gone_) return self->node_.forget(self->range_);
          if (self->stopped_ || !self->record_) return;
          if (const auto& holder = self->record_->config.leaseholder) {
            proto::RangeMessage in;  // tell the leaseholder that the data is gone
            in.set_to_replica(gone.replica.value);
            if (const auto* to = self->record_->config.find(holder->node)) in.set_from_replica(to->replica.value);
            self->refuse(holder->node, in, Errc::kNotFound, "the replica's data was deleted");
          }
          self->evaluate();
        });
  };
  auto remove = [this, weak = weak_from_this(), erase = std::move(erase)]() mutable {
    const auto me = weak.lock();  // pieces of a snapshot that are being written go first
    if (!me) return;
    node_.on_copier<void>(
        range_, [] { return Result<void>(); }, [erase = std::move(erase)](const Result<void>&) mutable { erase(); });
  };
  if (!last) return remove();
  auto& log = last->log;
  log.run<void>([](storage::Replica&) { return Result<void>(); },
                [last, remove = std::move(remove)](Result<void>) mutable {
                  last.reset();
                  remove();
                });
}

void RangeMachine::on_snapshot_chunk(NodeId from, Incarnation, proto::RangeMessage in) {
  auto& chunk = *in.mutable_snapshot_chunk();
  const ReplicaId leader(in.from_replica());
  const storage::LogPosition at{Lsn(chunk.snapshot_lsn()), Epoch(chunk.snapshot_epoch()), chunk.entry_checksum()};
  const storage::SnapshotPoint point(at, Lsn(chunk.holds_lsn()));
  const auto reply = [this, from, leader, at](std::uint64_t next, bool installed, const std::string& error) {
    proto::RangeMessage out;
    out.set_range(range_.value);
    out.set_epoch(record_ ? record_->config.epoch.value : 0);
    out.set_to_replica(leader.value);
    out.set_from_replica(local_->replica.value);
    auto& ack = *out.mutable_snapshot_ack();
    ack.set_snapshot_lsn(at.lsn.value);
    ack.set_next_offset(next);
    ack.set_installed(installed);
    ack.set_error(error);
    ack.set_window(node_.parameters.window_bytes);
    node_.transport.send(from, std::move(out));
  };
  auto config = placement::decode_range_config(chunk.config());
  if (!config.ok()) return reply(0, false, config.error().message);
  if (config->epoch < (held_ ? held_->accepted.epoch : Epoch())) return;
  const ReplicaRef* mine = config->find_learner(node_.self.node);
  if (mine == nullptr || *mine != *local_ || leader_) return;  // only a learner gives its data up for a snapshot
  if (record_ && record_->config.find_insync(node_.self.node) != nullptr) return;
  const bool begins = chunk.offset() == 0;
  if (begins) receiver_ = SnapshotReceiver{*local_, point, chunk.file_size(), 0};
  if (!receiver_ || receiver_->point != point) return;
  node_.on_copier<std::uint64_t>(
      range_,
      [&store = node_.store, identity = storage::ReplicaIdentity{range_, local_->replica, local_->store_uuid}, point,
       size = chunk.file_size(), offset = chunk.offset(), crc = chunk.crc(),
       data = std::move(*chunk.mutable_data())]() -> Result<std::uint64_t> {
        if (crc32c(data) != crc) return Error(Errc::kCorrupt, "a piece was damaged on its way");
        return store.receive_snapshot(identity, point, size, offset, data);
      },
      [weak = weak_from_this(), from, leader, point, reply](Result<std::uint64_t> next) {
        const auto me = weak.lock();
        if (!me || me->stopped_ || !me->receiver_ || me->receiver_->point != point) return;
        if (!next.ok() && next.error().code == Errc::kIo) me->node_.report_disk_failure(me->range_, next.error(), true);
        if (!next.ok()) return reply(0, false, next.error().message);
        me->receiver_->next = *next;
        if (*next < me->receiver_->file_size) return reply(*next, false, "");
        me->install(from, leader, *me->receiver_);
      });
}

/// Replaces the replica by the received file, behind everything queued for the old one.
void RangeMachine::install(NodeId from, ReplicaId leader, const SnapshotReceiver& received) {
  const ReplicaRef ref = received.ref;
  const storage::SnapshotPoint point = received.point;
  storage_ = Storage::kBusy;
  installing_ = received.file_size;
  receiver_.reset();
  follower_ = nullptr;
  auto last = std::exchange(held_, nullptr);
  auto finish = [this, weak = weak_from_this(), from, leader, ref, point] {
    const auto me = weak.lock();
    if (!me) return;
    node_.on_worker<ReplicaPtr>(
        range_,
        [&store = node_.store, identity = storage::ReplicaIdentity{range_, ref.replica, ref.store_uuid}, point] {
          return shared(store.finish_snapshot(identity, point));
        },
        [weak, from, leader, ref, at = point.at](Result<ReplicaPtr> replica) {
          const auto self = weak.lock();
          if (!self || self->stopped_) return;
          proto::RangeMessage out;
          out.set_range(self->range_.value);
          out.set_epoch(self->record_ ? self->record_->config.epoch.value : 0);
          out.set_to_replica(leader.value);
          out.set_from_replica(ref.replica.value);
          out.mutable_snapshot_ack()->set_snapshot_lsn(at.lsn.value);
          out.mutable_snapshot_ack()->set_installed(replica.ok());
          if (!replica.ok()) out.mutable_snapshot_ack()->set_error(replica.error().message);
          self->opened(ref, std::move(replica));
          self->node_.transport.send(from, std::move(out));
        });
  };
  if (!last) return finish();
  auto& log = last->log;
  log.run<void>([](storage::Replica&) { return Result<void>(); },
                [last, finish = std::move(finish)](Result<void>) mutable {
                  last.reset();
                  finish();
                });
}

}  // namespace outlast::replication
