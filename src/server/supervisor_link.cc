#include "server/supervisor_link.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/version.h"
#include "handover/supervisor.h"

namespace outlast::server {
using handover::ControlMessage;
using Kind = ControlMessage::Kind;

namespace {
std::atomic<int> g_term_fd{-1};  // an eventfd; a signal handler has no other way to its object
std::atomic<bool> g_terminated{false};

void on_term(int) {
  g_terminated = true;
  const std::uint64_t one = 1;
  if (const int fd = g_term_fd; fd >= 0) (void)!write(fd, &one, sizeof one);
}
}  // namespace

SupervisorLink::SupervisorLink(Events events) : events_(std::move(events)) {
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  fcntl(handover::kControlFd, F_SETFL, fcntl(handover::kControlFd, F_GETFL) | O_NONBLOCK);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "supervisor");
    run();
  });
}

SupervisorLink::~SupervisorLink() {
  over_ = true;
  wake();
  thread_.join();
  end_adoption();
  g_term_fd = -1;
  close(wake_fd_);
}

void SupervisorLink::wake() {
  const std::uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
}

void SupervisorLink::tell(ControlMessage message) {
  if (!connected_) return;
  {
    const std::lock_guard lock(mutex_);
    // Said when this returns, as a rule: an incarnation is told before its first record is written (A2.3).
    if (out_.empty() && handover::send_control(handover::kControlFd, message).ok()) return;
    out_.push_back(std::move(message));
  }
  wake();
}

Result<void> SupervisorLink::allow_adoption(const std::string& store, Introduction introduction) {
  ASSIGN_OR_RETURN(const int fd, handover::listen_in(store, "worker.sock"));
  {
    const std::lock_guard lock(mutex_);
    listen_fd_ = fd;
    introduction_ = std::move(introduction);
  }
  wake();
  return {};
}

void SupervisorLink::end_source_only() {
  const std::lock_guard lock(mutex_);
  introduction_.source_only = false;
}

/// The name is left alone: the next owner of the store may have put its own socket there already.
void SupervisorLink::end_adoption() {
  const std::lock_guard lock(mutex_);
  if (listen_fd_ >= 0) close(std::exchange(listen_fd_, -1));
}

void SupervisorLink::run() {
  while (!over_) {
    bool writing = false;
    int listening = -1;
    {
      const std::lock_guard lock(mutex_);
      writing = !out_.empty();
      if (listen_fd_ >= 0) listening = fcntl(listen_fd_, F_DUPFD_CLOEXEC, 0);
    }
    const auto events = static_cast<short>(POLLIN | (writing ? POLLOUT : 0));
    pollfd fds[3] = {
        {wake_fd_, POLLIN, 0}, {connected_ ? handover::kControlFd : -1, events, 0}, {listening, POLLIN, 0}};
    const int ready = poll(fds, 3, -1);
    if (listening >= 0) close(listening);
    if (ready < 0) continue;
    std::uint64_t count = 0;
    (void)!read(wake_fd_, &count, sizeof count);
    if (over_) return;
    if (!connected_ && g_terminated.exchange(false)) events_.stop();
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_channel();
    if (connected_ && (fds[1].revents & POLLOUT) != 0) write_channel();
    if ((fds[2].revents & POLLIN) != 0) adopt();
  }
}

void SupervisorLink::read_channel() {
  for (;;) {
    auto message = handover::receive_control(handover::kControlFd);
    if (!message.ok()) return channel_lost();
    if (!message->has_value()) return;
    events_.message(**std::move(message));
  }
}

void SupervisorLink::write_channel() {
  const std::lock_guard lock(mutex_);
  // What does not go now goes with the next POLLOUT; that nobody is there any more the read side tells.
  while (!out_.empty() && handover::send_control(handover::kControlFd, out_.front()).ok()) out_.pop_front();
}

void SupervisorLink::channel_lost() {
  connected_ = false;
  {
    const std::lock_guard lock(mutex_);
    out_.clear();
  }
  spdlog::warn("the supervisor is gone: serving on without one, until another adopts this worker or SIGTERM comes");
  g_term_fd = wake_fd_;
  std::signal(SIGTERM, on_term);
  events_.lost();
}

bool SupervisorLink::trusted(int connection, int& pid) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) return false;
  pid = peer.pid;
  return true;
}

/// One supervisor at a time: while there is one, another is turned away by an end of file.
void SupervisorLink::adopt() {
  int connection = -1, pid = 0;
  Introduction me;
  {
    const std::lock_guard lock(mutex_);
    if (listen_fd_ < 0) return;
    me = introduction_;
    connection = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  }
  if (connection < 0) return;
  if (connected_ || !trusted(connection, pid)) {
    close(connection);
    return;
  }
  std::signal(SIGTERM, SIG_IGN);
  dup3(connection, handover::kControlFd, O_CLOEXEC);
  close(connection);
  connected_ = true;
  spdlog::info("adopted by the supervisor with pid {}", pid);
  const auto say = [&](Kind kind, const std::string& text, int fd = -1) {
    tell({.kind = kind, .node = me.node, .incarnation = me.incarnation, .text = text, .fd = fd});
  };
  say(Kind::kIncarnation, "");
  say(Kind::kReady, program_version());
  if (me.source_only) say(Kind::kSourceOnly, "");
  for (const auto& [name, fd] : me.sockets.inputs) say(Kind::kListener, name, fd);
  if (me.sockets.sql >= 0) say(Kind::kListener, "sql", me.sockets.sql);
  say(Kind::kListener, "http", me.sockets.http);  // last: with it the introduction is complete
  events_.adopted(pid);
}

}  // namespace outlast::server
