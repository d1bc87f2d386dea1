#include "replication/snapshot_sender.h"

#include <algorithm>

#include "base/crc32c.h"

namespace outlast::replication {
namespace {
constexpr std::chrono::milliseconds kTurnPoll{100};
}

SnapshotSender::SnapshotSender(std::shared_ptr<HeldReplica> held, placement::ReplicaRef to, proto::RangeMessage header,
                               std::string config, Callback<void> done)
    : held_(std::move(held)),
      to_(std::move(to)),
      header_(std::move(header)),
      config_(std::move(config)),
      done_(std::move(done)) {}

SnapshotSender::~SnapshotSender() {
  if (counted_) --held_->node.snapshots_running;
  if (source_)  // closing deletes a file
    held_->node.workers.submit(held_->range.value, [last = std::move(source_)]() mutable { last.reset(); });
}

void SnapshotSender::start() {
  NodeContext& node = held_->node;
  if (node.snapshots_running >= node.parameters.snapshots_at_once) {
    node.loop.after(kTurnPoll, [weak = weak_from_this()] {
      if (auto me = weak.lock()) me->start();
    });
    return;
  }
  counted_ = true;
  ++node.snapshots_running;
  open();
}

void SnapshotSender::open() {
  using Source = std::shared_ptr<storage::SnapshotSource>;
  held_->node.on_worker<Source>(
      held_->range,
      [replica = held_->replica]() -> Result<Source> {
        ASSIGN_OR_RETURN(std::unique_ptr<storage::SnapshotSource> source, replica->snapshot());
        return Source(std::move(source));
      },
      [weak = weak_from_this()](Result<Source> source) {
        const auto me = weak.lock();
        if (!me || !me->done_) return;
        if (!source.ok()) return me->finish(source.error());
        me->source_ = *std::move(source);
        me->send(0);
      });
}

void SnapshotSender::send_when_due(std::uint64_t offset) {
  Loop& loop = held_->node.loop;
  if (loop.now() >= due_) return send(offset);
  loop.after(due_ - loop.now(), [weak = weak_from_this(), offset] {
    if (const auto me = weak.lock(); me && me->done_) me->send(offset);
  });
}

void SnapshotSender::send(std::uint64_t offset) {
  held_->node.on_worker<std::string>(
      held_->range,
      [source = source_, offset, bytes = held_->node.parameters.batch_bytes] { return source->read(offset, bytes); },
      [weak = weak_from_this(), offset](Result<std::string> data) {
        const auto me = weak.lock();
        if (!me || !me->done_) return;
        if (!data.ok()) return me->finish(data.error());
        if (const std::uint64_t rate = me->held_->node.parameters.snapshot_rate; rate > 0) {
          const std::chrono::duration<double> paid(static_cast<double>(data->size()) / static_cast<double>(rate));
          me->due_ = std::max(me->due_, me->held_->node.loop.now()) + std::chrono::duration_cast<Duration>(paid);
        }
        proto::RangeMessage out = me->header_;
        auto& chunk = *out.mutable_snapshot_chunk();
        const storage::LogPosition at = me->source_->position();
        chunk.set_snapshot_lsn(at.lsn.value);
        chunk.set_snapshot_epoch(at.epoch.value);
        chunk.set_entry_checksum(at.checksum);
        if (const storage::SnapshotPoint point = me->source_->point(); !point.exact())
          chunk.set_holds_lsn(point.holds.value);
        chunk.set_file_size(me->source_->file_size());
        chunk.set_offset(offset);
        chunk.set_crc(crc32c(*data));
        chunk.set_data(*std::move(data));
        chunk.set_config(me->config_);
        me->held_->send(me->to_.node, me->to_.replica, std::move(out));
      });
}

void SnapshotSender::on_ack(const proto::SnapshotAck& ack) {
  if (!source_ || !done_) return;
  if (ack.snapshot_lsn() != source_->position().lsn.value) return;
  if (!ack.error().empty()) return finish(Error(Errc::kIo, "the receiver of a snapshot says: " + ack.error()));
  if (ack.installed()) return finish({});
  if (ack.next_offset() < source_->file_size()) send_when_due(ack.next_offset());
}

void SnapshotSender::finish(Result<void> result) {
  if (!done_) return;
  const auto keep = shared_from_this();  // the owner may drop us in the callback
  auto done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace outlast::replication
