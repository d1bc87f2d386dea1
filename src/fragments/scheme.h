#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "executor/value.h"

namespace outlast::fragments {

using executor::Value;

/// What the declared type of a key column makes of its values, in SQLite's terms (affinity, collation).
enum class KeyType : std::uint8_t {
  kInteger,     ///< smallint, integer, bigint, boolean: NUMERIC affinity.
  kText,        ///< text, varchar, uuid: TEXT affinity, compared byte by byte.
  kPaddedText,  ///< char(n): COLLATE RTRIM, blanks at the end do not count.
  kBytes,       ///< bytea: no affinity.
  kDate,        ///< "2024-01-05"; its order as text is its order in time.
  kTimestamp,   ///< timestamp and timestamptz: "2024-01-05 08:00:00.5", always UTC; order as with kDate.
};
/// The key type of a column that PostgreSQL calls so ("int4", "bpchar"); nullopt: not a key (float8: equal numbers have
/// several forms; json, time).
std::optional<KeyType> key_type(std::string_view pg_type);

/// A number of months, or a time: exactly one of the two is above zero.
struct Interval {
  std::int64_t months{0};
  std::int64_t micros{0};
  friend bool operator==(const Interval&, const Interval&) = default;
};
/// "1 day", "12 hours", "3 months", "1 year 6 months": units second … year in singular or plural, as many as wanted but
/// months and times not mixed. kInvalidArgument with an example.
Result<Interval> parse_interval(std::string_view text);
std::string to_string(const Interval& interval);

/// Names one partition of a table for ever. HASH: 0 … partitions-1. RANGE: which interval it is, counted from Monday
/// 2000-01-03 00:00 UTC, intervals of months from 2000-01.
using Slot = std::int64_t;

/// How a table's rows are spread over its partitions. Part of the table's record in the metadata store: which row lies
/// where must never change between versions. Source: docs/adr/0010-sqlite-over-fragments.md.
struct Scheme {
  enum class Kind : std::uint8_t { kHash, kRange };
  Kind kind{Kind::kHash};
  std::string column;
  KeyType type{KeyType::kInteger};
  std::int64_t partitions{0};   ///< kHash: 1 … kPartitionsMax.
  Interval interval;            ///< kRange.
  std::optional<Interval> ttl;  ///< kRange: a partition whose rows are all older may go.
  friend bool operator==(const Scheme&, const Scheme&) = default;

  static constexpr std::int64_t kPartitionsMax = 1000;

  /// Where a row with this key lies. Takes what INSERT takes and applies the column's affinity first: '5' and 5.0 are 5
  /// in an integer column. HASH takes NULL as one more value. RANGE: kNotNullViolation, and kInvalidDatetime for what
  /// is not in the stored form.
  Result<Slot> slot_of(const Value& key) const;
  /// kRange: the stored forms of the first and of the last key that this partition can hold.
  std::string first_key(Slot slot) const;
  std::string last_key(Slot slot) const;
  /// kRange with TTL: every row of this partition is older than the TTL at `now_micros` (since 1970, UTC).
  bool is_expired(Slot slot, std::int64_t now_micros) const;
  /// For people: "2" of 8, "2024-01-05 00:00:00".
  std::string slot_name(Slot slot) const;
};

/// The value as SQLite would store it in the key column, and so compare it.
Value with_affinity(KeyType type, const Value& value);
/// FNV-1a over a tag and the bytes of the stored value, finished with MurmurHash3's mixer. Written down here, tested
/// against golden values, because every version must agree. Source: http://www.isthe.com/chongo/tech/comp/fnv/, and
/// Appleby's fmix64.
std::uint64_t key_hash(KeyType type, const Value& key);

/// JSON text; unknown fields of a newer version are ignored. kCorrupt names the field that is missing or wrong.
std::string encode(const Scheme& scheme);
Result<Scheme> decode_scheme(std::string_view text);

}  // namespace outlast::fragments
