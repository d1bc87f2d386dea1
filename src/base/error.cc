#include "base/error.h"

#include <spdlog/spdlog.h>

#include <cstdlib>

#include "base/result.h"

namespace outlast {
namespace {
// gRPC status numbers, named here so that base needs no gRPC.
constexpr int kUnknown = 2, kInvalid = 3, kDeadlineExceeded = 4, kAbsent = 5, kExists = 6, kDenied = 7, kExhausted = 8,
              kPrecondition = 9, kAborted = 10, kInternalStatus = 13, kUnavailableStatus = 14, kDataLoss = 15,
              kCancelledStatus = 1;

struct Row {
  Errc code;
  ErrcFacts facts;
};
constexpr Row kTable[] = {
    {Errc::kNotLeaseholder, {"not_leaseholder", "57P03", kAborted, 421, Retry::kUnseen}},
    {Errc::kMoving, {"moving", "57P03", kAborted, 503, Retry::kUnseen}},
    {Errc::kNoLeaseholder, {"no_leaseholder", "57P03", kUnavailableStatus, 503, Retry::kUnseen}},
    {Errc::kRangeUnavailable, {"range_unavailable", "53000", kUnavailableStatus, 503, Retry::kByClient}},
    {Errc::kStaleEpoch, {"stale_epoch", "57P03", kAborted, 409, Retry::kUnseen}},
    {Errc::kLogMismatch, {"log_mismatch", "XX000", kAborted, 409, Retry::kUnseen}},
    {Errc::kFenced, {"fenced", "57P01", kPrecondition, 503, Retry::kUnseen}},
    {Errc::kUnknownOutcome, {"unknown_outcome", "40003", kUnknown, 500, Retry::kCheckFirst}},
    {Errc::kGatewayLost, {"gateway_lost", "08006", kUnknown, 500, Retry::kCheckFirst}},
    {Errc::kTransactionLost, {"transaction_lost", "40001", kAborted, 409, Retry::kByClient}},
    {Errc::kSerialization, {"serialization_failure", "40001", kAborted, 409, Retry::kByClient}},
    {Errc::kIo, {"io", "58030", kInternalStatus, 500, Retry::kCheckFirst}},
    {Errc::kDiskFull, {"disk_full", "53100", kExhausted, 507, Retry::kByClient}},
    {Errc::kCorrupt, {"corrupt", "XX001", kDataLoss, 500, Retry::kNever}},
    {Errc::kOutOfMemory, {"out_of_memory", "53200", kExhausted, 503, Retry::kByClient}},
    {Errc::kTooLarge, {"too_large", "54000", kExhausted, 413, Retry::kNever}},
    {Errc::kTooManyConnections, {"too_many_connections", "53300", kExhausted, 503, Retry::kByClient}},
    {Errc::kLockTimeout, {"lock_timeout", "55P03", kAborted, 409, Retry::kByClient}},
    {Errc::kDeadline, {"deadline", "57014", kDeadlineExceeded, 504, Retry::kByClient}},
    {Errc::kCancelled, {"cancelled", "57014", kCancelledStatus, 499, Retry::kNever}},
    {Errc::kIdleInTransaction, {"idle_in_transaction", "25P03", kAborted, 408, Retry::kByClient}},
    {Errc::kShuttingDown, {"shutting_down", "57P01", kUnavailableStatus, 503, Retry::kByClient}},
    {Errc::kNotReady, {"not_ready", "57P03", kUnavailableStatus, 503, Retry::kUnseen}},
    {Errc::kMetaUnavailable, {"meta_unavailable", "58000", kUnavailableStatus, 503, Retry::kUnseen}},
    {Errc::kMetaConflict, {"meta_conflict", "40001", kAborted, 409, Retry::kUnseen}},
    {Errc::kMetaInDoubt, {"meta_in_doubt", "40003", kUnknown, 500, Retry::kCheckFirst}},
    {Errc::kMetaTooManyOps, {"meta_too_many_ops", "54000", kInvalid, 413, Retry::kNever}},
    {Errc::kCompacted, {"compacted", "58000", kPrecondition, 410, Retry::kUnseen}},
    {Errc::kStoreLocked, {"store_locked", "55006", kPrecondition, 409, Retry::kNever}},
    {Errc::kWrongCluster, {"wrong_cluster", "08004", kPrecondition, 409, Retry::kNever}},
    {Errc::kWrongVersion, {"wrong_version", "08004", kPrecondition, 409, Retry::kNever}},
    {Errc::kNotInitialised, {"not_initialised", "57P03", kPrecondition, 503, Retry::kUnseen}},
    {Errc::kAlreadyInitialised, {"already_initialised", "42710", kExists, 409, Retry::kNever}},
    {Errc::kNotFound, {"not_found", "42704", kAbsent, 404, Retry::kNever}},
    {Errc::kAlreadyExists, {"already_exists", "42710", kExists, 409, Retry::kNever}},
    {Errc::kInvalidArgument, {"invalid_argument", "22023", kInvalid, 400, Retry::kNever}},
    {Errc::kInvalidState, {"invalid_state", "55000", kPrecondition, 409, Retry::kNever}},
    {Errc::kUnavailable, {"unavailable", "08001", kUnavailableStatus, 503, Retry::kUnseen}},
    {Errc::kProtocolViolation, {"protocol_violation", "08P01", kInvalid, 400, Retry::kNever}},
    {Errc::kSyntax, {"syntax", "42601", kInvalid, 400, Retry::kNever}},
    {Errc::kUndefinedTable, {"undefined_table", "42P01", kAbsent, 404, Retry::kNever}},
    {Errc::kUndefinedColumn, {"undefined_column", "42703", kInvalid, 400, Retry::kNever}},
    {Errc::kUndefinedFunction, {"undefined_function", "42883", kInvalid, 400, Retry::kNever}},
    {Errc::kUndefinedObject, {"undefined_object", "42704", kAbsent, 404, Retry::kNever}},
    {Errc::kUndefinedDatabase, {"undefined_database", "3D000", kAbsent, 404, Retry::kNever}},
    {Errc::kDuplicateTable, {"duplicate_table", "42P07", kExists, 409, Retry::kNever}},
    {Errc::kDuplicateObject, {"duplicate_object", "42710", kExists, 409, Retry::kNever}},
    {Errc::kDuplicateDatabase, {"duplicate_database", "42P04", kExists, 409, Retry::kNever}},
    {Errc::kDuplicateColumn, {"duplicate_column", "42701", kExists, 409, Retry::kNever}},
    {Errc::kDuplicateStatement, {"duplicate_statement", "42P05", kExists, 409, Retry::kNever}},
    {Errc::kUndefinedStatement, {"undefined_statement", "26000", kAbsent, 404, Retry::kNever}},
    {Errc::kUndefinedCursor, {"undefined_cursor", "34000", kAbsent, 404, Retry::kNever}},
    {Errc::kAmbiguousColumn, {"ambiguous_column", "42702", kInvalid, 400, Retry::kNever}},
    {Errc::kDatatypeMismatch, {"datatype_mismatch", "42804", kInvalid, 400, Retry::kNever}},
    {Errc::kGroupingError, {"grouping_error", "42803", kInvalid, 400, Retry::kNever}},
    {Errc::kUniqueViolation, {"unique_violation", "23505", kExists, 409, Retry::kNever}},
    {Errc::kNotNullViolation, {"not_null_violation", "23502", kInvalid, 400, Retry::kNever}},
    {Errc::kForeignKeyViolation, {"foreign_key_violation", "23503", kPrecondition, 409, Retry::kNever}},
    {Errc::kCheckViolation, {"check_violation", "23514", kInvalid, 400, Retry::kNever}},
    {Errc::kInvalidText, {"invalid_text", "22P02", kInvalid, 400, Retry::kNever}},
    {Errc::kInvalidBinary, {"invalid_binary", "22P03", kInvalid, 400, Retry::kNever}},
    {Errc::kNumericOutOfRange, {"numeric_out_of_range", "22003", kInvalid, 400, Retry::kNever}},
    {Errc::kDivisionByZero, {"division_by_zero", "22012", kInvalid, 400, Retry::kNever}},
    {Errc::kStringTooLong, {"string_too_long", "22001", kInvalid, 400, Retry::kNever}},
    {Errc::kInvalidDatetime, {"invalid_datetime", "22007", kInvalid, 400, Retry::kNever}},
    {Errc::kBadCopyFormat, {"bad_copy_format", "22P04", kInvalid, 400, Retry::kNever}},
    {Errc::kInFailedTransaction, {"in_failed_transaction", "25P02", kPrecondition, 409, Retry::kNever}},
    {Errc::kActiveTransaction, {"active_transaction", "25001", kPrecondition, 409, Retry::kNever}},
    {Errc::kNoActiveTransaction, {"no_active_transaction", "25P01", kPrecondition, 409, Retry::kNever}},
    {Errc::kReadOnlyTransaction, {"read_only_transaction", "25006", kPrecondition, 409, Retry::kNever}},
    {Errc::kInvalidSavepoint, {"invalid_savepoint", "3B001", kPrecondition, 409, Retry::kNever}},
    {Errc::kObjectInUse, {"object_in_use", "55006", kPrecondition, 409, Retry::kByClient}},
    {Errc::kDependentObjects, {"dependent_objects", "2BP01", kPrecondition, 409, Retry::kNever}},
    {Errc::kInsufficientPrivilege, {"insufficient_privilege", "42501", kDenied, 403, Retry::kNever}},
    {Errc::kInvalidAuthorization, {"invalid_authorization", "28000", kDenied, 401, Retry::kNever}},
    {Errc::kFeatureLimit, {"limit", "54000", kInvalid, 400, Retry::kNever}},
    {Errc::kInternal, {"internal", "XX000", kInternalStatus, 500, Retry::kNever}},
};
constexpr bool table_is_complete() {
  for (std::size_t i = 0; i < std::size(kTable); ++i)
    if (kTable[i].code != static_cast<Errc>(i) || kTable[i].facts.sqlstate.size() != 5) return false;
  return std::size(kTable) == static_cast<std::size_t>(Errc::kInternal) + 1;
}
static_assert(table_is_complete(), "one row per Errc, in its order");
}  // namespace

const ErrcFacts& facts(Errc code) noexcept {
  return kTable[static_cast<std::size_t>(code)].facts;
}

Errc errc_from_name(std::string_view name) noexcept {
  for (const Row& row : kTable)
    if (row.facts.name == name) return row.code;
  return Errc::kInternal;
}

Errc errc_from_sqlstate(std::string_view sqlstate) noexcept {
  for (const Row& row : kTable)
    if (row.facts.sqlstate == sqlstate) return row.code;
  return Errc::kInternal;
}

Error Error::within(std::string_view context) && {
  message.insert(0, ": ").insert(0, context);
  return std::move(*this);
}

std::string Error::to_string() const {
  std::string text(facts(code).name);
  text.append(": ").append(message);
  if (!detail.empty()) text.append(" (").append(detail).append(")");
  return text;
}

void assertion_failed(const char* condition, const char* file, int line, const char* why) {
  spdlog::critical("assertion failed: {} {} at {}:{}", condition, why, file, line);
  spdlog::shutdown();
  std::fprintf(stderr, "assertion failed: %s %s at %s:%d\n", condition, why, file, line);
  std::abort();
}

}  // namespace outlast
