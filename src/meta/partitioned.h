#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "liveness/params.h"
#include "meta/mirror.h"

namespace outlast::meta {

enum class PartitionedState : std::uint8_t {
  kCreating,  ///< Not every partition holds the table yet: nobody reads or writes it.
  kReady,
  kDropping,  ///< Decided: nobody reads or writes it, what is left of it goes.
};
std::string_view to_string(PartitionedState state);

/// One range with some rows of the table.
struct PartitionRecord {
  std::int64_t slot{0};
  RangeId range;
  bool ready{false};  ///< It holds the table: rows may go there.
  friend bool operator==(const PartitionRecord&, const PartitionRecord&) = default;
};

/// A change of the table's definition, or of all its rows, on its way through home and partitions.
struct PendingChange {
  std::uint64_t number{0};
  std::string tag;               ///< "CREATE INDEX", for people.
  std::vector<std::string> sql;  ///< SQLite's.
  bool decided{false};           ///< It worked everywhere and will be kept everywhere. Before that: nowhere.
  std::string request;           ///< Which statement it is: its author knows its own success again.
  liveness::Peer owner;          ///< The gateway that runs it.
  std::int64_t since_micros{0};  ///< Wall clock of its beginning or decision.
  std::string problem;           ///< Why a partition does not take it although it is decided; empty: nothing known.
  friend bool operator==(const PendingChange&, const PendingChange&) = default;
};

/// /partitioned/<database id>/<table>: a table whose rows lie in several ranges. Changed by compare-and-swap from any
/// node, by the transitions below.
struct PartitionedRecord {
  DatabaseId database;
  std::string database_name;  ///< For people.
  std::string table;
  PartitionedState state{PartitionedState::kCreating};
  std::string scheme;  ///< fragments::encode() text: which row lies where.
  std::vector<PartitionRecord> partitions;
  std::uint64_t version{1};  ///< +1 with every change of the record.
  std::uint64_t begun{0};    ///< Number of the last change of the definition that was begun,
  std::uint64_t applied{0};  ///< and of the last one that home and all partitions have.
  std::optional<PendingChange> pending;
  std::string request;           ///< Which CREATE TABLE made it.
  liveness::Peer owner;          ///< The gateway that created it.
  std::int64_t since_micros{0};  ///< Wall clock of the creation.
  friend bool operator==(const PartitionedRecord&, const PartitionedRecord&) = default;

  const PartitionRecord* find(std::int64_t slot) const;
};
std::string encode(const PartitionedRecord& record);
Result<PartitionedRecord> decode_partitioned(std::string_view text);

using PartitionedMirror = Mirror<PartitionedRecord>;
std::unique_ptr<PartitionedMirror> mirror_partitioned(Store& store);

/// A table has no more partitions than this: each is a range with its own files and log.
inline constexpr std::size_t kPartitionsOfTableMax = 10'000;

// The transitions: each gives the next record, or the present one when it had been made before, or kInvalidState,
// kObjectInUse with what stands against it. Pure.

Result<PartitionedRecord> now_ready(const PartitionedRecord& now, std::string_view request);
PartitionedRecord now_dropping(const PartitionedRecord& now);
/// The partition holds the table as it is after change number `applied`. kObjectInUse when that is out of date.
Result<PartitionedRecord> partition_ready(const PartitionedRecord& now, const PartitionRecord& partition,
                                          std::uint64_t applied);
/// `change.number` is filled here.
Result<PartitionedRecord> change_begun(const PartitionedRecord& now, PendingChange change);
Result<PartitionedRecord> change_decided(const PartitionedRecord& now, std::uint64_t number, std::int64_t wall_micros);
/// Undecided: it is nowhere.
Result<PartitionedRecord> change_cancelled(const PartitionedRecord& now, std::uint64_t number);
/// Decided, and everywhere.
Result<PartitionedRecord> change_finished(const PartitionedRecord& now, std::uint64_t number);
Result<PartitionedRecord> change_stuck(const PartitionedRecord& now, std::uint64_t number, std::string problem);

}  // namespace outlast::meta
