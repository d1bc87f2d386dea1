#pragma once
#include <sqlite3.h>

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/loop.h"
#include "base/result.h"
#include "executor/authorizer.h"

namespace outlast::executor {

class StatementCache;

/// A prepared statement in use. Resets it and gives it back to its cache when destroyed.
class StatementLease {
 public:
  StatementLease() = default;
  StatementLease(StatementCache* cache, sqlite3_stmt* statement, bool cached)
      : cache_(cache), statement_(statement), cached_(cached) {}
  StatementLease(StatementLease&& o) noexcept { swap(o); }
  StatementLease& operator=(StatementLease&& o) noexcept {
    swap(o);
    return *this;
  }
  ~StatementLease() { release(); }
  /// Null for a statement without a command (empty text or a comment).
  sqlite3_stmt* get() const { return statement_; }
  explicit operator bool() const { return statement_ != nullptr; }
  /// How long it ran: what was quick is expected to be quick again.
  void note_took(Duration took);
  void release();

 private:
  void swap(StatementLease& o) noexcept {
    std::swap(cache_, o.cache_);
    std::swap(statement_, o.statement_);
    std::swap(cached_, o.cached_);
  }
  StatementCache* cache_{nullptr};
  sqlite3_stmt* statement_{nullptr};
  bool cached_{false};
};

/// The prepared statements of one connection, least recently used out first. A statement that is in use (an open
/// portal) is prepared a second time. Thread-safety: as the connection's. Lifetime: all leases end before it does.
class StatementCache {
 public:
  StatementCache(sqlite3* connection, std::size_t capacity) : connection_(connection), capacity_(capacity) {}
  ~StatementCache();
  StatementCache(const StatementCache&) = delete;
  StatementCache& operator=(const StatementCache&) = delete;

  /// One statement; kSyntax when `sql` holds more than one. Else the SQLite code comes back in `code`.
  Result<StatementLease> prepare(const std::string& sql, Caller caller, int& code);
  /// The cached statement, if it is not in use and was quick when it ran last; else none.
  StatementLease find_quick(const std::string& sql, Caller caller);
  std::size_t size() const { return entries_.size(); }

 private:
  friend class StatementLease;
  struct Entry {
    std::string key;
    sqlite3_stmt* statement;
    bool in_use;
    bool quick{false};
  };
  using Entries = std::list<Entry>;
  StatementLease lease(Entries::iterator entry);
  void give_back(sqlite3_stmt* statement);
  void make_room();

  sqlite3* connection_;
  std::size_t capacity_;
  Entries entries_;                                                 ///< Most recently used first.
  std::unordered_map<std::string_view, Entries::iterator> by_key_;  ///< Views into Entry::key.
  std::unordered_map<sqlite3_stmt*, Entries::iterator> by_statement_;
};

}  // namespace outlast::executor
