#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cli/latency.h"
#include "cli/pg_connection.h"

namespace outlast::cli {

/// How a statement ended, in the words of the demo's report (docs/cli.md).
enum class Ending : std::uint8_t {
  kOk,
  kRetried,     ///< 40001, and this load runs the transaction again.
  kUnknown,     ///< 40003 or 08006: the server says that nobody knows.
  kBroken,      ///< The connection broke while the statement was under way: nobody can tell this client.
  kClosedIdle,  ///< 57P01 or 57P03 before the statement began: reconnect, nothing was run.
  kFailed,      ///< Every other error, and every wrong answer.
};

/// What is certain about the row that a statement was to write.
enum class RowFate : std::uint8_t {
  kAcked,    ///< Must be there once.
  kRefused,  ///< Must not be there.
  kUnknown,  ///< May be there, once.
};

/// Where in its session a statement stood.
struct StatementPlace {
  bool in_transaction{false};  ///< Inside BEGIN...COMMIT, the COMMIT included.
  bool may_retry{false};       ///< The load repeats 40001.
  bool naive{false};           ///< This client repeats nothing: whatever does not succeed once it was sent has failed.
};

/// Pure.
Ending judge(const PgReply& reply, StatementPlace place);
/// For the statement that makes the row durable: an autocommit write or the COMMIT. Pure.
RowFate fate_of_write(const PgReply& reply, Ending ending);

struct StatementCounts {
  std::uint64_t ok{0}, retried{0}, failed{0};
  std::uint64_t unknown{0};               ///< 40003, 08006, and broken connections.
  std::uint64_t unknown_gateway_died{0};  ///< Those of them whose own gateway was killed; see died_with_gateway.
  std::map<std::string, std::uint64_t> by_sqlstate;  ///< All but ok; a broken connection counts as 08006.
  std::uint64_t unnamed{0};                          ///< Failed without an SQLSTATE: wrong answers and time-outs.
};
struct ConnectionCounts {
  std::uint64_t opened{0};
  std::uint64_t refused{0};               ///< Attempts that no node took.
  std::uint64_t retired{0};               ///< Closed by their client at the end of their lifetime.
  std::uint64_t closed_idle{0}, lost{0};  ///< Told to go while nothing ran; any other end.
  std::uint64_t lost_in_transaction{0};   ///< Of the lost ones.
};

/// A statement whose connection broke: to which url it was, since when, and when the client saw the end.
struct BrokenStatement {
  std::size_t url{0};
  std::chrono::steady_clock::time_point opened, broke;
};
/// A gateway's process was killed some time between the two instants.
struct GatewayKill {
  std::size_t url{0};
  std::chrono::steady_clock::time_point before, after;
};
/// How many of them broke because their own gateway was killed: it was killed while the connection was open, and
/// no connection outlives its process. Pure.
std::uint64_t died_with_gateway(const std::vector<BrokenStatement>& broken, const std::vector<GatewayKill>& kills);

/// What all clients of a load saw. Thread-safety: any thread.
class LoadRecord {
 public:
  using Clock = std::chrono::steady_clock;
  LoadRecord() : started_(Clock::now()) {}

  /// `asked`: when the client wanted the answer (before it had to reconnect); `sent`: when the statement left.
  void statement(Ending ending, const PgReply& reply, Clock::time_point asked, Clock::time_point sent);
  /// Where a statement broke that was counted as kBroken.
  void broke(const BrokenStatement& where);
  /// An answer that contradicts what was acknowledged earlier.
  void wrong_answer(const std::string& what);
  void opened();
  void refused();
  void retired();
  void closed(Ending ending, bool in_transaction);
  /// Nobody let this client in for so long.
  void unreachable(const std::string& why, Clock::duration waited);

  StatementCounts statements() const;
  std::vector<BrokenStatement> broken() const;
  ConnectionCounts connections() const;
  LatencyTimeline timeline() const;
  LatencyHistogram last(std::chrono::microseconds window) const;
  double max_latency_ms() const;
  double max_pause_ms() const;
  /// The first of each kind, for people.
  std::vector<std::string> complaints() const;
  std::chrono::microseconds elapsed() const;
  Clock::time_point started() const { return started_; }

 private:
  void complain(const std::string& key, const std::string& text);
  const Clock::time_point started_;
  mutable std::mutex mutex_;
  StatementCounts statements_;
  std::vector<BrokenStatement> broken_;
  ConnectionCounts connections_;
  LatencyTimeline timeline_;
  Clock::duration max_latency_{0}, max_pause_{0};
  std::map<std::string, std::string> complaints_;
};

}  // namespace outlast::cli
