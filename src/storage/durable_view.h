#pragma once
#include <memory>

#include "storage/connection_impl.h"

namespace outlast::storage {

/// A leading database as it was at one LSN, read-only: the same files, the WAL read up to that commit only, under a
/// wal-index of its own. The database goes on beside it, but no checkpoint begins while a view is open, because the
/// file must not move on under its readers. Keeps the database that it looks into open.
/// Thread-safety: all members from any thread.
class DurableView final : public Database, public std::enable_shared_from_this<DurableView> {
 public:
  static Result<std::shared_ptr<Database>> open(std::shared_ptr<Database> owner, std::shared_ptr<ShimRange> of,
                                                Lsn upto);
  ~DurableView() override;

  Result<std::unique_ptr<Connection>> connect() override;
  Result<Lsn> checkpoint() override;
  Result<std::shared_ptr<Database>> durable_view(Lsn durable) override;
  std::uint64_t wal_bytes() const override { return owner_->wal_bytes(); }
  void fence() override;

 private:
  DurableView(std::shared_ptr<Database> owner, std::shared_ptr<ShimRange> of, std::int64_t wal_end);

  const std::shared_ptr<Database> owner_;
  const std::shared_ptr<ShimRange> of_;
  const std::shared_ptr<ShimRange> shim_;
  const std::shared_ptr<ViewVfs> vfs_;
  ConnectionSet connections_;
  sqlite3* keeper_{nullptr};  ///< Built the wal-index, so that no client's connection has to.
};

}  // namespace outlast::storage
