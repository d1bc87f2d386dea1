#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "compute/plan.h"
#include "executor/stop_signal.h"
#include "gateway/session.h"

namespace outlast::compute {

/// Registers SQL functions on a new connection; the time is that of now().
using Dress = std::function<void(sqlite3* db, std::int64_t now_micros)>;

/// A private SQLite for one plan: tables that take the rows of fragments, in memory up to a limit, and the final
/// statement over them. What SQLite sorts goes to temporary files beyond its small cache, so that memory stays bounded.
/// Every member blocks for SQLite. Thread-safety: one thread at a time.
class Workspace {
 public:
  /// `stop` ends what runs. Lifetime: clock and stop outlive it.
  static Result<std::unique_ptr<Workspace>> open(const Plan& plan, const Dress& dress, executor::StopSignal& stop,
                                                 const Clock& clock);
  /// The rowids of some rows, first and last.
  using Span = std::pair<std::int64_t, std::int64_t>;
  /// Rows as they travel (executor/row_batch.h). kOutOfMemory beyond the limit.
  Result<Span> insert(std::size_t fragment, std::string_view rows);
  Result<void> remove(std::size_t fragment, const std::vector<Span>& spans);

  /// The first piece of the final statement: `max_rows` 0 is any number. Rows::portal is 1 while more can be had.
  Result<gateway::Rows> begin(std::uint64_t max_rows);
  Result<gateway::Rows> next(std::uint64_t max_rows);

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Closer>;
  struct Table {
    const Fragment* fragment;
    Statement insert;
  };

  Workspace(const Plan& plan, executor::StopSignal& stop, const Clock& clock)
      : plan_(plan), stop_(stop), clock_(clock) {}
  Result<void> prepare_tables(const Dress& dress);
  Result<void> exec(const std::string& sql);
  Result<Statement> prepare(const std::string& sql);
  Result<gateway::Rows> piece(std::uint64_t max_rows);
  Error error(int code, bool filling);
  Error stopped() const;
  static int on_progress(void* self);
  static int on_authorize(void* self, int code, const char* a, const char* b, const char* db, const char*);

  const Plan& plan_;
  executor::StopSignal& stop_;
  const Clock& clock_;
  std::string refused_;
  std::unique_ptr<sqlite3, Closer> db_;
  std::vector<Table> tables_;
  Statement final_;
};

}  // namespace outlast::compute
