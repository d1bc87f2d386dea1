#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "executor/value.h"
#include "gateway/cluster.h"
#include "sql/types.h"

namespace outlast::sql {

/// One row of a range's sqlite_schema, with what PRAGMA table_xinfo / index_list / index_xinfo say of it. Read by the
/// statements of schema_queries(), inside the session's transaction.
struct SchemaSnapshot {
  std::int64_t version{0};  ///< PRAGMA schema_version.
  std::vector<std::vector<executor::Value>> objects, columns, indexes, index_columns;
};
struct SchemaQueries {
  std::string version, objects, columns, indexes, index_columns;  ///< SQLite statements; run as `internal`.
};
SchemaQueries schema_queries();

struct CatalogRows {
  std::vector<std::string> names;
  std::vector<PgType> types;
  std::vector<std::vector<executor::Value>> rows;
};

/// pg_catalog and information_schema of one database, as tables of an in-memory SQLite on the gateway: catalog
/// statements never touch the range itself. Thread-safety: one thread at a time.
class Catalog {
 public:
  virtual ~Catalog() = default;
  static std::unique_ptr<Catalog> create();
  /// Rebuilds the tables when the snapshot's version, the database or the list of databases changed.
  virtual Result<void> refresh(const SchemaSnapshot& schema, const std::string& database, const std::string& user,
                               const std::vector<gateway::DatabaseRow>& databases) = 0;
  virtual std::int64_t version() const = 0;  ///< -1 before the first refresh.
  /// Runs one translated catalog statement (Translated::catalog).
  virtual Result<CatalogRows> run(const std::string& sql, const std::vector<executor::Value>& params,
                                  const std::vector<PgType>& hints) = 0;
};

}  // namespace outlast::sql
