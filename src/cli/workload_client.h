#pragma once
#include <optional>

#include "base/loop.h"
#include "cli/workload.h"

namespace outlast::cli {

/// One client of a load: its connection, its place among the urls, its journal. Runs on one thread.
class WorkloadClient {
 public:
  WorkloadClient(const WorkloadPlan& plan, int index, LoadRecord& record, const std::atomic<bool>& stopping,
                 ClientJournal& journal);
  /// Returns soon after `stopping`, with no transaction left open.
  void run();

 private:
  using Clock = LoadRecord::Clock;
  struct Answer {
    PgReply reply;
    Ending ending{Ending::kFailed};
  };
  /// False when the load is stopping.
  bool ensure_connected();
  std::optional<Answer> statement(const std::string& sql, StatementPlace place);
  void leave(Ending ending, bool in_transaction);
  void retire_old_connection();
  StatementPlace place(bool in_transaction, bool may_retry) const;

  void append_row();
  void read_back();
  void transfer();
  /// One try of a transfer; empty = run it again.
  std::optional<RowFate> try_transfer(std::int64_t seq, std::uint64_t from, std::uint64_t to, std::int64_t amount);
  void check_total();
  void note(std::int64_t seq, RowFate fate);

  const WorkloadPlan& plan_;
  const int index_;
  LoadRecord& record_;
  const std::atomic<bool>& stopping_;
  ClientJournal& journal_;
  SeededRandom random_;
  std::optional<PgConnection> connection_;
  std::size_t next_url_;         ///< That of the connection while there is one.
  Clock::time_point opened_{};   ///< The connection.
  Clock::time_point retires_{};  ///< The connection, when the plan gives it a lifetime.
  Clock::time_point asked_{};    ///< When the present statement was wanted.
  std::int64_t next_seq_{1};
  std::optional<std::int64_t> last_acked_;
};

/// The text that row `seq` of `client` carries; checked when it is read back.
std::string payload_of(int client, std::int64_t seq);

}  // namespace outlast::cli
