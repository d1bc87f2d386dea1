#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "gateway/cluster.h"
#include "ingest/parse/parser.h"
#include "ingest/sink/sink.h"

namespace outlast::server {

struct TableSinkOptions {
  std::string database, table;
  Duration chunk_id_keep{std::chrono::hours(72)};  ///< Longer than any retry: until then a chunk is stored once.
};

/// Records into a table of this cluster, wherever its range is led: (time timestamptz, host text, tag text, fields
/// json, error text), made when it is missing; a table with these columns that an operator made before is taken as it
/// is. Exactly once: the id of a chunk is written to ingest_chunks in the transaction of its records, and a
/// chunk whose id is there is stored already. An outcome that nobody knows comes back as an error, and the chunk comes
/// again. In a partitioned table each partition has the id of a chunk in the transaction of its own part: a chunk that
/// comes again goes only to those that lack it. Thread-safety: as Sink. Lifetime: cluster, decoder and the executor's
/// context outlive it.
class TableSink final : public ingest::Sink, public std::enable_shared_from_this<TableSink> {
 public:
  TableSink(TableSinkOptions options, gateway::Cluster& cluster, const ingest::Decoder& decoder,
            boost::asio::any_io_executor executor);
  void write(std::shared_ptr<const ingest::Chunk> chunk, Callback<void> done) override;
  void stop() override { stopped_ = true; }
  using Row = std::vector<executor::Value>;

 private:
  using Portions = std::vector<std::vector<Row>>;  ///< A statement each, all in one transaction.
  static boost::asio::awaitable<Result<void>> store(std::shared_ptr<TableSink> self,
                                                    std::shared_ptr<const ingest::Chunk> chunk, Portions portions);
  /// `range`: nullopt is the database's own.
  boost::asio::awaitable<Result<void>> store_in(gateway::Session& session, std::optional<RangeId> range,
                                                const ingest::Chunk& chunk, Portions portions);
  boost::asio::awaitable<Result<void>> store_parts(gateway::Session& session, gateway::PartitionedTable table,
                                                   const ingest::Chunk& chunk, Portions portions);
  boost::asio::awaitable<Result<void>> make_tables(gateway::Session& session);
  boost::asio::awaitable<Result<bool>> claim(gateway::Session& session, std::optional<RangeId> range,
                                             const ingest::Chunk& chunk);
  boost::asio::awaitable<Result<void>> insert(gateway::Session& session, std::optional<RangeId> range,
                                              Portions portions);
  static Result<std::map<std::int64_t, Portions>> by_slot(const gateway::PartitionedTable& table, Portions portions);
  Result<Portions> portions_of(const ingest::Chunk& chunk) const;
  std::string claim_key(const ingest::Chunk& chunk) const;

  const TableSinkOptions options_;
  gateway::Cluster& cluster_;
  const ingest::Decoder& decoder_;
  const boost::asio::any_io_executor executor_;
  std::atomic<bool> stopped_{false}, made_{false};
  std::atomic<std::uint64_t> stored_{0};
};

}  // namespace outlast::server
