#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compute/session.h"
#include "lifecycle/gate.h"
#include "sql/catalog/catalog.h"
#include "sql/session/connection.h"
#include "sql/session/row_stream.h"
#include "sql/session/settings.h"
#include "sql/translate/translate.h"

namespace outlast::sql {

/// A statement of the extended protocol or of PREPARE.
struct Prepared {
  Translated statement;
  std::vector<Oid> parameters;  ///< One a parameter, unknown ones resolved to text.

  // What another worker needs to prepare it again.
  std::string text;          ///< As the client wrote it.
  std::vector<Oid> given;    ///< Types of parameters as the client gave them.
  bool untranslated{false};  ///< Came from another worker; StatementRunner::find_prepared() translates it.
  std::string carried;       ///< A newer worker's fields of it, handed on.
};

/// A statement with its parameters, being run: a portal of the extended protocol or a cursor of DECLARE (one name
/// space, as in PostgreSQL).
struct Portal {
  enum class State : std::uint8_t { kNew, kRunning, kDone };
  std::shared_ptr<const Prepared> prepared;
  std::vector<executor::Value> params;
  std::vector<std::int16_t> formats;  ///< Of the result columns: 0, 1 or n codes.
  State state{State::kNew};
  RowStream rows;
  std::string tag;             ///< Command tag without the count.
  bool describe_first{false};  ///< RowDescription goes out with the first Execute.
  bool cursor{false};
  bool simple{false};  ///< Of the simple protocol: no NoData, and types may be guessed from the first row.
};

/// What the parts of one session share. Thread-safety: the session's strand, except `cancelled`.
struct SessionState {
  SessionHost& host;
  Connection& io;
  std::string user;
  lifecycle::Ticket connection;               ///< From the end of start-up on.
  std::shared_ptr<const Prepared> running;    ///< The statement that runs, or that ran last.
  std::unique_ptr<compute::Session> gateway;  ///< From the end of start-up on.
  SessionSettings settings;
  std::map<std::string, std::shared_ptr<const Prepared>, std::less<>> prepared;
  std::map<std::string, std::shared_ptr<Portal>, std::less<>>
      portals;                         ///< Shared: COMMIT drops the portal that runs it.
  std::unique_ptr<Catalog> catalog;    ///< Made by the first catalog statement.
  SchemaSnapshot schema;               ///< What the catalog was built from.
  bool implicit{false};                ///< The open transaction is our own: several statements, or until Sync.
  Instant transaction_since{};         ///< When the open one began.
  Instant running_since{};             ///< When `running` began.
  bool leaving{false};                 ///< Another worker wants it: it goes at its next safe point.
  bool client_left{false};             ///< It went away in the middle of a COPY: nobody hears an answer.
  std::atomic<bool> cancelled{false};  ///< A cancel request came for the statement that runs now.

  bool in_transaction() const { return gateway->status() != gateway::TxnStatus::kIdle; }
  bool in_block() const { return in_transaction() && !implicit; }  ///< The client's own BEGIN is open.
  bool failed() const { return gateway->status() == gateway::TxnStatus::kFailed; }

  void notice(std::string text);
  void warning(Errc code, std::string text);
  /// kCancelled once a cancel request has come.
  Result<void> check_cancelled();
};

/// The limits among the settings, for the gateway.
void apply_limits(SessionState& state);

/// What translate() writes for current_user and its like.
SessionNames session_names(const SessionState& state);

}  // namespace outlast::sql
