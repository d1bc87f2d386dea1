#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>
#include <vector>

#include "loads/load.h"
#include "sql/session/copy_format.h"
#include "sql/session/session_state.h"
#include "sql/session/transactions.h"

namespace outlast::sql {

/// COPY … FROM STDIN and TO STDOUT. Rows stream in batches: memory holds one batch, whatever the size of the copy. A
/// copy is one transaction: cut in the middle, by an error, CopyFail or a lost client, it leaves nothing. Into a
/// partitioned table it is a load under a label of its own, all or nothing too, outside any transaction.
/// Thread-safety: the session's strand.
class Copy {
 public:
  Copy(SessionState& state, Transactions& transactions) : s_(state), txn_(transactions) {}
  boost::asio::awaitable<Result<void>> from_client(Translated statement);
  boost::asio::awaitable<Result<void>> to_client(Translated statement);

 private:
  struct Target {
    std::vector<std::string> names;
    std::vector<PgType> types;
    std::string insert_sql;
  };
  struct Batch {
    std::vector<std::vector<executor::Value>> rows;
    std::size_t bytes{0};
  };
  boost::asio::awaitable<Result<Target>> find_target(CopySpec spec);
  /// Takes CopyData until CopyDone; the number of rows inserted.
  boost::asio::awaitable<Result<std::uint64_t>> take_rows(const CopySpec* spec, const Target* target);
  boost::asio::awaitable<Result<void>> insert(Batch* batch, const Target* target);
  bool is_partitioned(const std::string& table) const;
  boost::asio::awaitable<Result<void>> into_partitions(const CopySpec* spec, const Target* target);
  boost::asio::awaitable<Result<std::uint64_t>> load_rows(const CopySpec* spec, const Target* target);
  Result<bool> parse_into(CopyParser& parser, const Target& target, Batch& batch) const;
  boost::asio::awaitable<Result<RowStream>> read_copied(const Translated& statement);
  boost::asio::awaitable<Result<std::uint64_t>> send_rows(RowStream* rows, CopyFormat format);

  SessionState& s_;
  Transactions& txn_;
  std::unique_ptr<loads::Load> load_;  ///< Rows go here instead of into the session's transaction.
};

/// kSyntax for a delimiter that cannot work.
Result<CopyFormat> copy_format(const CopySpec& spec);
/// "name" with quotes doubled.
std::string quoted_identifier(std::string_view name);

}  // namespace outlast::sql
