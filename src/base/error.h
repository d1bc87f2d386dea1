#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace outlast {

/// Everything that a client, a peer, a disk or an operator can cause. One table (error.cc) maps each code to its
/// SQLSTATE, gRPC status, HTTP status and retry advice; branch on the code, never on text.
enum class Errc : std::uint16_t {
  // Routing and replication. Nothing was applied unless the comment says otherwise.
  kNotLeaseholder,    ///< The range is led elsewhere: ask the route again.
  kMoving,            ///< The lease is moving right now: hold the statement, then ask the route again.
  kNoLeaseholder,     ///< Nobody leads the range at present.
  kRangeUnavailable,  ///< Not enough in-sync replicas answer: waiting may help.
  kStaleEpoch,        ///< The peer speaks of an epoch that is over.
  kLogMismatch,       ///< The previous log entry differs: reconcile.
  kFenced,            ///< This incarnation is finished for ever.
  kUnknownOutcome,    ///< A write may or may not have been applied (40003, session lives on).
  kGatewayLost,       ///< The same, and the session ends with it (08006).
  kTransactionLost,   ///< The transaction's leaseholder is gone; it was rolled back (40001).
  kSerialization,     ///< The snapshot is outdated (40001).
  // Local resources.
  kIo,  ///< A disk or file operation failed.
  kDiskFull,
  kCorrupt,  ///< Stored bytes fail their checksum.
  kOutOfMemory,
  kTooLarge,  ///< A configured size limit was exceeded.
  kTooManyConnections,
  kLockTimeout,        ///< Waited too long for the writer lock (55P03).
  kDeadline,           ///< The statement's own deadline passed (57014).
  kCancelled,          ///< A cancel request ended it (57014).
  kIdleInTransaction,  ///< 25P03.
  kShuttingDown,       ///< 57P01.
  kNotReady,           ///< 57P03: start-up, shutdown or drain; try another node.
  // Metadata.
  kMetaUnavailable,
  kMetaConflict,    ///< A compare failed.
  kMetaInDoubt,     ///< The answer to a write was lost: read back.
  kMetaTooManyOps,  ///< A transaction is over the store's limit: halve it.
  kCompacted,       ///< The watch or read revision is gone: read the full state.
  // Identity and operators.
  kStoreLocked,
  kWrongCluster,
  kWrongVersion,
  kNotInitialised,
  kAlreadyInitialised,
  kNotFound,
  kAlreadyExists,
  kInvalidArgument,
  kInvalidState,
  kUnavailable,  ///< A peer cannot be reached.
  // Protocol and SQL.
  kProtocolViolation,      ///< 08P01.
  kSyntax,                 ///< 42601.
  kUndefinedTable,         ///< 42P01.
  kUndefinedColumn,        ///< 42703.
  kUndefinedFunction,      ///< 42883.
  kUndefinedObject,        ///< 42704.
  kUndefinedDatabase,      ///< 3D000.
  kDuplicateTable,         ///< 42P07.
  kDuplicateObject,        ///< 42710.
  kDuplicateDatabase,      ///< 42P04.
  kDuplicateColumn,        ///< 42701.
  kDuplicateStatement,     ///< 42P05.
  kUndefinedStatement,     ///< 26000.
  kUndefinedCursor,        ///< 34000.
  kAmbiguousColumn,        ///< 42702.
  kDatatypeMismatch,       ///< 42804.
  kGroupingError,          ///< 42803.
  kUniqueViolation,        ///< 23505.
  kNotNullViolation,       ///< 23502.
  kForeignKeyViolation,    ///< 23503.
  kCheckViolation,         ///< 23514.
  kInvalidText,            ///< 22P02.
  kInvalidBinary,          ///< 22P03.
  kNumericOutOfRange,      ///< 22003.
  kDivisionByZero,         ///< 22012.
  kStringTooLong,          ///< 22001.
  kInvalidDatetime,        ///< 22007.
  kBadCopyFormat,          ///< 22P04.
  kInFailedTransaction,    ///< 25P02.
  kActiveTransaction,      ///< 25001.
  kNoActiveTransaction,    ///< 25P01.
  kReadOnlyTransaction,    ///< 25006.
  kInvalidSavepoint,       ///< 3B001.
  kObjectInUse,            ///< 55006.
  kDependentObjects,       ///< 2BP01.
  kInsufficientPrivilege,  ///< 42501.
  kInvalidAuthorization,   ///< 28000.
  kFeatureLimit,           ///< 54000: a documented limit of Outlast.
  kInternal,               ///< XX000: our own bug, reported instead of hidden.
};

/// What a caller may do with a failed request.
enum class Retry : std::uint8_t {
  kNever,       ///< Asking again gives the same answer.
  kUnseen,      ///< Nothing was applied: a gateway may repeat it without telling the client.
  kByClient,    ///< The client should run the whole transaction again (40001).
  kCheckFirst,  ///< The outcome is unknown: look before asking again.
};

/// One row of the table.
struct ErrcFacts {
  std::string_view name;      ///< Stable word for logs and JSON, e.g. "not_leaseholder".
  std::string_view sqlstate;  ///< Five characters.
  int grpc;                   ///< grpc::StatusCode as a number, so that base needs no gRPC.
  int http;
  Retry retry;
};
const ErrcFacts& facts(Errc code) noexcept;
/// The code with this name; kInternal for a name that this version does not know (a newer peer's).
Errc errc_from_name(std::string_view name) noexcept;
/// The first code whose SQLSTATE matches; kInternal when none does.
Errc errc_from_sqlstate(std::string_view sqlstate) noexcept;

/// An error on its way up: code, one sentence that says what happened and what to do next, and the fields a
/// PostgreSQL client shows.
struct Error {
  Errc code{Errc::kInternal};
  std::string message;
  std::string detail;
  std::string hint;
  int position{0};  ///< 1-based character of the statement, 0 when unknown.

  Error() = default;
  Error(Errc c, std::string text) : code(c), message(std::move(text)) {}
  /// The same error, with context put in front of the message.
  Error within(std::string_view context) &&;
  std::string_view sqlstate() const noexcept { return facts(code).sqlstate; }
  /// "name: message", for logs.
  std::string to_string() const;
};

}  // namespace outlast
