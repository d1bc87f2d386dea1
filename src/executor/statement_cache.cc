#include "executor/statement_cache.h"

#include <cctype>

namespace outlast::executor {
namespace {
constexpr std::size_t kCachedSqlMax = 64 << 10;  // a giant literal list is hardly asked twice
constexpr Duration kQuick = std::chrono::microseconds(50);

std::string key_of(const std::string& sql, Caller caller) {
  std::string key;
  key.reserve(sql.size() + 1);
  key += static_cast<char>('0' + static_cast<int>(caller));
  return key += sql;
}

// What may follow the one statement: white space, semicolons and comments, which SQLite itself recognises.
bool only_blank(sqlite3* connection, const char* tail, const char* end) {
  while (tail < end) {
    const char* next = nullptr;
    sqlite3_stmt* statement = nullptr;
    const int rc = sqlite3_prepare_v2(connection, tail, static_cast<int>(end - tail), &statement, &next);
    if (rc != SQLITE_OK || statement != nullptr) {
      sqlite3_finalize(statement);
      return false;
    }
    if (next == tail) return true;
    tail = next;
  }
  return true;
}
}  // namespace

void StatementLease::release() {
  if (statement_ == nullptr) return;
  sqlite3_stmt* statement = std::exchange(statement_, nullptr);
  if (!cached_) {
    sqlite3_finalize(statement);
    return;
  }
  cache_->give_back(statement);
}

void StatementLease::note_took(Duration took) {
  if (statement_ != nullptr && cached_) cache_->by_statement_.at(statement_)->quick = took < kQuick;
}

StatementCache::~StatementCache() {
  for (Entry& entry : entries_) sqlite3_finalize(entry.statement);
}

Result<StatementLease> StatementCache::prepare(const std::string& sql, Caller caller, int& code) {
  code = SQLITE_OK;
  std::string key = key_of(sql, caller);
  const auto found = by_key_.find(key);
  if (found != by_key_.end() && !found->second->in_use) return lease(found->second);
  const bool cache_it = found == by_key_.end() && sql.size() <= kCachedSqlMax;
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  code = sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()),
                            cache_it ? SQLITE_PREPARE_PERSISTENT : 0U, &statement, &tail);
  if (code != SQLITE_OK) return Error(Errc::kSyntax, "");
  if (statement == nullptr) return StatementLease();
  if (!only_blank(connection_, tail, sql.data() + sql.size())) {
    sqlite3_finalize(statement);
    return Error(Errc::kSyntax, "cannot run several commands as one statement");
  }
  if (!cache_it) return StatementLease(this, statement, false);
  make_room();
  entries_.push_front({std::move(key), statement, true});
  by_key_.emplace(entries_.front().key, entries_.begin());
  by_statement_.emplace(statement, entries_.begin());
  return StatementLease(this, statement, true);
}

StatementLease StatementCache::find_quick(const std::string& sql, Caller caller) {
  const auto found = by_key_.find(key_of(sql, caller));
  if (found == by_key_.end() || found->second->in_use || !found->second->quick) return {};
  return lease(found->second);
}

StatementLease StatementCache::lease(Entries::iterator entry) {
  entries_.splice(entries_.begin(), entries_, entry);
  entry->in_use = true;
  return {this, entry->statement, true};
}

void StatementCache::make_room() {
  for (auto it = entries_.end(); entries_.size() >= capacity_ && it != entries_.begin();) {
    --it;
    if (it->in_use) continue;
    sqlite3_finalize(it->statement);
    by_key_.erase(it->key);
    by_statement_.erase(it->statement);
    it = entries_.erase(it);
  }
}

void StatementCache::give_back(sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  by_statement_.at(statement)->in_use = false;
}

}  // namespace outlast::executor
