#include "storage/vfs_shim.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "storage/bytes.h"
#include "storage/log_format.h"
#include "storage/wal_collect.h"

namespace outlast::storage {
namespace {

enum class Kind : std::uint8_t { kOther, kDatabase, kWal };

/// SQLite's file object: it allocates the bytes (szOsFile), the wrapped file lies behind this one.
struct ShimFile : sqlite3_file {
  Kind kind{Kind::kOther};
  sqlite3_file* real{nullptr};
  std::string path;
  std::shared_ptr<ShimRange> range;
  // Of a database file: one per connection.
  ShimConnection connection;
  ShimFile* wal{nullptr};
  WalIndex::Held held;
  // Of a WAL file.
  ShimFile* db{nullptr};
  std::int64_t commit_at{-1};  ///< Offset of a commit frame that was written but not synced.
  bool fresh{false};           ///< Only a new WAL header was written since the last sync.
};

constexpr std::size_t kShimFileBytes = (sizeof(ShimFile) + 15) / 16 * 16;

ShimFile* mine(sqlite3_file* file) {
  return static_cast<ShimFile*>(file);
}
sqlite3_file* real(sqlite3_file* file) {
  return mine(file)->real;
}
const sqlite3_io_methods* real_methods(sqlite3_file* file) {
  return real(file)->pMethods;
}

sqlite3_vfs* os_vfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find("unix");
  return vfs;
}

/// Tells the disk (fault injection, simulator) what SQLite is about to do.
int announce(ShimFile* file, SqliteOp op, std::int64_t offset, int bytes, int sqlite_error) {
  if (file->range == nullptr) return SQLITE_OK;
  auto told =
      file->range->disk.sqlite_io(op, file->path, static_cast<std::uint64_t>(offset), static_cast<std::size_t>(bytes));
  if (told.ok()) return SQLITE_OK;
  return told.error().code == Errc::kDiskFull && op == SqliteOp::kWrite ? SQLITE_FULL : sqlite_error;
}

int shim_close(sqlite3_file* f) {
  ShimFile* file = mine(f);
  if (file->kind == Kind::kWal && file->db != nullptr) file->db->wal = nullptr;
  if (file->kind == Kind::kDatabase) file->range->wal_index.unlock(0, WalIndex::kLocks, file->held);
  const int rc = file->real->pMethods != nullptr ? file->real->pMethods->xClose(file->real) : SQLITE_OK;
  file->~ShimFile();
  f->pMethods = nullptr;
  return rc;
}

bool is_view(const ShimFile* file) {
  return file->range != nullptr && file->range->view_end > 0;
}

int shim_read(sqlite3_file* f, void* to, int bytes, sqlite3_int64 offset) {
  return real_methods(f)->xRead(real(f), to, bytes, offset);
}

/// Notes what a write to the WAL means: a new generation, a frame header with or without a commit, or page content.
void note_wal_write(ShimFile* wal, const void* bytes, int count, std::int64_t offset) {
  if (offset == 0) {
    wal->range->tail = kWalHeaderBytes;
    wal->range->commit_ends.restart();
    wal->commit_at = -1;
    wal->fresh = true;
    OUTLAST_ASSERT(get_be32(static_cast<const char*>(bytes) + 8) == kPageBytes);
    return;
  }
  wal->fresh = false;
  if (wal->range->as_written) wal->range->as_written->note(bytes, count);
  if (count == kFrameHeaderBytes)  // of a new frame, or a checksum that is written again
    wal->commit_at = get_be32(static_cast<const char*>(bytes) + 4) != 0 ? offset : -1;
  else  // content follows its header, or overwrites an earlier frame of the same transaction
    OUTLAST_ASSERT((offset - kWalHeaderBytes) % kFrameBytes == kFrameHeaderBytes &&
                   (wal->commit_at < 0 || offset == wal->commit_at + kFrameHeaderBytes));
}

int shim_write(sqlite3_file* f, const void* bytes, int count, sqlite3_int64 offset) {
  ShimFile* file = mine(f);
  if (is_view(file)) return SQLITE_READONLY;
  if (file->kind == Kind::kDatabase && !file->connection.writes_database) return SQLITE_IOERR_WRITE;
  int rc = announce(file, SqliteOp::kWrite, offset, count, SQLITE_IOERR_WRITE);
  if (rc == SQLITE_OK) rc = real_methods(f)->xWrite(real(f), bytes, count, offset);
  if (file->kind != Kind::kWal) return rc;
  if (rc != SQLITE_OK)
    file->commit_at = -1;
  else
    note_wal_write(file, bytes, count, offset);
  return rc;
}

int shim_truncate(sqlite3_file* f, sqlite3_int64 size) {
  if (is_view(mine(f))) return SQLITE_READONLY;
  if (mine(f)->kind == Kind::kDatabase && !mine(f)->connection.writes_database) return SQLITE_IOERR_TRUNCATE;
  if (const int rc = announce(mine(f), SqliteOp::kTruncate, size, 0, SQLITE_IOERR_TRUNCATE); rc != SQLITE_OK) return rc;
  return real_methods(f)->xTruncate(real(f), size);
}

int refuse(ShimFile* wal, Error error, int rc) {
  wal->db->connection.error = std::move(error);
  return rc;
}

/// The commit: everything that can fail does so here, before the LSN exists.
int commit(ShimFile* wal) {
  ShimRange& range = *wal->range;
  const std::int64_t last = std::exchange(wal->commit_at, -1);
  if (range.fenced) return refuse(wal, {Errc::kFenced, "the range is closed here"}, SQLITE_IOERR_FSYNC);
  auto pages = range.as_written ? Result<CommitPages>(range.as_written->take())
                                : collect_commit(wal->real, range.tail, last, range.txn_bytes_max);
  if (!pages.ok()) return refuse(wal, std::move(pages).error(), SQLITE_IOERR_FSYNC);
  pages->request = std::exchange(wal->db->connection.request, {});
  auto lsn = range.sink.commit(*std::move(pages));
  if (!lsn.ok()) return refuse(wal, std::move(lsn).error(), SQLITE_IOERR_FSYNC);
  range.tail = last + kFrameBytes;
  range.commit_in_hold = true;
  range.assigned = lsn->value;
  range.commit_ends.note(*lsn, range.tail);
  wal->db->connection.commit_lsn = *lsn;
  return SQLITE_OK;
}

int sync_wal(ShimFile* wal) {
  if (wal->fresh) {  // the header of a new generation; the WAL is scratch
    wal->fresh = false;
    return SQLITE_OK;
  }
  if (wal->commit_at >= 0) return commit(wal);
  // Nothing pending: a checkpoint begins, and may copy only what every in-sync replica has on disk.
  if (wal->range->fenced) return refuse(wal, {Errc::kFenced, "the range is closed here"}, SQLITE_IOERR_FSYNC);
  if (wal->range->views > 0)
    return refuse(wal, {Errc::kObjectInUse, "a view of the database is still being read"}, SQLITE_IOERR_FSYNC);
  auto durable = wal->range->sink.wait_all_durable();
  if (!durable.ok()) return refuse(wal, std::move(durable).error(), SQLITE_IOERR_FSYNC);
  return SQLITE_OK;
}

int shim_sync(sqlite3_file* f, int flags) {
  ShimFile* file = mine(f);
  if (is_view(file)) return SQLITE_READONLY;
  if (const int rc = announce(file, SqliteOp::kSync, 0, 0, SQLITE_IOERR_FSYNC); rc != SQLITE_OK) return rc;
  return file->kind == Kind::kWal ? sync_wal(file) : real_methods(f)->xSync(real(f), flags);
}

int shim_size(sqlite3_file* f, sqlite3_int64* size) {
  const int rc = real_methods(f)->xFileSize(real(f), size);
  if (rc == SQLITE_OK && mine(f)->kind == Kind::kWal && is_view(mine(f)))
    *size = std::min<sqlite3_int64>(*size, mine(f)->range->view_end);
  return rc;
}
int shim_lock(sqlite3_file* f, int level) {
  return real_methods(f)->xLock(real(f), level);
}
int shim_unlock(sqlite3_file* f, int level) {
  return real_methods(f)->xUnlock(real(f), level);
}
int shim_reserved(sqlite3_file* f, int* out) {
  return real_methods(f)->xCheckReservedLock(real(f), out);
}
int shim_control(sqlite3_file* f, int op, void* arg) {
  return real_methods(f)->xFileControl(real(f), op, arg);
}
int shim_sector(sqlite3_file* f) {
  return real_methods(f)->xSectorSize(real(f));
}
int shim_characteristics(sqlite3_file* f) {
  // Without this flag SQLite repeats the commit frame up to a sector boundary, partly after the sync.
  return real_methods(f)->xDeviceCharacteristics(real(f)) | SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

int shim_shm_map(sqlite3_file* f, int region, int bytes, int extend, void volatile** out) {
  *out = mine(f)->range->wal_index.map(region, bytes, extend != 0);
  return *out == nullptr && extend != 0 ? SQLITE_NOMEM : SQLITE_OK;
}

/// The write lock (slot 0) begins and ends a transaction that writes.
void end_write_lock(ShimFile* db) {
  ShimRange& range = *db->range;
  if (range.dropped) return;
  // Readers must see exactly what the sink was given. A commit without it would be lost by the next failure: that is
  // our bug, the process ends and another node leads. One that SQLite dropped after the sink took it, for want of
  // memory behind its sync, would come back.
  const std::int64_t seen = kWalHeaderBytes + std::int64_t{range.wal_index.frames()} * kFrameBytes;
  if (std::exchange(range.commit_in_hold, false) && seen < range.tail) {
    range.dropped = range.fenced = true;
    return range.sink.commit_dropped(Lsn(range.assigned.load()));
  }
  OUTLAST_ASSERT(seen == range.tail || seen == kWalHeaderBytes, "SQLite and the range log disagree about a commit");
  range.published.store(range.assigned.load());
}

int shim_shm_lock(sqlite3_file* f, int first, int count, int flags) {
  ShimFile* db = mine(f);
  if (first == 0 && db->wal != nullptr) db->wal->commit_at = -1;  // forget a commit that failed half-way
  if ((flags & SQLITE_SHM_LOCK) != 0) {
    if (!db->range->wal_index.lock(first, count, (flags & SQLITE_SHM_EXCLUSIVE) != 0, db->held)) return SQLITE_BUSY;
    if (first == 0 && db->range->as_written) db->range->as_written->clear();
    return SQLITE_OK;
  }
  // A view takes the lock to build its wal-index, and never writes.
  if (first == 0 && (db->held.exclusive & 1U) != 0 && !is_view(db)) end_write_lock(db);
  db->range->wal_index.unlock(first, count, db->held);
  return SQLITE_OK;
}

void shim_shm_barrier(sqlite3_file*) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

int shim_shm_unmap(sqlite3_file* f, int) {
  mine(f)->range->wal_index.unlock(0, WalIndex::kLocks, mine(f)->held);
  return SQLITE_OK;  // the regions live as long as the range is open here
}

// Version 2: no memory-mapped reads, which would bypass nothing today but would tie us to the file's real size.
constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

/// The ranges that are open here, by the path of their database file.
struct Registry {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<ShimRange>> ranges;
};
Registry& registry() {
  static Registry* const one = new Registry;  // never destroyed: SQLite may close files at exit
  return *one;
}

std::shared_ptr<ShimRange> find_range(const char* path) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto it = path == nullptr ? all.ranges.end() : all.ranges.find(path);
  return it == all.ranges.end() ? nullptr : it->second;
}

/// Sorts the file into its kind and links it to its range and its connection. False: it must not be opened.
bool adopt(ShimFile* file, sqlite3_vfs* vfs, const char* name, int flags) {
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
    file->kind = Kind::kDatabase;
    const auto* view = static_cast<const std::shared_ptr<ShimRange>*>(vfs->pAppData);
    file->range = view != nullptr ? *view : find_range(name);
    return file->range != nullptr;
  }
  if ((flags & SQLITE_OPEN_WAL) == 0) return true;
  file->kind = Kind::kWal;
  file->db = mine(sqlite3_database_file_object(name));
  file->range = file->db->range;
  file->db->wal = file;
  return true;
}

int shim_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  auto* file = new (f) ShimFile;
  file->pMethods = nullptr;
  file->real = reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(f) + kShimFileBytes);
  if (name != nullptr) file->path = name;
  int rc = SQLITE_CANTOPEN;
  if (adopt(file, vfs, name, flags)) rc = os_vfs()->xOpen(os_vfs(), name, file->real, flags, out_flags);
  if (rc != SQLITE_OK) {
    if (file->kind == Kind::kWal && file->db != nullptr) file->db->wal = nullptr;
    file->~ShimFile();
    f->pMethods = nullptr;
    return rc;
  }
  file->pMethods = &kMethods;
  return SQLITE_OK;
}

sqlite3_vfs vfs_named(const char* name, std::shared_ptr<ShimRange>* view) {
  sqlite3_vfs made = *os_vfs();
  made.zName = name;
  made.szOsFile = static_cast<int>(kShimFileBytes) + os_vfs()->szOsFile;
  made.pNext = nullptr;
  made.pAppData = view;
  made.xOpen = shim_open;
  return made;
}

sqlite3_vfs* shim_vfs() {
  static sqlite3_vfs* const vfs = [] {
    configure_sqlite();
    auto* made = new sqlite3_vfs(vfs_named(shim_vfs_name(), nullptr));
    OUTLAST_ASSERT(sqlite3_vfs_register(made, 0) == SQLITE_OK);
    return made;
  }();
  return vfs;
}

class RegisteredViewVfs final : public ViewVfs {
 public:
  explicit RegisteredViewVfs(std::shared_ptr<ShimRange> view)
      : view_(std::move(view)), name_(std::string(shim_vfs_name()) + "-view-" + std::to_string(next_.fetch_add(1))) {
    vfs_ = vfs_named(name_.c_str(), &view_);
    OUTLAST_ASSERT(sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK);
  }
  ~RegisteredViewVfs() override { sqlite3_vfs_unregister(&vfs_); }
  const char* name() const override { return name_.c_str(); }

 private:
  static inline std::atomic<std::uint64_t> next_{1};
  std::shared_ptr<ShimRange> view_;
  const std::string name_;
  sqlite3_vfs vfs_{};
};

ShimFile* database_file(sqlite3* db) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == nullptr)
    return nullptr;
  return file->pMethods == &kMethods ? mine(file) : nullptr;
}

}  // namespace

const char* shim_vfs_name() {
  return "outlast";
}

std::shared_ptr<ViewVfs> make_view_vfs(std::shared_ptr<ShimRange> view) {
  return std::make_shared<RegisteredViewVfs>(std::move(view));
}

void configure_sqlite() {
  static std::once_flag once;
  // The statistics lock serialises all allocations of all threads. SQLITE_MISUSE means that SQLite already runs.
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

std::shared_ptr<void> register_range(std::shared_ptr<ShimRange> range) {
  OUTLAST_ASSERT(shim_vfs() != nullptr);
  Registry& all = registry();
  const std::string path = range->path;
  const std::lock_guard lock(all.mutex);
  const bool fresh = all.ranges.emplace(path, std::move(range)).second;
  OUTLAST_ASSERT(fresh, "a database is opened twice");
  return {nullptr, [path](void*) {
            Registry& again = registry();
            const std::lock_guard relock(again.mutex);
            again.ranges.erase(path);
          }};
}

ShimConnection* shim_connection(sqlite3* db) {
  ShimFile* file = database_file(db);
  return file == nullptr ? nullptr : &file->connection;
}

bool shim_holds_write_lock(sqlite3* db) {
  ShimFile* file = database_file(db);
  return file != nullptr && (file->held.exclusive & 1U) != 0;
}

Result<void> sync_database_file(sqlite3* db) {
  ShimFile* file = database_file(db);
  OUTLAST_ASSERT(file != nullptr);
  if (shim_sync(file, SQLITE_SYNC_NORMAL) == SQLITE_OK) return {};
  return Error(Errc::kIo, "cannot sync " + file->path + "; this replica must be rebuilt from another one");
}

}  // namespace outlast::storage
