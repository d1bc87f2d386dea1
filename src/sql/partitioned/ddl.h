#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "gateway/partitions.h"
#include "sql/translate/translate.h"

namespace outlast::sql {

/// What a statement of kind kDdl means for partitioned tables.
struct PartitionedDdl {
  enum class Kind : std::uint8_t {
    kNone,    ///< It names none of them.
    kChange,  ///< ALTER TABLE, CREATE INDEX, TRUNCATE of `table`.
    kDrop,    ///< DROP TABLE `table`.
    kIndex,   ///< DROP INDEX `index`: of a partitioned table, if its table is one.
  };
  Kind kind{Kind::kNone};
  std::string table;
  std::string index;
};
/// Refused with the reason: what partitions cannot keep (fragments::check_change), to rename a table, several tables in
/// one statement, and views and tables made from a partitioned table. `text`: the statement as the client wrote it.
Result<PartitionedDdl> read_partitioned_ddl(const std::string& text, const gateway::PartitionedTables& tables);

/// The partitions that a new table has from the beginning. `scheme`: fragments::encode() text.
Result<std::vector<std::int64_t>> first_slots(const std::string& scheme);

}  // namespace outlast::sql
