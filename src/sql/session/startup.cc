#include "sql/session/startup.h"

#include <algorithm>
#include <array>

#include "sql/session/startup_options.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
constexpr int kPacketsMax = 4;  // SSL, GSS, start-up, and one to spare

bool is_protocol_option(std::string_view name) {
  return name.starts_with("_pq_.");
}
// Start-up parameters that are not session variables.
bool is_connection_word(std::string_view name) {
  return name == "user" || name == "database" || name == "options" || name == "replication" || is_protocol_option(name);
}
std::string millis(Duration d) {
  return std::to_string(d.count() / 1'000'000);
}
}  // namespace

asio::awaitable<std::optional<pgwire::StartupPacket>> Startup::read_packet() {
  pgwire::FrameReader& in = s_.io.input();
  std::optional<std::size_t> length;
  while (!length || in.buffered().size() < *length) {
    if (!length && in.buffered().size() >= 4) {
      length = pgwire::startup_length(in.buffered());
      if (!length) co_return std::nullopt;
      continue;
    }
    tell_waiting();
    const auto more = co_await s_.io.fill();
    ended_ = !more.ok() && more.error().code == Errc::kCancelled;
    if (!more.ok() || !*more) co_return std::nullopt;
  }
  s_.io.teller.serving();
  auto packet = pgwire::parse_startup(in.buffered().substr(4, *length - 4));
  // Whoever leaves has not been refused here, and so must not be: the other worker sees the packet first.
  ended_ = s_.leaving && packet.ok() && std::holds_alternative<pgwire::StartupMessage>(*packet);
  if (ended_) co_return std::nullopt;
  in.skip(*length);
  if (packet.ok()) co_return *std::move(packet);
  co_await refuse(packet.error(), std::string(packet.error().sqlstate()));
  co_return std::nullopt;
}

void Startup::tell_waiting() {
  if (!s_.io.teller.listens()) return;
  proto::SessionState state;
  state.set_starting(true);
  state.set_input(std::string(s_.io.input().buffered()));
  s_.io.teller.waiting(state);
}

void Startup::cancel(const pgwire::CancelRequest& request) {
  ++s_.host.metrics.cancel_requests;
  if (s_.host.cancels.cancel(request.pid, request.key) || !s_.host.options.forward_cancel) return;
  if (node_of_pid(request.pid) == s_.host.cancels.node()) s_.host.options.forward_cancel(request.pid, request.key);
}

asio::awaitable<StartupEnd> Startup::run() {
  for (int packets = 0; packets < kPacketsMax; ++packets) {
    auto packet = co_await read_packet();
    if (!packet) co_return ended_ ? StartupEnd::kEnded : StartupEnd::kClosed;
    if (const auto* request = std::get_if<pgwire::CancelRequest>(&*packet)) {
      cancel(*request);
      co_return StartupEnd::kClosed;  // never an answer, right or wrong
    }
    if (auto* startup = std::get_if<pgwire::StartupMessage>(&*packet))
      co_return co_await begin_session(std::move(*startup));
    // Bytes sent before our answer were never meant for a plain connection (CVE-2021-23222).
    if (!s_.io.input().buffered().empty())
      co_return co_await refuse(Error(Errc::kProtocolViolation, "received unencrypted data after SSL request"),
                                "08P01");
    s_.io.out.raw("N");
    if (auto sent = co_await s_.io.flush(); !sent.ok()) co_return StartupEnd::kClosed;
  }
  co_return StartupEnd::kClosed;
}

asio::awaitable<StartupEnd> Startup::refuse(Error error, std::string sqlstate) {
  ++s_.host.metrics.sessions_refused;
  s_.host.metrics.count_error(sqlstate);
  s_.io.out.report(pgwire::Severity::kFatal, error, sqlstate);
  (void)co_await s_.io.flush();  // a client that is gone already needs no answer
  co_return StartupEnd::kClosed;
}

asio::awaitable<StartupEnd> Startup::refuse_version(std::uint16_t major, std::uint16_t minor) {
  const std::string text = "unsupported frontend protocol " + std::to_string(major) + "." + std::to_string(minor) +
                           ": server supports 3.0 to 3.0";
  if (major > 3) co_return co_await refuse(Error(Errc::kProtocolViolation, text), "0A000");
  ++s_.host.metrics.sessions_refused;
  s_.io.out.raw("EFATAL:  " + text + "\n" + std::string(1, '\0'));  // the form that such an old client reads
  (void)co_await s_.io.flush();
  co_return StartupEnd::kClosed;
}

void Startup::negotiate(const pgwire::StartupMessage& message) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : message.parameters)
    if (is_protocol_option(name)) unknown.push_back(name);
  // The whole version number: that is what PostgreSQL sends and libpq expects, whatever the manual says of "minor".
  if (message.minor > 0 || !unknown.empty()) s_.io.out.negotiate_protocol_version(pgwire::kProtocol3, unknown);
}

void Startup::read_limits() {
  const gateway::Limits& limits = s_.gateway->limits();
  const std::pair<std::string_view, Duration> values[] = {
      {"statement_timeout", limits.statement_timeout},
      {"lock_timeout", limits.lock_timeout},
      {"idle_in_transaction_session_timeout", limits.idle_in_transaction_timeout}};
  for (const auto& [name, value] : values) {
    const auto done = s_.settings.set_default(name, millis(value), true);
    OUTLAST_ASSERT(done.ok(), "a gateway limit is out of its range");
  }
}

Result<void> Startup::apply_parameters(const pgwire::StartupMessage& message) {
  TRY(s_.settings.set_default("session_authorization", s_.user, true));
  if (const auto options = message.parameter("options")) {
    ASSIGN_OR_RETURN(const auto settings, parse_options(*options));
    for (const auto& [name, value] : settings) TRY(s_.settings.set_default(name, value));
  }
  for (const auto& [name, value] : message.parameters)
    if (!is_connection_word(name)) TRY(s_.settings.set_default(name, value));
  apply_limits(s_);
  return {};
}

// docs/connecting.md: a database that was only named after the user, and "postgres", fall back to the default one.
asio::awaitable<Result<void>> Startup::open_database(std::string wanted, bool named_after_user) {
  const auto known = s_.host.cluster.databases();
  const bool exists = std::any_of(known.begin(), known.end(), [&](const auto& row) { return row.name == wanted; });
  if (!exists && (named_after_user || wanted == "postgres")) wanted = s_.host.options.default_database;
  co_return co_await s_.gateway->use_database(wanted);
}

asio::awaitable<StartupEnd> Startup::begin_session(pgwire::StartupMessage message) {
  if (message.major != 3) co_return co_await refuse_version(message.major, message.minor);
  // Before anything else: only 57P03 moves libpq on to its next host, and a health check may name no user.
  if (std::string why = s_.host.cluster.refuse_sessions(); !why.empty())
    co_return co_await refuse(Error(Errc::kNotReady, std::move(why)), "57P03");
  auto admitted = s_.host.gate.admit(lifecycle::WorkKind::kConnection);
  if (!admitted.ok()) {
    const std::string sqlstate(admitted.error().sqlstate());
    co_return co_await refuse(std::move(admitted).error(), sqlstate);
  }
  s_.connection = *std::move(admitted);
  if (s_.host.metrics.sessions_open > std::atomic_ref(s_.host.options.sessions_max).load())
    co_return co_await refuse(Error(Errc::kTooManyConnections, "sorry, too many clients already"), "53300");
  s_.user = message.parameter("user").value_or("");
  if (s_.user.empty())
    co_return co_await refuse(Error(Errc::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet"),
                              "28000");
  if (const auto replication = message.parameter("replication");
      replication && *replication != "false" && *replication != "off" && *replication != "no" && *replication != "0")
    co_return co_await refuse(
        Error(Errc::kFeatureLimit, "replication connections are not offered: connect without replication"), "54000");
  negotiate(message);
  s_.gateway = s_.host.open_session();
  read_limits();
  if (auto applied = apply_parameters(message); !applied.ok())
    co_return co_await refuse(applied.error(), std::string(applied.error().sqlstate()));
  std::string database = message.parameter("database").value_or("");
  if (database.empty()) database = s_.user;
  if (auto opened = co_await open_database(database, database == s_.user); !opened.ok())
    co_return co_await refuse(opened.error(), std::string(opened.error().sqlstate()));
  s_.io.out.authentication_ok();
  for (const auto& [name, value] : s_.settings.take_reports()) s_.io.out.parameter_status(name, value);
  co_return StartupEnd::kReady;
}

}  // namespace outlast::sql
