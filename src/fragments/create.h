#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fragments/table.h"

namespace outlast::fragments {

/// CREATE TABLE … PARTITION BY HASH (column) PARTITIONS n
/// CREATE TABLE … PARTITION BY RANGE (column) INTERVAL '1 day' [TTL '90 days']
struct PartitionedCreate {
  std::string table;
  bool if_not_exists{false};
  std::string sql;  ///< PostgreSQL text of the same CREATE TABLE without its PARTITION BY: what each partition runs.
  Scheme scheme;
};

/// nullopt: not such a statement. PostgreSQL's grammar has no PARTITIONS, INTERVAL and TTL: what follows the column is
/// read here, all before it by libpg_query. The statement must stand alone in its string.
/// Refused with the reason: a unique key without the partition column (each partition checks only its own rows), a
/// RANGE column that may be NULL, foreign keys and serial columns (a partition sees only its own rows and numbers).
/// Errors: kSyntax, kUndefinedColumn, kInvalidArgument.
std::optional<Result<PartitionedCreate>> parse_partitioned_create(std::string_view text);

/// CREATE INDEX and ALTER TABLE on a partitioned table: refused, for the same reasons, are unique indexes and keys
/// without the partition column, foreign keys, new serial columns, and to drop, rename or retype the partition column.
/// Ok for every other statement, and for tables that `find` does not know as partitioned.
Result<void> check_change(std::string_view text, const TableLookup& find);

}  // namespace outlast::fragments
