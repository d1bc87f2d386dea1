#include "replication/snapshot_sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "base/crc32c.h"

namespace outlast::replication {
namespace {
constexpr std::uint64_t kPiecesAtOnce = 4;          // read and sent without coming back to the loop
constexpr std::uint64_t kSmallestPiece = 64 << 10;  // of a slow snapshot, so that it goes steadily
constexpr std::uint64_t kPieceUnit = 4 << 10;       // what a disk can be written by directly

/// On a worker. The bytes leave from there: the loop, where commits wait, does not touch them.
Result<void> send_piece(storage::SnapshotSource& source, Transport& transport, NodeId to, bool aside,
                        proto::RangeMessage piece, std::uint64_t offset, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(std::string data, source.read(offset, bytes));
  auto& chunk = *piece.mutable_snapshot_chunk();
  chunk.set_offset(offset);
  chunk.set_crc(crc32c(data));
  chunk.set_data(std::move(data));
  transport.send_bulk(to, std::move(piece), aside);
  return {};
}
}  // namespace

SnapshotSender::SnapshotSender(std::shared_ptr<HeldReplica> held, placement::ReplicaRef to, proto::RangeMessage header,
                               std::string config, Callback<void> done)
    : held_(std::move(held)), to_(std::move(to)), header_(std::move(header)), done_(std::move(done)) {
  held_->address(to_.replica, header_);
  header_.mutable_snapshot_chunk()->set_config(std::move(config));
}

SnapshotSender::~SnapshotSender() {
  held_->node.snapshots->leave(ticket_);
  if (source_ && next_ == source_->file_size() && !sending_) tell_times();
  if (source_)  // closing deletes a file
    held_->node.copiers.submit(held_->range.value, [last = std::move(source_)]() mutable { last.reset(); });
}

void SnapshotSender::start() {
  times_.joined = held_->node.loop.now();
  const std::uint64_t bytes = held_->replica->disk_bytes() - held_->replica->log_bytes();
  ticket_ = held_->node.snapshots->join(to_.node, bytes, [weak = weak_from_this()] {
    if (const auto me = weak.lock(); me && me->done_) me->open();
  });
}

void SnapshotSender::open() {
  times_.begun = held_->node.loop.now();
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
        me->opened(*std::move(source));
      });
}

void SnapshotSender::opened(std::shared_ptr<storage::SnapshotSource> source) {
  source_ = std::move(source);
  times_.opened = held_->node.loop.now();
  auto& chunk = *header_.mutable_snapshot_chunk();
  const storage::SnapshotPoint point = source_->point();
  chunk.set_snapshot_lsn(point.at.lsn.value);
  chunk.set_snapshot_epoch(point.at.epoch.value);
  chunk.set_entry_checksum(point.at.checksum);
  if (!point.exact()) chunk.set_holds_lsn(point.holds.value);
  chunk.set_file_size(source_->file_size());
  pump();
}

/// Sends on, as far as the receiver takes it and the rate allows.
void SnapshotSender::pump() {
  if (sending_ || !source_ || !done_) return;
  const NodeContext& node = held_->node;
  const std::uint64_t rate = node.parameters.snapshot_rate, whole = node.parameters.batch_bytes;
  const std::uint64_t piece =
      rate == 0 ? whole : std::min(whole, std::max(kSmallestPiece, rate / 16 / kPieceUnit * kPieceUnit));
  const std::uint64_t ahead = next_ == acked_ ? std::max(window_, piece) : window_;
  const std::uint64_t limit = std::min(source_->file_size(), acked_ + ahead);
  if (next_ >= limit) return;
  const std::uint64_t from = next_, to = std::min(limit, from + (rate == 0 ? piece * kPiecesAtOnce : piece));
  sending_ = true;
  next_ = to;
  const Instant due = node.snapshots->due(to - from), now = node.loop.now();
  if (due <= now) return send(from, to);
  held_->node.loop.after(due - now, [weak = weak_from_this(), from, to] {
    if (const auto me = weak.lock(); me && me->done_) me->send(from, to);
  });
}

void SnapshotSender::send(std::uint64_t from, std::uint64_t to) {
  NodeContext& node = held_->node;
  auto work = [source = source_, &transport = node.transport, id = to_.node, header = header_, aside = window_ > 0,
               bytes = node.parameters.batch_bytes, from, to]() -> Result<void> {
    for (std::uint64_t at = from; at < to; at += bytes)
      TRY(send_piece(*source, transport, id, aside, header, at, std::min<std::uint64_t>(bytes, to - at)));
    return {};
  };
  node.on_copier<void>(held_->range, std::move(work), [weak = weak_from_this()](Result<void> sent) {
    const auto me = weak.lock();
    if (!me || !me->done_) return;
    me->sending_ = false;
    if (!sent.ok()) return me->finish(sent.error());
    me->times_.sent = me->held_->node.loop.now();
    if (me->next_ == me->source_->file_size()) me->held_->node.snapshots->all_sent(me->ticket_);
    me->pump();
  });
}

void SnapshotSender::on_ack(const proto::SnapshotAck& ack) {
  if (!source_ || !done_) return;
  if (ack.snapshot_lsn() != source_->position().lsn.value) return;
  if (!ack.error().empty()) return finish(Error(Errc::kIo, "the receiver of a snapshot says: " + ack.error()));
  if (ack.installed()) return finish({});
  if (ack.next_offset() < acked_)
    return finish(Error(Errc::kUnavailable, "the receiver of a snapshot lost what it had"));
  acked_ = ack.next_offset();
  next_ = std::max(next_, acked_);
  window_ = ack.window();
  pump();
}

void SnapshotSender::tell_times() const {
  const auto ms = [](Duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); };
  const Instant now = held_->node.loop.now();
  spdlog::info("range {}: a snapshot of {} KiB went to node {}: {} ms in line, {} to open, {} to send, {} to install",
               held_->range.value, source_->file_size() >> 10, to_.node.value, ms(times_.begun - times_.joined),
               ms(times_.opened - times_.begun), ms(times_.sent - times_.opened), ms(now - times_.sent));
}

void SnapshotSender::finish(Result<void> result) {
  if (!done_) return;
  const auto keep = shared_from_this();  // the owner may drop us in the callback
  auto done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace outlast::replication
