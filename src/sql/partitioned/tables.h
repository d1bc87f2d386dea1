#pragma once
#include <boost/asio/awaitable.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fragments/table.h"
#include "gateway/cluster.h"

namespace outlast::sql {

using PartitionedSnapshot = std::shared_ptr<const gateway::PartitionedTables>;

/// The text may name one of these tables: it contains the name as a word, quoted or not. A string or a comment may say
/// it, too; planning finds that out. Cheap: no parsing.
bool may_name(const gateway::PartitionedTables& tables, std::string_view text);
bool may_name(std::string_view table, std::string_view text);

/// Columns of partitioned tables by their version, so that planning asks nobody. Thread-safety: any thread.
class ColumnCache {
 public:
  using Columns = std::vector<fragments::Column>;
  std::shared_ptr<const Columns> find(const std::string& database, const gateway::PartitionedTable& table) const;
  void put(const std::string& database, const gateway::PartitionedTable& table, Columns columns);

 private:
  struct Entry {
    std::uint64_t version;
    std::shared_ptr<const Columns> columns;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Entry> entries_;
};

/// What the planner may ask of the tables of one database while one statement is planned.
/// Thread-safety: one coroutine.
class PlannedTables {
 public:
  PlannedTables(gateway::Cluster& cluster, ColumnCache& cache, std::string database, PartitionedSnapshot partitioned)
      : cluster_(cluster), cache_(cache), database_(std::move(database)), partitioned_(std::move(partitioned)) {}
  PlannedTables(const PlannedTables&) = delete;

  /// The partitioned tables that the text may name.
  boost::asio::awaitable<Result<void>> load(std::string text);
  /// Ordinary tables that the planner asked for in vain; unknown names stay unknown.
  boost::asio::awaitable<Result<void>> load_asked();
  /// For the planner; remembers what it does not find.
  fragments::TableLookup lookup();
  bool asked_in_vain() const { return !asked_.empty(); }

 private:
  struct Shape {
    bool view{false};
    ColumnCache::Columns columns;
  };
  using Shapes = std::map<std::string, Shape>;
  boost::asio::awaitable<Result<Shapes>> read_shapes(std::vector<std::string> names);

  gateway::Cluster& cluster_;
  ColumnCache& cache_;
  const std::string database_;
  const PartitionedSnapshot partitioned_;
  std::map<std::string, fragments::Table, std::less<>> tables_;
  std::vector<std::string> asked_;
};

}  // namespace outlast::sql
