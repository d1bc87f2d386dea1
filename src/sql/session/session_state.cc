#include "sql/session/session_state.h"

#include "sql/translate/functions.h"

namespace outlast::sql {
namespace {
// client_min_messages, as far as it can hide what we send.
bool shows_notices(const std::string& level) {
  return level != "warning" && level != "error";
}
}  // namespace

std::shared_ptr<compute::Engine> make_engine(gateway::Cluster& cluster, const Clock& clock,
                                             std::function<std::vector<std::unique_ptr<executor::Channel>>()> places) {
  compute::EnginePorts ports;
  ports.places = std::move(places);
  ports.open_session = [&cluster] { return cluster.open_session(); };
  ports.dress = [&clock](sqlite3* db, std::int64_t now_micros) {
    install_functions(db, {[now_micros] { return now_micros; }, [&clock] { return clock.wall_micros(); }});
  };
  return std::make_shared<compute::Engine>(std::move(ports), clock);
}

void SessionState::notice(std::string text) {
  if (!shows_notices(settings.value("client_min_messages"))) return;
  io.out.report(pgwire::Severity::kNotice, Error(Errc::kInternal, std::move(text)), "00000");
}

void SessionState::warning(Errc code, std::string text) {
  if (settings.value("client_min_messages") == "error") return;
  io.out.report(pgwire::Severity::kWarning, Error(code, std::move(text)), facts(code).sqlstate);
}

Result<void> SessionState::check_cancelled() {
  if (!cancelled.exchange(false)) return {};
  return Error(Errc::kCancelled, "canceling statement due to user request");
}

void apply_limits(SessionState& state) {
  gateway::Limits& limits = state.gateway->limits();
  limits.statement_timeout = state.settings.duration("statement_timeout");
  limits.lock_timeout = state.settings.duration("lock_timeout");
  limits.idle_in_transaction_timeout = state.settings.duration("idle_in_transaction_session_timeout");
}

SessionNames session_names(const SessionState& state) {
  return {.user = state.user, .database = state.gateway->database(), .node = state.host.cluster.node().value};
}

}  // namespace outlast::sql
