#include "sql/session/client_session.h"

#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <exception>

#include "sql/session/startup.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
// After these nothing of the session is left to go on with.
bool ends_session(Errc code) {
  return code == Errc::kGatewayLost || code == Errc::kShuttingDown || code == Errc::kFenced;
}
}  // namespace

ClientSession::ClientSession(SessionHost& host, std::unique_ptr<Stream> stream, asio::any_io_executor strand)
    : host_(host),
      strand_(std::move(strand)),
      io_(host, std::move(stream)),
      state_{.host = host, .io = io_},
      transactions_(state_),
      portals_(state_, transactions_) {}

ClientSession::~ClientSession() {
  if (key_.pid != 0) host_.cancels.remove(key_);
}

asio::awaitable<void> ClientSession::run() {
  const auto self = shared_from_this();
  try {
    co_await serve();
  } catch (const std::exception& e) {
    // Our own bug or no memory: the client is told what it may rely on, which is nothing.
    spdlog::error("sql session of {}: {}", io_.stream().peer_name(), e.what());
    io_.out.clear();
    io_.out.report(pgwire::Severity::kFatal, Error(Errc::kInternal, "internal error: connect again"), "XX000");
  }
  if (left_) {
    finish_leaving();
  } else {
    if (!io_.out.empty()) (void)co_await io_.flush();
    io_.stream().close();
  }
  io_.teller.ended();
  // Here and not in the destructor, which may run on the watchdog's thread.
  state_.portals.clear();
  state_.gateway.reset();
}

asio::awaitable<void> ClientSession::serve() {
  if (unfit_) co_return co_await told_to_go();
  const bool came_here = state_.gateway != nullptr;
  if (!came_here && !co_await start_up()) co_return;
  for (Next next = co_await settle(); next == Next::kContinue; next = co_await settle()) {
    if (io_.teller.listens() && !io_.frame_waits()) {
      const auto more = co_await io_.fill();
      if (more.ok() && *more && !io_.frame_waits()) continue;  // half a message: settle() tells
    }
    auto frame = co_await io_.next_frame();
    io_.enter(Phase::kBusy);
    if (!frame.ok()) {
      next = co_await on_wait_ended(std::move(frame).error());
    } else if (!*frame) {
      break;  // the client is gone; the gateway's session rolls back with us
    } else {
      next = co_await serve_frame(**frame);
    }
    if (next == Next::kClose) break;
  }
}

asio::awaitable<bool> ClientSession::start_up() {
  for (;;) {
    const StartupEnd end = co_await Startup(state_).run();
    if (end == StartupEnd::kClosed) co_return false;
    if (end == StartupEnd::kReady) break;
    io_.unwake();
    if (state_.leaving && leave_now()) co_return false;
  }
  key_ = host_.cancels.add(cancel_hook());
  io_.out.backend_key_data(key_.pid, key_.key);
  co_return co_await ready() == Next::kContinue;
}

std::function<void()> ClientSession::cancel_hook() {
  return [weak = weak_from_this()] {
    if (const auto self = weak.lock()) asio::post(self->strand_, [self] { self->on_cancel_request(); });
  };
}

asio::awaitable<ClientSession::Next> ClientSession::settle() {
  io_.drop_taken();
  for (;;) {
    enter_waiting();
    if (state_.leaving && at_safe_point() && leave_now()) co_return Next::kClose;
    if (!unsent_) break;
    const auto sent = co_await io_.flush_answer();
    unsent_ = !sent.ok() && sent.error().code == Errc::kCancelled;
    if (!sent.ok() && !unsent_) co_return Next::kClose;
  }
  if (io_.teller.listens() && at_safe_point() && !io_.frame_waits()) io_.teller.waiting(exported());
  co_return Next::kContinue;
}

void ClientSession::enter_waiting() {
  const bool inside = state_.in_transaction();
  const Duration limit =
      inside ? state_.gateway->limits().idle_in_transaction_timeout : state_.settings.duration("idle_session_timeout");
  idle_limit_.store(limit.count(), std::memory_order_relaxed);
  io_.enter(inside ? Phase::kInTransaction : Phase::kIdle);
}

bool ClientSession::at_rest() const {
  return io_.phase() == Phase::kIdle && io_.input_empty() && io_.out.empty() && !skip_to_sync_;
}

asio::awaitable<ClientSession::Next> ClientSession::serve_frame(pgwire::Frame frame) {
  if (skip_to_sync_ && frame.type != 'S' && frame.type != 'X') co_return Next::kContinue;
  auto message = pgwire::parse_message(frame);
  if (message.ok()) co_return co_await on_message(*std::move(message));
  const bool extended = pgwire::is_extended_type(frame.type);
  const Next next = co_await report(std::move(message).error());
  if (next == Next::kClose) co_return next;
  if (extended) {
    skip_to_sync_ = true;
    co_return Next::kContinue;
  }
  skip_to_sync_ = false;
  co_return co_await ready();
}

asio::awaitable<ClientSession::Next> ClientSession::on_message(pgwire::Message message) {
  if (auto* query = std::get_if<pgwire::Query>(&message)) co_return co_await on_query(std::move(*query));
  if (std::holds_alternative<pgwire::Sync>(message)) co_return co_await on_sync();
  if (std::holds_alternative<pgwire::Terminate>(message)) co_return Next::kClose;
  if (std::holds_alternative<pgwire::Flush>(message)) {
    const auto flushed = co_await io_.flush();
    co_return flushed.ok() ? Next::kContinue : Next::kClose;
  }
  // What is left of a COPY that failed here while the client was still sending.
  if (std::holds_alternative<pgwire::CopyData>(message) || std::holds_alternative<pgwire::CopyDone>(message) ||
      std::holds_alternative<pgwire::CopyFail>(message))
    co_return Next::kContinue;
  if (std::holds_alternative<pgwire::FunctionCall>(message)) {
    const Next next = co_await report(
        Error(Errc::kUndefinedFunction, "function calls by protocol message are not offered: use SELECT f(…)"));
    if (next == Next::kClose) co_return next;
    co_return co_await ready();
  }
  if (std::holds_alternative<pgwire::PasswordMessage>(message)) {
    co_await say_goodbye(Error(Errc::kProtocolViolation, "unexpected password message: nobody asked for one"), "08P01");
    co_return Next::kClose;
  }
  const auto done = co_await on_extended(std::move(message));
  if (done.ok()) {
    if (!io_.full()) co_return Next::kContinue;
    const auto flushed = co_await io_.flush();
    co_return flushed.ok() ? Next::kContinue : Next::kClose;
  }
  skip_to_sync_ = true;
  co_return co_await report(done.error());
}

asio::awaitable<ClientSession::Next> ClientSession::report(Error error) {
  if (state_.client_left || (error.code == Errc::kUnavailable && io_.stream().peer_gone())) co_return Next::kClose;
  host_.metrics.count_error(error.sqlstate());
  if (ends_session(error.code)) {
    io_.out.report(pgwire::Severity::kFatal, error, error.sqlstate());
    co_return Next::kClose;
  }
  co_await transactions_.fail();
  io_.out.report(pgwire::Severity::kError, error, error.sqlstate());
  co_return Next::kContinue;
}

asio::awaitable<ClientSession::Next> ClientSession::ready() {
  if (state_.settings.take_changed())
    for (const auto& [name, value] : state_.settings.take_reports()) io_.out.parameter_status(name, value);
  io_.out.ready_for_query(static_cast<char>(state_.gateway->status()));
  state_.cancelled = false;  // a cancel request that came too late must not hit the next statement
  // What the client sent ahead is still served: it cannot know.
  if (stop_now_ || (stop_wanted_ && !state_.leaving && !state_.in_transaction() && io_.input_empty())) {
    co_await told_to_go();
    co_return Next::kClose;
  }
  if (state_.leaving && !state_.in_transaction()) {  // settle() sends what the kernel takes at once
    unsent_ = true;
    co_return Next::kContinue;
  }
  const auto flushed = co_await io_.flush_answer();
  unsent_ = !flushed.ok() && flushed.error().code == Errc::kCancelled;
  co_return flushed.ok() || unsent_ ? Next::kContinue : Next::kClose;
}

asio::awaitable<void> ClientSession::say_goodbye(Error error, std::string sqlstate) {
  host_.metrics.count_error(sqlstate);
  io_.out.report(pgwire::Severity::kFatal, error, sqlstate);
  (void)co_await io_.flush();
}

asio::awaitable<void> ClientSession::told_to_go() {
  ++(stop_now_ ? host_.metrics.sessions_cut : host_.metrics.sessions_shed);
  co_await say_goodbye(Error(Errc::kShuttingDown, "terminating connection due to administrator command"), "57P01");
}

asio::awaitable<ClientSession::Next> ClientSession::on_wait_ended(Error error) {
  if (error.code == Errc::kProtocolViolation) {
    co_await say_goodbye(error, "08P01");
    co_return Next::kClose;
  }
  if (error.code != Errc::kCancelled) co_return Next::kClose;  // the connection broke
  io_.unwake();
  const Wake wake = std::exchange(wake_, Wake::kNone);
  if (stop_now_ || (stop_wanted_ && !state_.leaving && !state_.in_transaction())) {
    co_await told_to_go();
    co_return Next::kClose;
  }
  if (wake == Wake::kIdleInTransaction && state_.in_transaction()) {
    co_await say_goodbye(Error(Errc::kIdleInTransaction, "terminating connection due to idle-in-transaction timeout"),
                         "25P03");
    co_return Next::kClose;
  }
  if (wake == Wake::kIdleSession && !state_.in_transaction()) {
    co_await say_goodbye(Error(Errc::kShuttingDown, "terminating connection due to idle-session timeout"), "57P05");
    co_return Next::kClose;
  }
  co_return Next::kContinue;
}

}  // namespace outlast::sql
