#pragma once
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sql/session/session_state.h"
#include "sql/session/transactions.h"

namespace outlast::sql {

/// How one statement is embedded.
struct RunMode {
  bool alone{true};  ///< Nothing else shares its implicit transaction: it may commit by itself.
  std::uint64_t max_rows{0};
};

/// A statement that has been run, or begun when it returns rows.
struct Started {
  std::optional<RowStream> rows;
  std::string tag;  ///< With rows: without the count. Without: complete.
};

/// Runs every kind of statement but COPY and FETCH, which talk to the client while they run. Writes notices, never
/// results. Thread-safety: the session's strand.
class StatementRunner {
 public:
  StatementRunner(SessionState& state, Transactions& transactions) : s_(state), txn_(transactions) {}

  /// 25P02 in a failed transaction (but for what ends it), 25006 for a write in a read-only one, 25001 for what must
  /// stand alone; opens the implicit transaction where one is due.
  Result<void> admit(const Translated& statement, const RunMode& mode);
  boost::asio::awaitable<Result<Started>> start(Translated statement, std::vector<executor::Value> params,
                                                RunMode mode);
  /// start() for what is_plain(), without a copy: `statement` must outlive the call.
  boost::asio::awaitable<Result<Started>> run_sql(const Translated& statement, std::vector<executor::Value> params,
                                                  RunMode mode);
  static bool is_plain(const Translated& statement);
  /// Fields of the result, or nullopt when the statement returns no rows. Runs nothing.
  boost::asio::awaitable<Result<std::optional<std::vector<pgwire::FieldDescription>>>> describe(
      Translated statement, std::vector<std::int16_t> formats);
  /// True when describe() needs no word from the leaseholder.
  static bool describes_itself(const Translated& statement);
  /// One that came from another worker is translated at its first use; what cannot be is that use's error.
  Result<std::shared_ptr<const Prepared>> find_prepared(const std::string& name) const;

 private:
  boost::asio::awaitable<Result<Started>> run_ddl(Translated statement);
  // sql/partitioned/ddl.cc
  boost::asio::awaitable<Result<Started>> create_partitioned(Translated statement);
  /// nullopt: the statement names no partitioned table.
  boost::asio::awaitable<Result<std::optional<Started>>> run_partitioned_ddl(const Translated& statement);
  boost::asio::awaitable<Result<void>> has_heard_of_all(const Translated& statement);
  boost::asio::awaitable<Result<Started>> lock_tables(Translated statement);
  boost::asio::awaitable<Result<bool>> object_exists(std::string name);
  boost::asio::awaitable<Result<void>> notice_if_present(std::string name);
  boost::asio::awaitable<Result<void>> notice_if_absent(std::string tag, std::string name);
  boost::asio::awaitable<Result<Started>> run_catalog(Translated statement, std::vector<executor::Value> params);
  boost::asio::awaitable<Result<void>> refresh_catalog();
  boost::asio::awaitable<Result<void>> read_schema();
  boost::asio::awaitable<Result<std::vector<std::vector<executor::Value>>>> read_internal(std::string sql);
  boost::asio::awaitable<Result<Started>> run_transaction_control(Translated statement);
  boost::asio::awaitable<Result<Started>> run_cluster(Translated statement);
  boost::asio::awaitable<Result<Started>> drop_database(Translated statement);
  boost::asio::awaitable<Result<Started>> run_execute(Translated statement, RunMode mode);
  boost::asio::awaitable<Result<Started>> declare_cursor(Translated statement);
  boost::asio::awaitable<Result<Started>> close_cursor(Translated statement);
  boost::asio::awaitable<Result<Started>> discard(Translated statement);
  boost::asio::awaitable<Result<Started>> explain(Translated statement);
  Result<Started> prepare(const Translated& statement);
  Result<Started> deallocate(const Translated& statement);
  Result<Started> run_setting(const Translated& statement);
  Result<Started> show(const Translated& statement) const;
  Result<Started> show_cluster(const Translated& statement) const;
  boost::asio::awaitable<Result<Started>> show_listing(Translated statement);
  /// Rows of SHOW NODES and its like, in their columns.
  static RowStream listing_stream(const Translated& statement, const std::vector<gateway::ListingRow>& rows);

  SessionState& s_;
  Transactions& txn_;
};

/// Runs a query or a write in one range; nullopt: the database's own.
boost::asio::awaitable<Result<Started>> run_in_range(SessionState& state, const Translated& statement,
                                                     std::vector<executor::Value> params, RunMode mode,
                                                     std::optional<RangeId> range);
/// "INSERT" and 3 to "INSERT 0 3", "SELECT" to "SELECT 3"; tags that carry no count stay as they are.
std::string complete_tag(const std::string& tag, std::int64_t count);
/// Unknown parameter types become text. `text`: as the client wrote it, for what is kept beyond its one use.
std::shared_ptr<Prepared> make_prepared(Translated statement, const std::vector<Oid>& given, std::string text = {});
/// Result<Translated> of a text that must hold one statement; an empty one gives kEmpty. kSyntax when it holds more.
Result<Translated> translate_one(std::string_view text, const std::vector<Oid>& parameter_types,
                                 const SessionNames& names);

}  // namespace outlast::sql
