#include <cmath>
#include <limits>

#include "sql/translate/function_kit.h"
#include "sql/types.h"

namespace outlast::sql::kit {
namespace {

void put(sqlite3_context* c, const executor::Value& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value)) return sqlite3_result_int64(c, *n);
  if (const auto* d = std::get_if<double>(&value)) return sqlite3_result_double(c, *d);
  if (const auto* s = std::get_if<std::string>(&value)) return result(c, *s);
  if (const auto* b = std::get_if<executor::Blob>(&value))
    return sqlite3_result_blob64(c, b->bytes.data(), b->bytes.size(), SQLITE_TRANSIENT);
  sqlite3_result_null(c);
}

void decode(sqlite3_context* c, sqlite3_value* v, Oid type) {
  auto value = decode_text(text(v), type);
  if (!value.ok()) return fail(c, value.error().code, value.error().message);
  put(c, *value);
}

void whole(sqlite3_context* c, sqlite3_value* v, Oid type, bool away) {
  std::int64_t n = 0;
  switch (sqlite3_value_type(v)) {
    case SQLITE_NULL:
      return;
    case SQLITE_INTEGER:
      n = sqlite3_value_int64(v);
      break;
    case SQLITE_FLOAT: {
      const double d = sqlite3_value_double(v), r = away ? std::round(d) : std::nearbyint(d);
      if (!(r >= -9223372036854775808.0 && r < 9223372036854775808.0))
        return fail(c, Errc::kNumericOutOfRange, std::string(type_name(type)) + " out of range");
      n = static_cast<std::int64_t>(r);
      break;
    }
    case SQLITE_TEXT:
      return decode(c, v, type);
    default:
      return fail(c, Errc::kDatatypeMismatch, "cannot cast type bytea to " + std::string(type_name(type)));
  }
  const int bits = type_length(type) * 8;
  const std::int64_t max = bits == 64 ? std::numeric_limits<std::int64_t>::max() : (std::int64_t{1} << (bits - 1)) - 1;
  if (type != oid::kOid && (n > max || n < -max - 1))
    return fail(c, Errc::kNumericOutOfRange, std::string(type_name(type)) + " out of range");
  sqlite3_result_int64(c, n);
}

template <Oid kType, bool kAway>
void to_integer(sqlite3_context* c, int, sqlite3_value** v) {
  whole(c, v[0], kType, kAway);
}

template <Oid kType>
void to_float(sqlite3_context* c, int, sqlite3_value** v) {
  Number n;
  if (null(v[0])) return;
  if (sqlite3_value_type(v[0]) == SQLITE_TEXT) return decode(c, v[0], kType);
  if (!number(c, v[0], n)) return;
  const double d = n.as_double();
  if (kType == oid::kFloat4 && std::isfinite(d) && std::isinf(static_cast<float>(d)))
    return fail(c, Errc::kNumericOutOfRange, "value out of range: overflow");
  sqlite3_result_double(c, kType == oid::kFloat4 ? static_cast<double>(static_cast<float>(d)) : d);
}

void to_bool(sqlite3_context* c, int, sqlite3_value** v) {
  switch (sqlite3_value_type(v[0])) {
    case SQLITE_NULL:
      return;
    case SQLITE_INTEGER:
      return sqlite3_result_int(c, sqlite3_value_int64(v[0]) != 0);
    case SQLITE_TEXT:
      return decode(c, v[0], oid::kBool);
    default:
      fail(c, Errc::kDatatypeMismatch, "cannot cast this value to boolean");
  }
}

template <Oid kType>
void from_text(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  if (kType == oid::kBytea && sqlite3_value_type(v[0]) == SQLITE_BLOB) return sqlite3_result_value(c, v[0]);
  if (sqlite3_value_type(v[0]) != SQLITE_TEXT)
    return fail(c, Errc::kDatatypeMismatch, "cannot cast this value to " + std::string(type_name(kType)));
  decode(c, v[0], kType);
}

std::string shown(sqlite3_value* v, bool single) {
  switch (sqlite3_value_type(v)) {
    case SQLITE_FLOAT:
      return single ? format_float4(sqlite3_value_double(v)) : format_double(sqlite3_value_double(v));
    case SQLITE_BLOB: {
      const executor::Value blob = executor::Blob{std::string(text(v))};
      auto encoded = encode_text(blob, {oid::kBytea, -1});
      return encoded.ok() ? *encoded : std::string();
    }
    default:
      return std::string(text(v));
  }
}

template <bool kSingle>
void to_text(sqlite3_context* c, int, sqlite3_value** v) {
  if (!null(v[0])) result(c, shown(v[0], kSingle));
}

void to_number(sqlite3_context* c, int, sqlite3_value** v) {
  Number n;
  if (null(v[0]) || !number(c, v[0], n)) return;
  if (n.real)
    sqlite3_result_double(c, n.d);
  else
    sqlite3_result_int64(c, n.i);
}

/// pg_coerce(value, sample): an untyped text takes the kind of what it is compared with.
void coerce(sqlite3_context* c, int n, sqlite3_value** v) {
  const int sample = sqlite3_value_type(v[1]);
  if (sqlite3_value_type(v[0]) == SQLITE_TEXT && (sample == SQLITE_INTEGER || sample == SQLITE_FLOAT))
    return to_number(c, n, v);
  sqlite3_result_value(c, v[0]);
}

template <bool kLimit>
void row_count(sqlite3_context* c, int, sqlite3_value** v) {
  std::int64_t n = 0;
  if (null(v[0])) return sqlite3_result_int64(c, kLimit ? -1 : 0);
  if (!integer(c, v[0], n)) return;
  if (n < 0)
    return fail(c, Errc::kInvalidArgument, kLimit ? "LIMIT must not be negative" : "OFFSET must not be negative");
  sqlite3_result_int64(c, n);
}

void step(sqlite3_context* c, int, sqlite3_value** v) {
  std::int64_t n = 0;
  if (null(v[0]) || !integer(c, v[0], n)) return;
  if (n == 0) return fail(c, Errc::kInvalidArgument, "step size cannot equal zero");
  sqlite3_result_int64(c, n);
}

void must_exist(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return fail(c, Errc::kUndefinedTable, "relation \"" + std::string(text(v[1])) + "\" does not exist");
  sqlite3_result_value(c, v[0]);
}

void refuse_null(sqlite3_context* c, int, sqlite3_value** v) {
  if (sqlite3_value_int64(v[0]) > 0)
    fail(c, Errc::kNotNullViolation, "column \"" + std::string(text(v[1])) + "\" contains null values");
}

void valid_json(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  sqlite3_stmt* check = nullptr;
  sqlite3_prepare_v2(sqlite3_context_db_handle(c), "SELECT json_valid(?1)", -1, &check, nullptr);
  sqlite3_bind_value(check, 1, v[0]);
  const bool valid = sqlite3_step(check) == SQLITE_ROW && sqlite3_column_int(check, 0) != 0;
  sqlite3_finalize(check);
  if (!valid) return fail(c, Errc::kInvalidText, "invalid input syntax for type json");
  sqlite3_result_value(c, v[0]);
}

constexpr Entry kEntries[] = {
    {"pg_int2", 1, true, to_integer<oid::kInt2, false>},
    {"pg_int4", 1, true, to_integer<oid::kInt4, false>},
    {"pg_int8", 1, true, to_integer<oid::kInt8, false>},
    {"pg_int2n", 1, true, to_integer<oid::kInt2, true>},
    {"pg_int4n", 1, true, to_integer<oid::kInt4, true>},
    {"pg_int8n", 1, true, to_integer<oid::kInt8, true>},
    {"pg_oid", 1, true, to_integer<oid::kOid, false>},
    {"pg_float4", 1, true, to_float<oid::kFloat4>},
    {"pg_float8", 1, true, to_float<oid::kFloat8>},
    {"pg_bool", 1, true, to_bool},
    {"pg_date", 1, true, from_text<oid::kDate>},
    {"pg_time", 1, true, from_text<oid::kTime>},
    {"pg_timestamp", 1, true, from_text<oid::kTimestamp>},
    {"pg_timestamptz", 1, true, from_text<oid::kTimestamptz>},
    {"pg_uuid", 1, true, from_text<oid::kUuid>},
    {"pg_bytea", 1, true, from_text<oid::kBytea>},
    {"pg_json", 1, true, valid_json},
    {"pg_text", 1, true, to_text<false>},
    {"pg_text4", 1, true, to_text<true>},
    {"pg_number", 1, true, to_number},
    {"pg_coerce", 2, true, coerce},
    {"pg_limit", 1, true, row_count<true>},
    {"pg_offset", 1, true, row_count<false>},
    {"pg_step", 1, true, step},
    {"pg_must_exist", 2, true, must_exist},
    {"pg_refuse_null", 2, true, refuse_null},
};

}  // namespace

int install_casts(sqlite3* db) {
  return install_all(db, kEntries, std::size(kEntries));
}

}  // namespace outlast::sql::kit
