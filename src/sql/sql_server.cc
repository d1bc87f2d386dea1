#include "sql/sql_server.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sql/sql_server_impl.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr auto kWatchEvery = std::chrono::milliseconds(100);
constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // after EMFILE and the like
}  // namespace

SqlServer::Impl::Impl(std::vector<asio::any_io_executor> executors, gateway::Cluster& cluster, const Clock& clock,
                      SessionOptions options)
    : host(cluster, clock, std::move(options)),
      executors_(std::move(executors)),
      executor_(asio::make_strand(executors_.front())),
      watchdog_(executor_) {}

Result<void> SqlServer::Impl::listen(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  int listening = 0;
  socklen_t flag = sizeof listening;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &flag) != 0 || listening == 0)
    return Error(Errc::kIo, "the SQL port's descriptor " + std::to_string(fd) + " is not a listening socket");
  auto acceptor = std::make_shared<Tcp::acceptor>(executor_);
  boost::system::error_code error;
  acceptor->assign(address.ss_family == AF_INET6 ? Tcp::v6() : Tcp::v4(), fd, error);
  if (error) return Error(Errc::kIo, "cannot use the SQL port's socket: " + error.message());
  asio::post(executor_, [self = shared_from_this(), acceptor] {
    self->acceptors_.push_back(acceptor);
    asio::co_spawn(self->executor_, accept_loop(self, acceptor), asio::detached);
  });
  begin_watching();
  return {};
}

void SqlServer::Impl::begin_watching() {
  if (!watching_.exchange(true)) asio::co_spawn(executor_, watch_loop(shared_from_this()), asio::detached);
}

void SqlServer::Impl::stop_accepting() {
  asio::post(executor_, [self = shared_from_this()] {
    boost::system::error_code ignored;
    for (const auto& acceptor : self->acceptors_) acceptor->close(ignored);
    self->acceptors_.clear();
  });
}

void SqlServer::Impl::stop(Duration limit, std::function<void()> done) {
  stop_accepting();
  asio::post(executor_, [self = shared_from_this(), limit, done = std::move(done)]() mutable {
    self->stopping_ = true;
    self->stop_at_ = self->host.clock.now() + limit;
    self->stopped_.push_back(std::move(done));
    for (const auto& session : self->sessions()) session->stop();
    self->check_stopped();
  });
  begin_watching();
}

void SqlServer::Impl::shed(Shedding how) {
  asio::post(executor_, [self = shared_from_this(), how] {
    if (std::exchange(self->shedding_, how) == how) return;  // the watchdog goes on with it
    if (how == Shedding::kNone)
      for (const auto& session : self->sessions()) session->stay();
    self->shed_now();
  });
}

void SqlServer::Impl::abandon() {
  asio::post(executor_, [self = shared_from_this()] {
    self->stopping_ = true;
    self->watchdog_.cancel();
  });
}

std::vector<std::shared_ptr<ClientSession>> SqlServer::Impl::sessions() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<ClientSession>> all;
  all.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) all.push_back(session);
  return all;
}

asio::any_io_executor SqlServer::Impl::next_strand() {
  return asio::make_strand(executors_[next_executor_++ % executors_.size()]);
}

asio::awaitable<void> SqlServer::Impl::accept_loop(std::shared_ptr<Impl> self,
                                                   std::shared_ptr<Tcp::acceptor> acceptor) {
  while (acceptor->is_open()) {
    const auto strand = self->next_strand();
    Tcp::socket socket(strand);
    const auto [error] = co_await acceptor->async_accept(socket, kTuple);
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
    if (error == asio::error::connection_aborted || error == asio::error::would_block) continue;
    if (error) {
      spdlog::warn("sql: cannot accept a connection: {}", error.message());
      asio::steady_timer pause(self->executor_, kAcceptPause);
      co_await pause.async_wait(kTuple);
      continue;
    }
    ++self->host.metrics.sessions_total;
    self->start(std::make_shared<ClientSession>(self->host, make_tcp_stream(std::move(socket)), strand), strand);
  }
}

void SqlServer::Impl::start(std::shared_ptr<ClientSession> session, asio::any_io_executor strand) {
  ++host.metrics.sessions_open;
  std::uint64_t id = 0;
  bool leaves = false;
  {
    const std::lock_guard lock(mutex_);
    id = ++next_id_;
    sessions_.emplace(id, session);
    leaves = sink_ != nullptr;
  }
  if (leaves) session->leave();
  if (stopping_) session->stop();
  asio::co_spawn(strand, run_session(shared_from_this(), std::move(session), id), asio::detached);
}

asio::awaitable<void> SqlServer::Impl::run_session(std::shared_ptr<Impl> self, std::shared_ptr<ClientSession> session,
                                                   std::uint64_t id) {
  co_await session->run();
  {
    const std::lock_guard lock(self->mutex_);
    self->sessions_.erase(id);
  }
  auto left = session->take_left();
  session.reset();
  --self->host.metrics.sessions_open;
  if (left) self->hand_over(*std::move(left));
  if (self->stopping_) asio::post(self->executor_, [self] { self->check_stopped(); });
}

asio::awaitable<void> SqlServer::Impl::watch_loop(std::shared_ptr<Impl> self) {
  for (;;) {
    self->watchdog_.expires_after(kWatchEvery);
    const auto [error] = co_await self->watchdog_.async_wait(kTuple);
    if (error || (self->stopping_ && self->stopped_.empty())) co_return;
    const Instant now = self->host.clock.now();
    for (const auto& session : self->sessions()) {
      if (self->stopping_ && now >= self->stop_at_) session->stop_now();
      session->watch(now);
    }
    self->shed_now();
    self->move_when_stuck();
  }
}

/// Again with every look, for sessions that have only just begun. Those that start up are told to go by Startup.
void SqlServer::Impl::shed_now() {
  if (shedding_ == Shedding::kNone) return;
  for (const auto& session : sessions()) {
    if (session->phase() == Phase::kStartup) continue;
    shedding_ == Shedding::kNow ? session->stop_now() : session->stop();
    session->describe();
  }
}

void SqlServer::Impl::check_stopped() {
  if (!stopping_ || host.metrics.sessions_open > 0) return;
  for (auto& done : std::exchange(stopped_, {})) asio::post(executors_.front(), std::move(done));
}

SqlServer::SqlServer(std::vector<asio::any_io_executor> executors, gateway::Cluster& cluster, const Clock& clock,
                     SessionOptions options)
    : impl_(std::make_shared<Impl>(std::move(executors), cluster, clock, std::move(options))) {}

SqlServer::~SqlServer() {
  impl_->stop_accepting();
  impl_->abandon();
}

Result<void> SqlServer::listen(int fd) {
  return impl_->listen(fd);
}
void SqlServer::stop_accepting() {
  impl_->stop_accepting();
}
void SqlServer::stop(Duration limit, std::function<void()> done) {
  impl_->stop(limit, std::move(done));
}
void SqlServer::set_sessions_max(std::int64_t most) {
  std::atomic_ref(impl_->host.options.sessions_max).store(most);
}
lifecycle::Gate& SqlServer::gate() {
  return impl_->host.gate;
}
std::vector<SessionView> SqlServer::sessions_left() const {
  std::vector<SessionView> out;
  for (const auto& session : impl_->sessions())
    if (auto view = session->described()) out.push_back(*std::move(view));
  return out;
}
void SqlServer::shed(Shedding how) {
  impl_->shed(how);
}
void SqlServer::move_out(std::function<void(LeavingSession)> sink, std::size_t at_once) {
  impl_->move_out(std::move(sink), at_once);
}
void SqlServer::move_on(std::size_t arrived) {
  impl_->move_on(arrived);
}
void SqlServer::keep_sessions() {
  impl_->keep_sessions();
}
std::vector<MoveView> SqlServer::move_plan() const {
  return impl_->move_plan();
}
Result<void> SqlServer::take_in(proto::SessionState state, int fd, std::shared_ptr<SessionObserver> observer) {
  ++impl_->host.metrics.sessions_moved_in;
  return impl_->take_in(std::move(state), fd, std::move(observer));
}
bool SqlServer::cancel(std::int32_t pid, std::string_view key) {
  return impl_->host.cancels.cancel(pid, key);
}
const SqlMetrics& SqlServer::metrics() const {
  return impl_->host.metrics;
}

SqlServer::Load SqlServer::Impl::load() const {
  Load load;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, session] : sessions_) {
    switch (session->phase()) {
      case Phase::kIdle:
        ++load.idle;
        break;
      case Phase::kInTransaction:
        ++load.in_transaction;
        break;
      default:
        ++load.busy;
    }
  }
  return load;
}

SqlServer::Load SqlServer::load() const {
  return impl_->load();
}

}  // namespace outlast::sql
