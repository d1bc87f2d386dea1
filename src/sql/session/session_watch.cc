// What reaches a session from outside its own conversation: cancel requests, stopping, the watchdog.
#include <pg_query.h>
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "sql/session/client_session.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
bool is_waiting(Phase phase) {
  return phase == Phase::kIdle || phase == Phase::kInTransaction;
}
bool passed(Duration limit, Duration elapsed) {
  return limit.count() > 0 && elapsed > limit;
}
std::string_view doing(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "idle";
    case Phase::kInTransaction:
      return "idle in transaction";
    case Phase::kWriting:
      return "the client does not read";
    default:
      return "active";
  }
}
}  // namespace

// No constants, which may be anybody's secrets, and not much of it.
std::string statement_for_people(const Prepared* prepared) {
  constexpr std::size_t kMax = 120;
  if (prepared == nullptr) return {};
  const Translated& statement = prepared->statement;
  if (statement.sql.empty()) return ": " + statement.tag;
  PgQueryNormalizeResult shape = pg_query_normalize(statement.sql.front().c_str());
  std::string text = shape.error == nullptr ? shape.normalized_query : statement.tag;
  pg_query_free_normalize_result(shape);
  if (text.size() > kMax) text = text.substr(0, kMax) + "…";
  return ": " + text;
}

void ClientSession::on_cancel_request() {
  if (is_waiting(io_.phase()) || io_.answering() || !state_.gateway) return;  // nothing runs
  state_.cancelled = true;
  state_.gateway->interrupt();
  io_.wake();
  io_.unwake();
}

void ClientSession::stop() {
  asio::post(strand_, [self = shared_from_this()] {
    self->stop_wanted_ = true;
    if (self->io_.phase() == Phase::kStartup) return self->io_.stream().close();
    if (self->at_rest()) self->io_.wake();
  });
}

void ClientSession::stop_now() {
  asio::post(strand_, [self = shared_from_this()] {
    self->stop_wanted_ = self->stop_now_ = true;
    const Phase phase = self->io_.phase();
    // A client that does not read would hold us for ever; one that has not started has nothing to lose.
    if (phase == Phase::kStartup || phase == Phase::kWriting) return self->io_.stream().close();
    self->state_.cancelled = true;
    if (self->state_.gateway) self->state_.gateway->interrupt();
    self->io_.wake();
  });
}

void ClientSession::stay() {
  asio::post(strand_, [self = shared_from_this()] {
    if (!self->stop_now_) self->stop_wanted_ = false;
  });
}

std::string SessionView::name() const {
  return "session " + std::to_string(pid) + " of " + user + (application.empty() ? "" : " (" + application + ")");
}

SessionView ClientSession::view() const {
  SessionView view;
  view.pid = static_cast<std::uint32_t>(key_.pid);
  view.user = state_.user;
  view.application = state_.settings.value("application_name");
  view.what = std::string(doing(io_.phase())) + statement_for_people(state_.running.get());
  view.age = host_.clock.now() - io_.since();
  return view;
}

void ClientSession::describe() {
  asio::post(strand_, [self = shared_from_this()] {
    if (!self->state_.gateway) return;  // starting up
    SessionView view = self->view();
    const std::lock_guard lock(self->view_mutex_);
    self->view_ = std::move(view);
  });
}

std::optional<SessionView> ClientSession::described() const {
  const std::lock_guard lock(view_mutex_);
  return view_;
}

void ClientSession::watch(Instant now) {
  const Phase phase = io_.phase();
  const Duration elapsed = now - io_.since();
  const SessionOptions& options = host_.options;
  const bool look = (phase == Phase::kStartup && passed(options.startup_deadline, elapsed)) ||
                    (phase == Phase::kWriting && passed(options.write_deadline, elapsed)) ||
                    (phase == Phase::kBusy && passed(options.client_check, elapsed)) || is_waiting(phase);
  if (!look) return;
  if (is_waiting(phase)) {
    const std::int64_t limit = idle_limit_.load(std::memory_order_relaxed);
    if (!passed(Duration(limit), elapsed)) return;
  }
  asio::post(strand_, [self = shared_from_this()] { self->watch_here(); });
}

void ClientSession::watch_here() {
  const Phase phase = io_.phase();
  const Duration elapsed = host_.clock.now() - io_.since();
  if (phase == Phase::kStartup && passed(host_.options.startup_deadline, elapsed)) io_.stream().close();
  if (phase == Phase::kWriting && passed(host_.options.write_deadline, elapsed)) {
    spdlog::warn("sql session of {}: closed, it has read nothing for {} s", io_.stream().peer_name(),
                 std::chrono::duration_cast<std::chrono::seconds>(elapsed).count());
    ++host_.metrics.slow_clients_closed;
    io_.stream().close();
  }
  if (phase == Phase::kBusy && io_.stream().peer_gone() && state_.gateway) {
    state_.cancelled = true;
    state_.gateway->interrupt();
  }
  if (is_waiting(phase) && passed(Duration(idle_limit_.load()), elapsed)) {
    wake_ = phase == Phase::kInTransaction ? Wake::kIdleInTransaction : Wake::kIdleSession;
    io_.wake();
  }
}

}  // namespace outlast::sql
