#pragma once
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/session.h"

/// What one range holds of a partitioned table: the table, and a row of outlast_partitioned that says of which CREATE
/// TABLE it is and the number of the last change that it took. Each function is one transaction; the row makes it
/// harmless when repeated.
namespace outlast::gateway {

/// Where: nullopt is the home.
using Place = std::optional<RangeId>;

struct TableAsMade {
  std::string table;
  std::string request;  ///< The CREATE TABLE that it is of.
  std::uint64_t applied{0};
  std::vector<std::string> sql;
};

/// Makes the table there; in its home also what refuses rows. kDuplicateTable when the home has another relation of
/// that name. A partition that has an older, empty form of it is made anew.
boost::asio::awaitable<Result<void>> install_table(Session& session, Place place, TableAsMade made);
/// The table as its home has it now. kUndefinedTable.
boost::asio::awaitable<Result<TableAsMade>> read_home(Session& session, std::string table);
/// Begins a transaction and runs the change in it, unless it was done before: then there is none. The caller ends it.
boost::asio::awaitable<Result<void>> begin_change(Session& session, Place place, std::string table,
                                                  std::uint64_t number, std::vector<std::string> sql);
/// Takes the table out of its home when it is of that CREATE TABLE.
boost::asio::awaitable<Result<void>> drop_home(Session& session, std::string table, std::string request);

/// Nothing was done, or it is not known: the transactions above may be run again.
bool is_passing(Errc code);
/// Commits, as a Result<void>; rolls back what is left after a failure.
boost::asio::awaitable<Result<void>> end_transaction(Session& session, Result<void> done);

}  // namespace outlast::gateway
