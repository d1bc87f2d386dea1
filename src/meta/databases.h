#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "meta/store.h"
#include "placement/range_config.h"

namespace outlast::meta {

/// /db/<name>: a database is one range (design §1).
struct DatabaseRecord {
  DatabaseId id;
  std::string name;
  RangeId range;
  std::int64_t created_micros{0};  ///< Wall clock, for display.
  std::string request;             ///< Which CREATE DATABASE made it: its author knows its own success again.
  int replication_factor{0};       ///< Replicas of each of its ranges; 0 = kv.replication_factor.
  friend bool operator==(const DatabaseRecord&, const DatabaseRecord&) = default;
};
std::string encode(const DatabaseRecord& record);
Result<DatabaseRecord> decode_database_record(std::string_view text);

/// 1 to 63 bytes of UTF-8 text without control characters, as PostgreSQL's identifiers. kInvalidArgument.
Result<void> check_database_name(std::string_view name);

/// Who creates a database leads its range first, with the only replica; placement adds the others.
struct Creator {
  NodeId node;
  Incarnation incarnation;
  std::string store_uuid;
};

/// Database and range ids, the name, the database record, the range record and an event in one transaction, only while
/// the creator's incarnation is not fenced and its node not decommissioned (then kFenced). Calls back on the loop (a
/// bad name: at once). Errors: kDuplicateDatabase, kInvalidArgument (name), the store's; after kMetaInDoubt the
/// database may exist.
void create_database(Store& store, std::string name, Creator creator, std::int64_t wall_micros,
                     Callback<DatabaseRecord> done);
/// How many replicas each range of a database is to have; 0 = kv.replication_factor again. Placement makes it true, and
/// does not go below what a range has: the automatic reduction of a decommission is what lowers it. Writes an event.
/// Errors: kUndefinedDatabase, kInvalidArgument for a number that the setting would refuse too, the store's.
void set_replication_factor(Store& store, std::string name, int replicas, NodeId by, std::int64_t wall_micros,
                            Callback<void> done);
/// Removes the database record and its range record in one transaction; replicas delete their data when they see it.
/// Returns what was dropped. Errors: kUndefinedDatabase, the store's.
void drop_database(Store& store, std::string name, NodeId by, std::int64_t wall_micros, Callback<DatabaseRecord> done);

}  // namespace outlast::meta
