#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "storage/database.h"
#include "storage/vfs_shim.h"

namespace outlast::storage {

/// The open connections of one database. Thread-safety: any thread.
class ConnectionSet {
 public:
  void add(sqlite3* db);
  void remove(sqlite3* db);
  void interrupt_all();

 private:
  std::mutex mutex_;
  std::unordered_set<sqlite3*> all_;
};

/// See Connection. Keeps `owner`, the database that it belongs to, open; `set` is a part of it.
class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(sqlite3* db, ConnectionSet& set, std::shared_ptr<Database> owner);
  ~ConnectionImpl() override;
  sqlite3* raw() override { return db_; }
  void set_request(RequestOutcome request) override { side().request = std::move(request); }
  Lsn take_commit_lsn() override { return std::exchange(side().commit_lsn, {}); }
  Error take_commit_error() override;
  void interrupt() override { sqlite3_interrupt(db_); }

 private:
  ShimConnection& side();
  sqlite3* const db_;
  ConnectionSet& set_;
  const std::shared_ptr<Database> owner_;
};

/// A SQLite connection through the VFS `vfs`, dressed as Database::connect says. `flags`: SQLITE_OPEN_READWRITE or
/// SQLITE_OPEN_READONLY.
Result<sqlite3*> open_sqlite(const std::string& path, int flags, const char* vfs);
/// Finalizes what is left and closes.
void close_sqlite(sqlite3* db);
Error sqlite_failure(sqlite3* db, int rc, const std::string& what);

}  // namespace outlast::storage
