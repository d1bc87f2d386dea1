#include "compute/workspace.h"

#include <algorithm>
#include <array>

#include "executor/authorizer.h"
#include "executor/result_rows.h"
#include "executor/row_batch.h"
#include "executor/sqlite_error.h"

namespace outlast::compute {
namespace {
using executor::Value;

constexpr int kInstructionsBetweenChecks = 100;
constexpr int kValueBytesMax = 256 << 20;
constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kPagesMin = 16;  // an empty database and its tables
constexpr std::size_t kPieceBytes = 256 << 10;

std::string in_quotes(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

/// The value must live until the statement is reset or bound again.
int bind_value(sqlite3_stmt* s, int i, const Value& value, sqlite3_destructor_type lifetime) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return sqlite3_bind_int64(s, i, *whole);
  if (const auto* real = std::get_if<double>(&value)) return sqlite3_bind_double(s, i, *real);
  if (const auto* text = std::get_if<std::string>(&value))
    return sqlite3_bind_text64(s, i, text->data(), text->size(), lifetime, SQLITE_UTF8);
  if (const auto* blob = std::get_if<executor::Blob>(&value))
    return sqlite3_bind_blob64(s, i, blob->bytes.empty() ? "" : blob->bytes.data(), blob->bytes.size(), lifetime);
  return sqlite3_bind_null(s, i);
}

std::string_view or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

/// A name for the rowid that no column hides.
Result<std::string> rowid_of(const Fragment& fragment) {
  for (const char* name : {"rowid", "_rowid_", "oid"})
    if (std::ranges::find(fragment.columns, name) == fragment.columns.end()) return std::string(name);
  return Error(Errc::kSerialization, "a part of the query's rows was lost when its node left; run the statement again");
}

std::string in_mib(std::uint64_t bytes) {
  return bytes >= (1u << 20) ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes >> 10) + " KiB";
}
}  // namespace

Result<std::unique_ptr<Workspace>> Workspace::open(const Plan& plan, const Dress& dress, executor::StopSignal& stop,
                                                   const Clock& clock) {
  std::unique_ptr<Workspace> out(new Workspace(plan, stop, clock));
  TRY(out->prepare_tables(dress));
  return out;
}

Result<void> Workspace::prepare_tables(const Dress& dress) {
  sqlite3* db = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int opened = sqlite3_open_v2(":memory:", &db, kFlags, "unix");
  db_.reset(db);
  if (opened != SQLITE_OK) return Error(Errc::kOutOfMemory, "no memory for the rows of the query; try again later");
  sqlite3_extended_result_codes(db, 1);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, kValueBytesMax);
  if (dress) dress(db, plan_.now_micros);
  const std::uint64_t pages = std::max(kPagesMin, plan_.memory_limit / kPageBytes);
  TRY(exec("PRAGMA page_size=" + std::to_string(kPageBytes) + "; PRAGMA max_page_count=" + std::to_string(pages) +
           "; PRAGMA journal_mode=OFF; PRAGMA temp_store=FILE"));
  for (const Fragment& fragment : plan_.fragments) {
    TRY(exec(fragment.create));
    std::string marks;
    for (std::size_t i = 0; i < fragment.columns.size(); ++i) marks += i == 0 ? "?" : ", ?";
    ASSIGN_OR_RETURN(Statement insert, prepare("INSERT INTO " + in_quotes(fragment.name) + " VALUES (" + marks + ")"));
    tables_.push_back({&fragment, std::move(insert)});
  }
  sqlite3_progress_handler(db, kInstructionsBetweenChecks, &Workspace::on_progress, this);
  return {};
}

int Workspace::on_progress(void* self) {
  auto* me = static_cast<Workspace*>(self);
  return me->stop_.check(me->clock_.now()) ? 1 : 0;
}

int Workspace::on_authorize(void* self, int code, const char* a, const char* b, const char* db, const char*) {
  auto why = executor::refusal(executor::Caller::kClient, {code, a, b, db});
  if (!why) return SQLITE_OK;
  static_cast<Workspace*>(self)->refused_ = std::move(*why);
  return SQLITE_DENY;
}

Error Workspace::stopped() const {
  if (stop_.why() == executor::StopWhy::kDeadline)
    return Error(Errc::kDeadline, "canceling statement due to statement timeout");
  return Error(Errc::kCancelled, "canceling statement due to user request");
}

Error Workspace::error(int code, bool filling) {
  const int primary = code & 0xff;
  if (primary == SQLITE_INTERRUPT) return stopped();
  if (!refused_.empty()) return Error(Errc::kInsufficientPrivilege, std::exchange(refused_, {}));
  if (primary == SQLITE_FULL && filling)
    return Error(Errc::kOutOfMemory,
                 "the rows that this query gathers from its fragments need more than sql.query_memory_limit (" +
                     in_mib(plan_.memory_limit) +
                     "); narrow it by conditions on one table, ask for fewer columns, or raise the setting");
  if (primary == SQLITE_FULL)
    return Error(Errc::kOutOfMemory,
                 "no space for the temporary files of this query; ask for fewer rows, or free space on the disk of "
                 "its gateway");
  return executor::map_sqlite_error(code, sqlite3_errmsg(db_.get()));
}

Result<void> Workspace::exec(const std::string& sql) {
  const int code = sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code, true);
  return {};
}

Result<Workspace::Statement> Workspace::prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(db_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return error(code, false);
  if (statement == nullptr) return Error(Errc::kInternal, "an empty statement reached a query's workspace");
  return Statement(statement);
}

Result<Workspace::Span> Workspace::insert(std::size_t fragment, std::string_view rows) {
  Table& table = tables_[fragment];
  sqlite3_stmt* insert = table.insert.get();
  executor::RowReader reader(rows, table.fragment->columns.size());
  std::vector<Value> row;
  Span span{0, -1};
  TRY(exec("BEGIN"));
  while (!reader.done()) {
    TRY(reader.next(row));
    for (std::size_t i = 0; i < row.size(); ++i) bind_value(insert, static_cast<int>(i + 1), row[i], SQLITE_STATIC);
    const int code = sqlite3_step(insert);
    if (code != SQLITE_DONE) {
      Error failed = error(code, true);
      sqlite3_reset(insert);
      return failed;
    }
    span.second = sqlite3_last_insert_rowid(db_.get());
    if (span.first == 0) span.first = span.second;
    sqlite3_reset(insert);
  }
  sqlite3_clear_bindings(insert);
  TRY(exec("COMMIT"));
  return span;
}

Result<void> Workspace::remove(std::size_t fragment, const std::vector<Span>& spans) {
  const Fragment& from = *tables_[fragment].fragment;
  ASSIGN_OR_RETURN(const std::string rowid, rowid_of(from));
  for (const auto& [first, last] : spans)
    TRY(exec("DELETE FROM " + in_quotes(from.name) + " WHERE " + rowid + " BETWEEN " + std::to_string(first) + " AND " +
             std::to_string(last)));
  return {};
}

Result<gateway::Rows> Workspace::begin(std::uint64_t max_rows) {
  sqlite3_set_authorizer(db_.get(), &Workspace::on_authorize, this);
  ASSIGN_OR_RETURN(final_, prepare(plan_.final_sql));
  sqlite3_stmt* s = final_.get();
  if (sqlite3_stmt_readonly(s) == 0) return Error(Errc::kInternal, "the final statement of a query writes");
  for (std::size_t i = 0; i < plan_.parameters.size(); ++i)
    bind_value(s, static_cast<int>(i + 1), plan_.parameters[i], SQLITE_STATIC);
  ASSIGN_OR_RETURN(gateway::Rows rows, piece(max_rows));
  for (int i = 0; i < sqlite3_column_count(s); ++i)
    rows.columns.push_back({std::string(or_empty(sqlite3_column_name(s, i))),
                            std::string(or_empty(sqlite3_column_decltype(s, i))), "", ""});
  return rows;
}

Result<gateway::Rows> Workspace::next(std::uint64_t max_rows) {
  return piece(max_rows);
}

Result<gateway::Rows> Workspace::piece(std::uint64_t max_rows) {
  sqlite3_stmt* s = final_.get();
  executor::Batch batch = executor::collect(s, sqlite3_step(s), {.bytes = kPieceBytes, .rows = max_rows});
  if (batch.end == executor::BatchEnd::kError) return error(batch.code, false);
  gateway::Rows rows;
  rows.bytes = std::move(batch.bytes);
  rows.suspended = batch.end == executor::BatchEnd::kRows;
  rows.portal = batch.end == executor::BatchEnd::kDone ? 0 : 1;
  return rows;
}

}  // namespace outlast::compute
