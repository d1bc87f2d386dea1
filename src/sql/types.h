#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "executor/value.h"

namespace outlast::sql {

using Oid = std::uint32_t;

namespace oid {
inline constexpr Oid kBool = 16, kBytea = 17, kChar = 18, kName = 19, kInt8 = 20, kInt2 = 21, kInt4 = 23, kRegproc = 24,
                     kText = 25, kOid = 26, kJson = 114, kFloat4 = 700, kFloat8 = 701, kUnknown = 705, kBpchar = 1042,
                     kVarchar = 1043, kDate = 1082, kTime = 1083, kTimestamp = 1114, kTimestamptz = 1184,
                     kNumeric = 1700, kRegclass = 2205, kRegtype = 2206, kUuid = 2950, kJsonb = 3802;
}  // namespace oid

struct PgType {
  Oid oid{oid::kText};
  std::int32_t typmod{-1};
};

/// The PostgreSQL type of a column declared so in CREATE TABLE ("VARCHAR(22)", "bigint"); nullopt for a name that
/// Outlast does not know. Case does not matter.
std::optional<PgType> type_of_declaration(std::string_view declaration);
/// typlen of pg_type: 4 for int4, -1 for text, …
std::int16_t type_length(Oid oid);
std::string_view type_name(Oid oid);  ///< "integer", "character varying", …
/// The type that describes a value when nothing else is known.
Oid type_of_value(const executor::Value& value);

/// The stored form of dates and times, made from what PostgreSQL accepts most often ("2024-01-05T10:00:00+02",
/// "2024-01-05 10:00", "10:30"): "2024-01-05", "10:30:00", "2024-01-05 08:00:00.5"; the time zone is always UTC.
/// nullopt: not such a value. `oid`: date, time, timestamp (an offset is ignored, as in PostgreSQL) or timestamptz.
std::optional<std::string> canonical_time(std::string_view text, Oid oid);
/// Microseconds since 1970 UTC in the stored form of a timestamp.
std::string format_timestamp(std::int64_t micros);
/// As PostgreSQL prints it: the shortest digits that read back the same, "1e+20", "NaN".
std::string format_double(double value);
std::string format_float4(double value);
/// "yes", "T", "off", "1"…; nullopt for anything else.
std::optional<bool> parse_pg_bool(std::string_view text);

/// Text (format 0) and binary (format 1) forms of protocol v3. NULL is the caller's business.
Result<std::string> encode_text(const executor::Value& value, const PgType& type);
Result<std::string> encode_binary(const executor::Value& value, const PgType& type);
/// kInvalidText, kInvalidBinary, kNumericOutOfRange; the message names the type as PostgreSQL does.
Result<executor::Value> decode_text(std::string_view text, Oid oid);
Result<executor::Value> decode_binary(std::string_view bytes, Oid oid);

}  // namespace outlast::sql
