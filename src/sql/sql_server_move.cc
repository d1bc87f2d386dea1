// Sessions that leave for another worker, and those that come from one.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <utility>

#include "sql/sql_server_impl.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
constexpr auto kLookPatience = std::chrono::seconds(2);  // for sessions whose thread does something long

/// What sessions say of themselves; they may do so after the one who asked has gone.
struct Looks {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<MoveView> views;
};
}  // namespace

/// Busy ones take their time anyway.
void SqlServer::Impl::move_out(Sink sink, std::size_t at_once) {
  {
    const std::lock_guard lock(mutex_);
    sink_ = std::make_shared<const Sink>(std::move(sink));
    at_once_ = at_once;
  }
  std::vector<std::weak_ptr<ClientSession>> idle;
  for (const auto& session : sessions()) {
    if (session->phase() == Phase::kIdle)
      idle.push_back(session);
    else
      session->leave();
  }
  {
    const std::lock_guard lock(mutex_);
    idle_ = std::move(idle);
  }
  move_on(at_once);
}

void SqlServer::Impl::move_on(std::size_t arrived) {
  for (std::size_t asked = 0; asked < arrived; ++asked) {
    std::shared_ptr<ClientSession> next;
    {
      const std::lock_guard lock(mutex_);
      while (!next && !idle_.empty()) {
        next = idle_.back().lock();
        idle_.pop_back();
      }
    }
    if (!next) return;
    next->leave();
  }
}

/// Sessions that were idle when they were asked may have become busy: others need not wait for them.
void SqlServer::Impl::move_when_stuck() {
  const std::uint64_t moved = host.metrics.sessions_moved_out;
  if (std::exchange(moved_out_seen_, moved) == moved) move_on(at_once_);
}

void SqlServer::Impl::keep_sessions() {
  {
    const std::lock_guard lock(mutex_);
    sink_.reset();
    idle_.clear();
  }
  for (const auto& session : sessions()) session->keep();
}

/// On the strand of the session that was; nothing of it is left here.
void SqlServer::Impl::hand_over(LeavingSession left) {
  std::shared_ptr<const Sink> sink;
  {
    const std::lock_guard lock(mutex_);
    sink = sink_;
  }
  if (!sink) return (void)take_in(std::move(left.state), left.fd, nullptr);  // keep_sessions() came just now
  ++host.metrics.sessions_moved_out;
  (*sink)(std::move(left));
}

std::vector<MoveView> SqlServer::Impl::move_plan() const {
  const auto looks = std::make_shared<Looks>();
  const auto all = sessions();
  for (const auto& session : all)
    session->look([looks](MoveView view) {
      const std::lock_guard lock(looks->mutex);
      looks->views.push_back(std::move(view));
      looks->changed.notify_all();
    });
  std::unique_lock lock(looks->mutex);
  looks->changed.wait_for(lock, kLookPatience, [&] { return looks->views.size() == all.size(); });
  return looks->views;
}

Result<void> SqlServer::Impl::take_in(proto::SessionState state, int fd, std::shared_ptr<SessionObserver> observer) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const auto strand = next_strand();
  Tcp::socket socket(strand);
  boost::system::error_code error;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    error.assign(errno, boost::system::system_category());
  else
    socket.assign(address.ss_family == AF_INET6 ? Tcp::v6() : Tcp::v4(), fd, error);
  if (error) {
    ::close(fd);
    return Error(Errc::kIo, "cannot use a moved session's connection: " + error.message());
  }
  auto session = std::make_shared<ClientSession>(host, make_tcp_stream(std::move(socket)), strand);
  Result<void> restored = session->restore(std::move(state), std::move(observer));
  start(std::move(session), strand);
  begin_watching();
  return restored;
}

}  // namespace outlast::sql
