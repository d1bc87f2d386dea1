#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "gateway/listing.h"
#include "gateway/partitions.h"
#include "gateway/session.h"

namespace outlast::gateway {

struct DatabaseRow {
  DatabaseId id;
  std::string name;
  RangeId range;
};
struct SettingRow {
  std::string name, value, type, default_value, help;
};

/// What SQL may ask of the cluster as a whole. Thread-safety: any thread.
class Cluster {
 public:
  virtual ~Cluster() = default;
  virtual std::unique_ptr<Session> open_session() = 0;
  virtual std::vector<DatabaseRow> databases() const = 0;
  /// The database's partitioned tables as known here; nullptr when there is none. The same object until one changes.
  virtual std::shared_ptr<const PartitionedTables> partitioned(const std::string& database) const = 0;
  /// Who leads a range, as far as known here.
  virtual std::optional<NodeId> leader(RangeId range) const = 0;
  /// Returns when the new database answers on its leaseholder and this gateway knows the way to it.
  virtual boost::asio::awaitable<Result<void>> create_database(std::string name) = 0;
  virtual boost::asio::awaitable<Result<void>> drop_database(std::string name) = 0;
  // Partitioned tables as a whole: see gateway/partitioning.h.
  /// Returns when every partition answers and this node knows the table. kDuplicateTable, kObjectInUse.
  virtual boost::asio::awaitable<Result<void>> create_partitioned(std::string database, NewPartitionedTable table) = 0;
  /// Everywhere or nowhere. kObjectInUse while another change is under way.
  virtual boost::asio::awaitable<Result<void>> change_partitioned(std::string database, std::string table,
                                                                  TableChange change) = 0;
  virtual boost::asio::awaitable<Result<void>> drop_partitioned(std::string database, std::string table) = 0;
  /// The partition of `slot`, made when there is none; afterwards it is in partitioned().
  virtual boost::asio::awaitable<Result<PartitionRow>> add_partition(std::string database, std::string table,
                                                                     std::int64_t slot) = 0;
  /// Replicas of each range of a database; 0 = as the cluster setting says. Durable when it returns, true some time
  /// later.
  virtual boost::asio::awaitable<Result<void>> set_replication_factor(std::string database, int replicas) = 0;
  /// As the cluster is known here; of a task also what the leader frontend says, when it answers.
  virtual boost::asio::awaitable<Result<std::vector<ListingRow>>> list(Listing what) = 0;
  virtual std::vector<SettingRow> settings() const = 0;
  /// The value in force here; kUndefinedObject for an unknown name.
  virtual Result<std::string> setting(const std::string& name) const = 0;
  /// Checked against the setting's type and limits; returns when it is durable.
  virtual boost::asio::awaitable<Result<void>> set_setting(std::string name, std::string value) = 0;
  virtual boost::asio::awaitable<Result<void>> reset_setting(std::string name) = 0;
  /// This node, for functions like outlast_node_id() and for the cancel key.
  virtual NodeId node() const = 0;
  /// This process, as others find it in records: "node/incarnation".
  virtual std::string process() const = 0;
  /// True once the process of that name has certainly ended.
  virtual bool process_gone(const std::string& process) const = 0;
  virtual std::int64_t wall_micros() const = 0;
  /// Empty when new sessions are welcome; else why not (57P03).
  virtual std::string refuse_sessions() const = 0;
};

}  // namespace outlast::gateway
