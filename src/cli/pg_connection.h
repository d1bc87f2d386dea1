#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

struct pg_conn;

namespace outlast::cli {

/// What a server said to one statement, or why it said nothing.
struct PgReply {
  bool ok{false};
  std::string sqlstate;  ///< The server's; empty on success and when the connection broke without a word.
  std::string message;
  bool broken{false};                ///< The connection is gone.
  bool timed_out{false};             ///< No answer in time; the connection was closed because its state is unknown.
  std::string tag;                   ///< "INSERT 0 1"
  std::vector<std::string> columns;  ///< Their names.
  std::vector<std::vector<std::optional<std::string>>> rows;
};

/// How an idle connection was found closed.
struct PgFarewell {
  std::string sqlstate;  ///< The server's last word, such as 57P01; empty when it said none.
};

/// A connection of a test load: libpq, one statement at a time, with a deadline for each.
/// Thread-safety: one thread at a time. Movable; closing is by destruction.
class PgConnection {
 public:
  /// `url` is a libpq URI or key=value text; `database` replaces its database when not empty.
  /// Errors: kNotReady (57P03: ask another node), kUnavailable (nobody listens, or `timeout` passed), else by SQLSTATE.
  static Result<PgConnection> connect(const std::string& url, const std::string& database, Duration timeout);
  PgConnection(PgConnection&&) noexcept;
  PgConnection& operator=(PgConnection&&) noexcept;
  ~PgConnection();

  /// Runs one or more statements by the simple protocol; the reply is the last one's, or the first error.
  PgReply run(const std::string& sql, Duration timeout);
  /// Looks without waiting whether the server closed this idle connection.
  std::optional<PgFarewell> farewell();
  bool broken() const;

 private:
  struct State;
  explicit PgConnection(std::unique_ptr<State> state);
  PgReply collect(Duration timeout);
  std::unique_ptr<State> state_;
};

}  // namespace outlast::cli
