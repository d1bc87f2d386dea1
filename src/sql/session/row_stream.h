#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executor/row_batch.h"
#include "gateway/session.h"
#include "sql/pgwire/backend_writer.h"
#include "sql/translate/translate.h"
#include "sql/types.h"

namespace outlast::sql {

/// A result on its way to a client: the piece at hand, and the gateway's portal where more waits. Holds one piece at a
/// time. Thread-safety: the session's strand. Lifetime: `session` outlives it.
class RowStream {
 public:
  RowStream() = default;
  RowStream(gateway::Rows rows, const std::vector<ColumnHint>& hints);
  /// Rows made here (SHOW, the catalog).
  static RowStream local(std::vector<std::string> names, std::vector<PgType> types,
                         const std::vector<std::vector<executor::Value>>& rows);

  std::size_t columns() const { return names_.size(); }
  const std::vector<PgType>& types() const { return types_; }
  std::vector<pgwire::FieldDescription> fields(const std::vector<std::int16_t>& formats) const;
  /// Columns without a known type get that of the first row's value, as far as it is at hand.
  void guess_types();

  /// The next row of the piece at hand; false: it is used up. kCorrupt.
  Result<bool> next(std::vector<executor::Value>& row);
  bool more() const { return portal_ != 0; }  ///< Another piece can be fetched.
  boost::asio::awaitable<Result<void>> fetch(gateway::Session& session, std::uint64_t max_rows);
  /// Tells the gateway that nobody will ask for the rest.
  boost::asio::awaitable<void> close(gateway::Session& session);
  std::int64_t changes() const { return changes_; }

 private:
  void take_piece(std::string bytes);
  std::vector<std::string> names_;
  std::vector<PgType> types_;
  std::vector<bool> unknown_;           ///< Columns whose type is only a guess.
  std::unique_ptr<std::string> bytes_;  ///< On the heap, so that the reader's view survives a move.
  std::optional<executor::RowReader> reader_;
  std::uint64_t portal_{0};
  std::int64_t changes_{0};
};

/// Types of a result: the translator's hint, else the column's declaration, else text (`unknown` set).
std::vector<PgType> result_types(const std::vector<gateway::Column>& columns, const std::vector<ColumnHint>& hints,
                                 std::vector<bool>* unknown = nullptr);
std::vector<std::string> result_names(const std::vector<gateway::Column>& columns,
                                      const std::vector<ColumnHint>& hints);
std::vector<pgwire::FieldDescription> describe_fields(const std::vector<std::string>& names,
                                                      const std::vector<PgType>& types,
                                                      const std::vector<std::int16_t>& formats);
/// Format of column `i` in a list of 0, 1 or n codes.
std::int16_t format_of(const std::vector<std::int16_t>& formats, std::size_t i);

/// Appends one DataRow. On an error nothing is appended.
Result<void> write_row(pgwire::BackendWriter& out, const std::vector<executor::Value>& row,
                       const std::vector<PgType>& types, const std::vector<std::int16_t>& formats);

}  // namespace outlast::sql
