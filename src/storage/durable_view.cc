#include "storage/durable_view.h"

#include "storage/wal_collect.h"

namespace outlast::storage {

DurableView::DurableView(std::shared_ptr<Database> owner, std::shared_ptr<ShimRange> of, std::int64_t wal_end)
    : owner_(std::move(owner)),
      of_(std::move(of)),
      shim_(std::make_shared<ShimRange>(of_->sink, of_->disk, of_->path, wal_end)),
      vfs_(make_view_vfs(shim_)) {
  of_->views.fetch_add(1);
}

DurableView::~DurableView() {
  if (keeper_ != nullptr) close_sqlite(keeper_);
  of_->views.fetch_sub(1);
}

Result<std::shared_ptr<Database>> DurableView::open(std::shared_ptr<Database> owner, std::shared_ptr<ShimRange> of,
                                                    Lsn upto) {
  const std::int64_t end = of->commit_ends.end_at(upto);
  std::shared_ptr<DurableView> view(new DurableView(std::move(owner), std::move(of), end));
  ASSIGN_OR_RETURN(view->keeper_, open_sqlite(view->shim_->path, SQLITE_OPEN_READONLY, view->vfs_->name()));
  const int rc = sqlite3_exec(view->keeper_, "SELECT 1 FROM sqlite_schema", nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return sqlite_failure(view->keeper_, rc, "cannot read " + view->shim_->path);
  const std::int64_t frames = view->shim_->wal_index.frames();
  if (CommitEnds::kStart + frames * kFrameBytes != end)
    return Error(Errc::kCorrupt, view->shim_->path + "-wal holds " + std::to_string(frames) +
                                     " readable frames, not those up to LSN " + upto.to_string());
  return std::shared_ptr<Database>(std::move(view));
}

Result<std::unique_ptr<Connection>> DurableView::connect() {
  if (shim_->fenced) return Error(Errc::kFenced, "the range is closed here");
  ASSIGN_OR_RETURN(sqlite3* const db, open_sqlite(shim_->path, SQLITE_OPEN_READONLY, vfs_->name()));
  return std::unique_ptr<Connection>(std::make_unique<ConnectionImpl>(db, connections_, shared_from_this()));
}

Result<Lsn> DurableView::checkpoint() {
  return Error(Errc::kInvalidState, "a view of the durable prefix has nothing to write");
}

Result<std::shared_ptr<Database>> DurableView::durable_view(Lsn durable) {
  return owner_->durable_view(durable);
}

void DurableView::fence() {
  shim_->fenced = true;
  connections_.interrupt_all();
}

}  // namespace outlast::storage
