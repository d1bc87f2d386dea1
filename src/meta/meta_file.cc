#include "meta/meta_file.h"

#include <chrono>
#include <thread>

namespace outlast::meta {
namespace {
constexpr int kFormat = 1;                                            // PRAGMA user_version
constexpr int kApplicationId = 0x4f4c4d44;                            // "OLMD"
constexpr std::uint64_t kRevisionCounter = 1, kCompactedCounter = 2;  // rows of counters

constexpr const char* kSchema = R"sql(
  CREATE TABLE kv(key BLOB PRIMARY KEY, value BLOB NOT NULL, mod_rev INTEGER NOT NULL, create_rev INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE log(rev INTEGER NOT NULL, position INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
    create_rev INTEGER NOT NULL, PRIMARY KEY(rev, position)) WITHOUT ROWID;
  CREATE TABLE counters(id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
  INSERT INTO counters VALUES (1, 0), (2, 0);
)sql";

/// In the order of MetaFile::Sql.
constexpr const char* kStatements[] = {
    "BEGIN IMMEDIATE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT one",
    "RELEASE one",
    "ROLLBACK TO one",
    "SELECT value FROM counters WHERE id = ?1",
    "UPDATE counters SET value = ?2 WHERE id = ?1",
    "SELECT key, value, mod_rev, create_rev FROM kv WHERE key = ?1",
    "SELECT key, value, mod_rev, create_rev FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
    "SELECT key, value, mod_rev, create_rev FROM kv WHERE key >= ?1 ORDER BY key",
    ("INSERT INTO kv VALUES (?1, ?2, ?3, ?3) ON CONFLICT(key) DO UPDATE SET value = ?2, mod_rev = ?3"
     " RETURNING create_rev"),
    "DELETE FROM kv WHERE key = ?1",
    "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5)",
    "SELECT rev, key, value, create_rev FROM log WHERE rev > ?1 ORDER BY rev, position",
    "DELETE FROM log WHERE rev <= ?1",
    "PRAGMA data_version",
};

Error error_of(sqlite3* db, int code) {
  const std::string text = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Error(Errc::kDiskFull, "the metadata file is out of disk space; free some and retry");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Errc::kCorrupt, "the metadata file is damaged (" + text + "); restore meta.db from a copy");
    case SQLITE_NOMEM:
      return Error(Errc::kOutOfMemory, "no memory for metadata work");
    case SQLITE_BUSY:
      return Error(Errc::kMetaUnavailable, "another process keeps the metadata file locked; retry");
    default:
      return Error(Errc::kIo, "the metadata file failed: " + text + "; check the disk and its permissions");
  }
}

/// Runs `sql`, waiting for other openers of a new or crashed file: only they and recovery hold such locks, briefly.
Result<void> run_patiently(sqlite3* db, const char* sql) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(5);
  for (;;) {
    const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return {};
    Error error = error_of(db, code);
    if (sqlite3_get_autocommit(db) == 0) sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
    if ((code & 0xff) != SQLITE_BUSY || Clock::now() >= end) return error;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Result<int> read_pragma(sqlite3* db, const char* sql) {
  sqlite3_stmt* raw = nullptr;
  if (const int code = sqlite3_prepare_v2(db, sql, -1, &raw, nullptr); code != SQLITE_OK) return error_of(db, code);
  const std::unique_ptr<sqlite3_stmt, CloseSqlite> stmt(raw);
  if (const int code = sqlite3_step(raw); code != SQLITE_ROW) return error_of(db, code);
  return sqlite3_column_int(raw, 0);
}

Result<void> create_or_check(sqlite3* db) {
  TRY(run_patiently(db, "PRAGMA journal_mode = WAL"));
  TRY(run_patiently(db, "PRAGMA synchronous = FULL"));
  TRY(run_patiently(db, "BEGIN IMMEDIATE"));  // one of several openers creates, the others wait and look
  ASSIGN_OR_RETURN(const int format, read_pragma(db, "PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int application, read_pragma(db, "PRAGMA application_id"));
  if (format > kFormat)
    return Error(Errc::kWrongVersion, "meta.db has format " + std::to_string(format) +
                                          ", this program knows formats up to " + std::to_string(kFormat) +
                                          "; start a newer outlast");
  if (format == kFormat && application == kApplicationId) return run_patiently(db, "COMMIT");
  ASSIGN_OR_RETURN(const int tables, read_pragma(db, "SELECT count(*) FROM sqlite_master"));
  if (format != 0 || tables != 0)
    return Error(Errc::kCorrupt, "meta.db is a SQLite file, but not Outlast's metadata; choose another directory");
  const std::string create = std::string(kSchema) + "PRAGMA user_version = " + std::to_string(kFormat) +
                             "; PRAGMA application_id = " + std::to_string(kApplicationId) + "; COMMIT";
  return run_patiently(db, create.c_str());
}

/// The smallest string above everything that starts with `prefix`; empty when there is none.
std::string end_of(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

KeyValue row_of(const Query& query) {
  return {query.bytes(0), query.bytes(1), Revision(query.number(2)), Revision(query.number(3))};
}

}  // namespace

Result<std::unique_ptr<MetaFile>> MetaFile::open(const std::filesystem::path& dir) {
  sqlite3* raw = nullptr;
  const std::string path = (dir / "meta.db").string();
  // "unix" by name: another VFS may have been made the default. NOMUTEX: one thread at a time.
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, "unix");
  SqlitePtr db(raw);
  if (code != SQLITE_OK) return error_of(raw, code).within("opening " + path);
  sqlite3_extended_result_codes(raw, 1);
  if (auto ready = create_or_check(raw); !ready.ok()) return std::move(ready).error().within("opening " + path);
  std::unique_ptr<MetaFile> file(new MetaFile(std::move(db)));
  TRY(file->prepare());
  return file;
}

Result<void> MetaFile::prepare() {
  static_assert(std::size(kStatements) == kSqlCount);
  for (std::size_t i = 0; i < kSqlCount; ++i) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(db_.get(), kStatements[i], -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) return failed();
    statements_[i].reset(raw);
  }
  return {};
}

Error MetaFile::failed() const {
  return error_of(db_.get(), sqlite3_errcode(db_.get()));
}

Result<void> MetaFile::done(int code) {
  if (code == SQLITE_DONE) return {};
  return failed();
}

Result<void> MetaFile::run(Sql which) {
  return done(Query(sql(which)).step());
}

Result<MetaFile::Begin> MetaFile::begin_write() {
  Query query(sql(kBeginWrite));
  const int code = query.step();
  if (code == SQLITE_DONE) return Begin::kBegun;
  if ((code & 0xff) == SQLITE_BUSY) return Begin::kBusy;
  return failed();
}

Result<void> MetaFile::begin_read() {
  return run(kBeginRead);
}

Result<void> MetaFile::commit() {
  Query query(sql(kCommit));
  const int code = query.step();
  if (code == SQLITE_DONE) return {};
  if ((code & 0xff) == SQLITE_BUSY) return failed();  // SQLite's promise: nothing was written
  Error error = failed();
  // Frames may be in the WAL with their commit mark and come to life in a recovery after a crash.
  error.code = Errc::kMetaInDoubt;
  return error;
}

void MetaFile::rollback() {
  if (in_transaction()) Query(sql(kRollback)).step();
}

bool MetaFile::in_transaction() const {
  return sqlite3_get_autocommit(db_.get()) == 0;
}
Result<void> MetaFile::savepoint() {
  return run(kSavepoint);
}
Result<void> MetaFile::release() {
  return run(kRelease);
}
Result<void> MetaFile::rollback_to_savepoint() {
  TRY(run(kRollbackTo));
  return run(kRelease);
}

Result<std::uint64_t> MetaFile::counter(std::uint64_t which) {
  Query query(sql(kCounter));
  if (query.bind(which).step() != SQLITE_ROW) return failed();
  return query.number(0);
}

Result<void> MetaFile::set_counter(std::uint64_t which, std::uint64_t value) {
  Query query(sql(kSetCounter));
  return done(query.bind(which).bind(value).step());
}

Result<Revision> MetaFile::revision() {
  ASSIGN_OR_RETURN(const std::uint64_t value, counter(kRevisionCounter));
  return Revision(value);
}

Result<Revision> MetaFile::compacted() {
  ASSIGN_OR_RETURN(const std::uint64_t value, counter(kCompactedCounter));
  return Revision(value);
}

Result<void> MetaFile::set_revision(Revision revision) {
  return set_counter(kRevisionCounter, revision.value);
}

Result<std::optional<KeyValue>> MetaFile::get(const std::string& key) {
  Query query(sql(kGet));
  const int code = query.bind(key).step();
  if (code == SQLITE_ROW) return std::optional(row_of(query));
  if (code == SQLITE_DONE) return std::optional<KeyValue>();
  return failed();
}

Result<std::vector<KeyValue>> MetaFile::scan(const std::string& prefix) {
  const std::string end = end_of(prefix);
  Query query(sql(end.empty() ? kScanAll : kScan));
  query.bind(prefix);
  if (!end.empty()) query.bind(end);
  std::vector<KeyValue> rows;
  int code = SQLITE_DONE;
  while ((code = query.step()) == SQLITE_ROW) rows.push_back(row_of(query));
  if (code != SQLITE_DONE) return failed();
  return rows;
}

Result<void> MetaFile::put(const std::string& key, const std::string& value, Revision revision) {
  std::uint64_t create = 0;
  {
    Query query(sql(kPut));
    if (query.bind(key).bind(value).bind(revision.value).step() != SQLITE_ROW) return failed();
    create = query.number(0);
    TRY(done(query.step()));
  }
  return log(key, &value, Revision(create), revision);
}

Result<bool> MetaFile::erase(const std::string& key, Revision revision) {
  {
    Query query(sql(kErase));
    TRY(done(query.bind(key).step()));
  }
  if (sqlite3_changes(db_.get()) == 0) return false;
  TRY(log(key, nullptr, Revision{}, revision));
  return true;
}

Result<void> MetaFile::log(const std::string& key, const std::string* value, Revision create, Revision revision) {
  Query query(sql(kLog));
  query.bind(revision.value).bind(++log_position_).bind(key);
  if (value != nullptr)
    query.bind(*value);
  else
    query.bind_null();
  return done(query.bind(create.value).step());
}

Result<std::vector<Event>> MetaFile::changes(Revision since) {
  Query query(sql(kChanges));
  query.bind(since.value);
  std::vector<Event> events;
  int code = SQLITE_DONE;
  while ((code = query.step()) == SQLITE_ROW) {
    Event event{.kind = query.is_null(2) ? Event::Kind::kDelete : Event::Kind::kPut,
                .kv = {query.bytes(1), query.bytes(2), Revision(query.number(0)), Revision(query.number(3))}};
    events.push_back(std::move(event));
  }
  if (code != SQLITE_DONE) return failed();
  return events;
}

Result<void> MetaFile::forget(Revision upto) {
  {
    Query query(sql(kForget));
    TRY(done(query.bind(upto.value).step()));
  }
  return set_counter(kCompactedCounter, upto.value);
}

Result<std::uint64_t> MetaFile::data_version() {
  Query query(sql(kDataVersion));
  if (query.step() != SQLITE_ROW) return failed();
  return query.number(0);
}

}  // namespace outlast::meta
