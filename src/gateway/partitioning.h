#pragma once
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/partition_ports.h"
#include "gateway/session.h"

namespace outlast::gateway {

/// What concerns a partitioned table as a whole: its definition in its home (the database's own range, where the table
/// is empty and refuses rows) and in every partition, and its record. What dies in the middle is told by the record,
/// and by what each range remembers in outlast_partitioned: of which CREATE TABLE its table is, and the number of the
/// last change that it took. So everything may be repeated, by anybody. Thread-safety: any thread.
class Partitioning {
 public:
  using OpenSession = std::function<std::unique_ptr<Session>()>;
  Partitioning(PartitionPorts ports, OpenSession open) : ports_(std::move(ports)), open_(std::move(open)) {}

  /// Returns when every partition answers and this node knows the table. A failure undoes it; what cannot be undone now
  /// is left to finish().
  boost::asio::awaitable<Result<void>> create(std::string database, NewPartitionedTable table);
  /// The partition of `slot`, made when there is none, with the table as its home has it.
  boost::asio::awaitable<Result<PartitionRow>> add(std::string database, std::string table, std::int64_t slot);
  /// In home and all partitions, or nowhere: run in all of them in open transactions first, then decided in the record,
  /// then committed. kUnknownOutcome: decided or perhaps so, and finish() will say.
  boost::asio::awaitable<Result<void>> change(std::string database, std::string table, TableChange change);
  boost::asio::awaitable<Result<void>> drop(std::string database, std::string table);
  /// Brings to its end what nobody else does any more: a decided change or drop to completion, a creation or undecided
  /// change to nothing.
  boost::asio::awaitable<Result<void>> finish(std::string database, meta::PartitionedRecord record);

 private:
  using Record = meta::PartitionedRecord;
  /// One range in the middle of a change, with its open transaction.
  struct InChange {
    std::optional<RangeId> place;  ///< None: the home.
    std::unique_ptr<Session> session;
  };
  boost::asio::awaitable<Result<Record>> ask(std::string database, std::string table, PartitionPorts::Change change,
                                             std::string event = {});
  boost::asio::awaitable<Result<std::unique_ptr<Session>>> enter(std::string database);
  /// Names one statement for ever.
  std::string next_request();
  boost::asio::awaitable<Result<void>> install_everywhere(std::string database, Record record,
                                                          std::vector<std::string> sql);
  boost::asio::awaitable<Result<void>> install_added(std::string database, Record record, meta::PartitionRecord added);
  boost::asio::awaitable<Result<void>> drop_now(std::string database, Record record);
  boost::asio::awaitable<Result<void>> wait_known(std::string database, std::string table,
                                                  std::optional<std::int64_t> slot);
  // partition_change.cc
  boost::asio::awaitable<Result<void>> run_everywhere(const Record& record, std::string database,
                                                      std::vector<InChange>& places);
  boost::asio::awaitable<void> roll_back(std::vector<InChange>& places);
  boost::asio::awaitable<Result<void>> commit_change(std::string database, Record record,
                                                     std::vector<InChange>& places);
  boost::asio::awaitable<Result<void>> catch_up(std::string database, Record record);

  const PartitionPorts ports_;
  const OpenSession open_;
  std::atomic<std::uint64_t> requests_{0};
};

}  // namespace outlast::gateway
