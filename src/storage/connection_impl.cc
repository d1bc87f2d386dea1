#include "storage/connection_impl.h"

#include <utility>

namespace outlast::storage {
namespace {
/// The range's writer lock keeps writers apart; a checkpoint that begins the WAL anew may hold one up for milliseconds.
constexpr int kBusyMs = 2000;
}  // namespace

void ConnectionSet::add(sqlite3* db) {
  const std::lock_guard lock(mutex_);
  all_.insert(db);
}

void ConnectionSet::remove(sqlite3* db) {
  const std::lock_guard lock(mutex_);
  all_.erase(db);
}

void ConnectionSet::interrupt_all() {
  const std::lock_guard lock(mutex_);
  for (sqlite3* db : all_) sqlite3_interrupt(db);
}

ConnectionImpl::ConnectionImpl(sqlite3* db, ConnectionSet& set, std::shared_ptr<Database> owner)
    : db_(db), set_(set), owner_(std::move(owner)) {
  set_.add(db_);
}

ConnectionImpl::~ConnectionImpl() {
  set_.remove(db_);
  close_sqlite(db_);
}

ShimConnection& ConnectionImpl::side() {
  ShimConnection* side = shim_connection(db_);
  OUTLAST_ASSERT(side != nullptr);
  return *side;
}

Error ConnectionImpl::take_commit_error() {
  auto error = std::exchange(side().error, {});
  return error.value_or(Error(Errc::kInternal, "the commit was not refused by the range"));
}

Result<sqlite3*> open_sqlite(const std::string& path, int flags, const char* vfs) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX, vfs);
  if (rc == SQLITE_OK) {
    sqlite3_extended_result_codes(db, 1);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
    sqlite3_wal_autocheckpoint(db, 0);
    sqlite3_busy_timeout(db, kBusyMs);
    rc = sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY", nullptr, nullptr, nullptr);
  }
  if (rc == SQLITE_OK && shim_connection(db) != nullptr) return db;
  Error error = sqlite_failure(db, rc, "cannot open " + path);
  sqlite3_close(db);
  return error;
}

void close_sqlite(sqlite3* db) {
  while (sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr)) sqlite3_finalize(statement);
  OUTLAST_ASSERT(sqlite3_close(db) == SQLITE_OK, "a blob or a backup of the connection is still open");
}

Error sqlite_failure(sqlite3* db, int rc, const std::string& what) {
  const Errc code = (rc & 0xff) == SQLITE_FULL                                      ? Errc::kDiskFull
                    : (rc & 0xff) == SQLITE_NOMEM                                   ? Errc::kOutOfMemory
                    : (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? Errc::kCorrupt
                                                                                    : Errc::kIo;
  return {code, what + ": " + (db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(rc))};
}

}  // namespace outlast::storage
