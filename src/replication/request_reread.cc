#include "replication/request_reread.h"

namespace outlast::replication {
namespace {

/// One reading, piece by piece, so that the log's thread does other ranges' work in between.
struct Reread {
  std::shared_ptr<HeldReplica> held;
  std::optional<storage::LogPosition> start;  ///< None before the first piece.
  Lsn read;                                   ///< Up to here.
  std::vector<RequestWindow::Entry> found;
};
struct Piece {
  storage::LogPosition start;
  Lsn read;
  std::vector<RequestWindow::Entry> found;
};

void finish(const std::shared_ptr<Reread>& work, const Result<void>& result) {
  for (auto& waiting : std::exchange(work->held->rereading, {})) waiting(result);
}

Result<Piece> read_piece(storage::Replica& replica, const RequestOf& request_of, std::optional<Lsn> after,
                         std::size_t bytes) {
  Piece piece;
  piece.start = replica.log_start();
  piece.read = after.value_or(piece.start.lsn);
  ASSIGN_OR_RETURN(const auto entries, replica.read(piece.read, bytes));
  for (const storage::LogEntryPtr& entry : entries) {
    piece.read = entry->at.lsn;
    auto outcome = request_of(entry->payload);
    if (!outcome.ok()) return std::move(outcome).error();
    if (id_of(*outcome)) piece.found.emplace_back(entry->at, *std::move(outcome));
  }
  return piece;
}

void next_piece(const std::shared_ptr<Reread>& work) {
  NodeContext& node = work->held->node;
  const std::optional<Lsn> after = work->start ? std::optional(work->read) : std::nullopt;
  work->held->log.run<Piece>(
      [request_of = node.requests->request_of, after, bytes = node.parameters.batch_bytes](storage::Replica& replica) {
        return read_piece(replica, request_of, after, bytes);
      },
      [work](Result<Piece> piece) {
        if (!piece.ok()) return finish(work, piece.error());
        const bool first = !work->start;
        if (first) work->start = piece->start;
        const bool at_end = !first && piece->read == work->read;
        work->read = piece->read;
        std::ranges::move(piece->found, std::back_inserter(work->found));
        RequestWindow& window = *work->held->log.requests();
        if (work->read < window.forgotten().lsn && !at_end) return next_piece(work);
        window.fill(*work->start, work->read, std::move(work->found), work->held->node.loop.now());
        finish(work, {});
      });
}

}  // namespace

void reread_requests(std::shared_ptr<HeldReplica> held, Callback<void> done) {
  held->rereading.push_back(std::move(done));
  if (held->rereading.size() > 1) return;
  const auto work = std::make_shared<Reread>();
  work->held = std::move(held);
  next_piece(work);
}

}  // namespace outlast::replication
