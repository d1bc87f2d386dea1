#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "executor/row_batch.h"
#include "proto/exec.pb.h"

namespace outlast::executor {

/// Binds one set of parameters. Values are copied when `keep` (the statement outlives the request). kProtocolViolation
/// when their number is not the statement's.
Result<void> bind(sqlite3_stmt* statement, const proto::Params& params, bool keep);
/// The row that the statement stands on.
void append_row(sqlite3_stmt* statement, RowWriter& out);
void describe_columns(sqlite3_stmt* statement, proto::ExecReply& reply);

/// How much of a result one reply may carry.
struct BatchLimits {
  std::size_t bytes{256 << 10};  ///< At least one row is sent, however large.
  std::uint64_t rows{0};         ///< 0 = any number.
};
enum class BatchEnd : std::uint8_t { kDone, kBytes, kRows, kError };
struct Batch {
  BatchEnd end{BatchEnd::kDone};
  int code{SQLITE_OK};  ///< kError: SQLite's.
  std::string bytes;
};
/// Collects rows from a statement of which `code` is the result of the latest step.
Batch collect(sqlite3_stmt* statement, int code, const BatchLimits& limits);

/// All rows of a write with RETURNING: the write is complete before its first row leaves.
class StoredRows {
 public:
  std::size_t bytes() const { return data_.size(); }
  std::size_t rows() const { return ends_.size(); }
  const std::string& all() const { return data_; }
  void add(std::string_view row);
  bool done() const { return next_ == ends_.size(); }
  Batch take(const BatchLimits& limits);

 private:
  std::string data_;
  std::vector<std::size_t> ends_;
  std::size_t next_{0};
};

}  // namespace outlast::executor
