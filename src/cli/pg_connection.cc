#include "cli/pg_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <chrono>
#include <regex>

namespace outlast::cli {
namespace {
using Steady = std::chrono::steady_clock;

/// Waits until the socket is ready; false when `deadline` passed.
bool wait_socket(int fd, short events, Steady::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
    if (left <= 0) return false;
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return true;  // libpq will say what is wrong with the socket
  }
}

std::string trimmed(const char* text) {
  std::string s(text == nullptr ? "" : text);
  while (!s.empty() && (s.back() == '\n' || s.back() == ' ')) s.pop_back();
  return s;
}

/// What a refused start-up means. libpq gives its SQLSTATE only inside the verbose message: "FATAL:  57P03: ...".
Error refused(const std::string& message) {
  static const std::regex code("FATAL: +([0-9A-Z]{5}): +([^\n]*)");
  std::smatch found;
  if (!std::regex_search(message, found, code)) return {Errc::kUnavailable, message};
  return {found[1] == "57P03" ? Errc::kNotReady : errc_from_sqlstate(found[1].str()),
          found[1].str() + " " + found[2].str()};
}

using Words = std::vector<std::pair<std::string, std::string>>;
Result<Words> connection_words(const std::string& url, const std::string& database) {
  char* why = nullptr;
  PQconninfoOption* options = PQconninfoParse(url.c_str(), &why);
  if (options == nullptr) {
    Error error(Errc::kInvalidArgument, "cannot read the connection string: " + trimmed(why));
    PQfreemem(why);
    return error;
  }
  Words words;
  for (const auto* o = options; o->keyword != nullptr; ++o)
    if (o->val != nullptr && !(std::string_view(o->keyword) == "dbname" && !database.empty()))
      words.emplace_back(o->keyword, o->val);
  PQconninfoFree(options);
  if (!database.empty()) words.emplace_back("dbname", database);
  return words;
}

}  // namespace

struct PgConnection::State {
  PGconn* conn{nullptr};
  bool broken{false};
  std::string farewell;  ///< SQLSTATE of a FATAL that came while no statement ran.
  ~State() { PQfinish(conn); }

  static void on_notice(void* self, const PGresult* notice) {
    const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char* code = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    if (severity != nullptr && std::string_view(severity) == "FATAL" && code != nullptr)
      static_cast<State*>(self)->farewell = code;
  }
};

PgConnection::PgConnection(std::unique_ptr<State> state) : state_(std::move(state)) {}
PgConnection::PgConnection(PgConnection&&) noexcept = default;
PgConnection& PgConnection::operator=(PgConnection&&) noexcept = default;
PgConnection::~PgConnection() = default;
bool PgConnection::broken() const {
  return state_->broken;
}

Result<PgConnection> PgConnection::connect(const std::string& url, const std::string& database, Duration timeout) {
  const auto deadline = Steady::now() + timeout;
  ASSIGN_OR_RETURN(const Words words, connection_words(url, database));
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : words) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  auto state = std::make_unique<State>();
  state->conn = PQconnectStartParams(keys.data(), values.data(), 0);
  if (state->conn == nullptr) return Error(Errc::kOutOfMemory, "libpq has no memory for a connection");
  PQsetNoticeReceiver(state->conn, &State::on_notice, state.get());
  PQsetErrorVerbosity(state->conn, PQERRORS_VERBOSE);
  for (auto step = PGRES_POLLING_WRITING; step != PGRES_POLLING_OK; step = PQconnectPoll(state->conn)) {
    if (step == PGRES_POLLING_FAILED || PQstatus(state->conn) == CONNECTION_BAD) {
      return refused(trimmed(PQerrorMessage(state->conn)));
    }
    if (!wait_socket(PQsocket(state->conn), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
      return Error(Errc::kUnavailable,
                   "no connection within " + std::to_string(timeout / std::chrono::seconds(1)) + " s");
  }
  PQsetErrorVerbosity(state->conn, PQERRORS_DEFAULT);
  return PgConnection(std::move(state));
}

std::optional<PgFarewell> PgConnection::farewell() {
  if (state_->broken) return PgFarewell{state_->farewell};
  const bool readable = PQconsumeInput(state_->conn) == 1;
  (void)PQisBusy(state_->conn);  // parses what arrived: a FATAL reaches on_notice
  if (readable && PQstatus(state_->conn) == CONNECTION_OK && state_->farewell.empty()) return std::nullopt;
  state_->broken = true;
  return PgFarewell{state_->farewell};
}

PgReply PgConnection::run(const std::string& sql, Duration timeout) {
  if (!state_->broken && PQsendQuery(state_->conn, sql.c_str()) == 1) return collect(timeout);
  state_->broken = true;
  return {.sqlstate = state_->farewell, .message = trimmed(PQerrorMessage(state_->conn)), .broken = true};
}

PgReply PgConnection::collect(Duration timeout) {
  const auto deadline = Steady::now() + timeout;
  PgReply reply{.ok = true};
  for (;;) {
    while (PQisBusy(state_->conn) == 1) {
      if (!wait_socket(PQsocket(state_->conn), POLLIN, deadline)) {
        state_->broken = true;
        return {.message = "no answer in time", .broken = true, .timed_out = true};
      }
      if (PQconsumeInput(state_->conn) != 1) break;  // PQgetResult turns it into an error result
    }
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQgetResult(state_->conn), &PQclear);
    if (result == nullptr) break;
    const auto status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
      if (!reply.ok) continue;
      reply.tag = PQcmdStatus(result.get());
      reply.columns.clear();
      for (int c = 0; c < PQnfields(result.get()); ++c) reply.columns.emplace_back(PQfname(result.get(), c));
      reply.rows.assign(static_cast<std::size_t>(PQntuples(result.get())), {});
      for (int r = 0; r < PQntuples(result.get()); ++r)
        for (int c = 0; c < PQnfields(result.get()); ++c)
          reply.rows[static_cast<std::size_t>(r)].push_back(
              PQgetisnull(result.get(), r, c) ? std::nullopt
                                              : std::optional<std::string>(PQgetvalue(result.get(), r, c)));
      continue;
    }
    if (!reply.ok) continue;  // the first error is the one that counts
    const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    reply = {.sqlstate = code == nullptr ? "" : code, .message = trimmed(PQresultErrorMessage(result.get()))};
  }
  reply.broken = PQstatus(state_->conn) != CONNECTION_OK;
  state_->broken = reply.broken;
  if (reply.broken && reply.sqlstate.empty()) reply.sqlstate = state_->farewell;
  return reply;
}

}  // namespace outlast::cli
