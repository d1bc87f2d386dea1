#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sql/types.h"

namespace outlast::sql {

enum class StatementKind : std::uint8_t {
  kEmpty,    ///< Nothing between semicolons.
  kQuery,    ///< SELECT, VALUES, TABLE: rows.
  kWrite,    ///< INSERT, UPDATE, DELETE, with or without RETURNING.
  kDdl,      ///< CREATE, DROP, ALTER, TRUNCATE of what lives in a range: `sql` runs in one transaction.
  kNothing,  ///< Accepted and without effect here (VACUUM, ANALYZE, COMMENT, GRANT, …), but for `locks_rows`.
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,
  kRelease,
  kRollbackTo,
  kSet,
  kReset,
  kShow,  ///< Session settings.
  kCopyFrom,
  kCopyTo,
  kCreatePartitioned,  ///< `name`: the table; `value`: its scheme (fragments::encode); `sql`: what makes it anywhere.
  kCreateDatabase,
  kDropDatabase,
  kSetReplicationFactor,  ///< Of database `name`, to `value`.
  kSetClusterSetting,
  kResetClusterSetting,
  kShowClusterSetting,  ///< `name` empty: all of them.
  kPrepare,
  kExecute,
  kDeallocate,
  kDiscard,
  kDeclareCursor,
  kFetch,
  kCloseCursor,
  kExplain,  ///< `inner_sql`: the statement that is explained.
};

/// A result column as far as it is known before the statement runs; oid 0 = take it from the table's declared type.
struct ColumnHint {
  Oid oid{0};
  std::int32_t typmod{-1};
  std::string name;  ///< PostgreSQL's name for it ("count", "?column?"); empty = SQLite's.
};

struct CopySpec {
  std::string table;
  std::vector<std::string> columns;  ///< As written; empty = all.
  std::string query_sql;             ///< COPY (SELECT …) TO: translated; else empty.
  bool from{false};
  bool header{false};
  bool csv{false};
  std::string delimiter{"\t"};
  std::string null_text{"\\N"};
};

/// One PostgreSQL statement, ready to run on SQLite.
struct Translated {
  StatementKind kind{StatementKind::kEmpty};
  std::string tag;               ///< Command tag without counts: "SELECT", "INSERT", "CREATE TABLE".
  std::vector<std::string> sql;  ///< SQLite statements; one for kQuery and kWrite. Parameters are ?1, ?2, …
  bool returns_rows{false};
  bool catalog{false};              ///< Reads pg_catalog or information_schema: runs on the gateway's catalog snapshot.
  bool locks_rows{false};           ///< SELECT … FOR UPDATE / SHARE, LOCK TABLE: take the writer lock first.
  std::vector<ColumnHint> columns;  ///< One a result column, or empty when not known (SELECT *).
  std::vector<Oid> parameters;      ///< One a parameter; 0 = unknown (sent as text).
  std::vector<std::string> notices;  ///< NOTICE texts, e.g. of DROP TABLE IF EXISTS, that are known before it runs.

  // Of the kinds that need them.
  std::string name;   ///< Savepoint, setting, prepared statement, cursor, database.
  std::string value;  ///< Setting's new value.
  bool if_exists{false}, if_not_exists{false}, local{false}, all{false};
  bool read_only{false};  ///< kBegin READ ONLY.
  std::optional<CopySpec> copy;
  std::string inner_sql;                    ///< kPrepare, kDeclareCursor, kExplain: the PostgreSQL text inside.
  std::vector<std::string> execute_params;  ///< kExecute: literal texts.
  std::vector<bool> execute_nulls;          ///< kExecute: the parameter is NULL.
  std::vector<std::string> dropped;         ///< DROP …: the names, one a statement of `sql`.
  std::int64_t fetch_count{0};              ///< kFetch; -1 = ALL.
  std::string source;                       ///< The statement's own text.
};

/// What a statement may ask about its own session.
struct SessionNames {
  std::string user;
  std::string database;
  std::uint32_t node{0};  ///< The gateway's node id.
};

/// Splits, parses (libpg_query, PostgreSQL 15's grammar) and translates by walking the tree. The whole string is parsed
/// before anything runs, as PostgreSQL does. What cannot be translated is refused with a sentence, never guessed:
/// kSyntax, kUndefinedFunction, kUndefinedObject; `position` is the 1-based character in `text`.
/// `parameter_types`: from Parse, may be shorter than the number of parameters. Thread-safety: any thread.
/// `names`: what current_user and its like are in this session; they are written out as values.
Result<std::vector<Translated>> translate(std::string_view text, const std::vector<Oid>& parameter_types = {},
                                          const SessionNames& names = {});

}  // namespace outlast::sql
