#include "run/probe.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "run/socket_owner.h"

namespace outlast::run {
namespace {
using namespace std::chrono_literals;
constexpr Duration kTryFor = 1s, kPause = 50ms, kLook = 2ms;

Error malformed(const std::string& text) {
  return {Errc::kInvalidArgument, "'" + text +
                                      "' does not say when a process is ready: write notify, exec, none, "
                                      "tcp://HOST:PORT or http://HOST:PORT/PATH"};
}
}  // namespace

Result<ReadyRule> parse_ready(const std::string& text) {
  using Kind = ReadyRule::Kind;
  if (text == "none") return ReadyRule{Kind::kNone, {}, {}, {}};
  if (text == "exec") return ReadyRule{Kind::kExec, {}, {}, {}};
  if (text == "notify") return ReadyRule{Kind::kNotify, {}, {}, {}};
  const std::size_t slashes = text.find("://");
  if (slashes == std::string::npos) return malformed(text);
  const std::string scheme = text.substr(0, slashes), rest = text.substr(slashes + 3);
  const std::string path = rest.find('/') == std::string::npos ? "/" : rest.substr(rest.find('/'));
  std::string where = rest.substr(0, rest.find('/'));
  if (scheme == "http" && (where.ends_with(']') || where.find(':') == std::string::npos)) where += ":80";
  const std::size_t colon = where.rfind(':');
  if ((scheme != "tcp" && scheme != "http") || colon == std::string::npos || colon == 0) return malformed(text);
  ReadyRule rule{scheme == "tcp" ? Kind::kTcp : Kind::kHttp, where.substr(0, colon), where.substr(colon + 1), path};
  if (rule.host.starts_with('[') && rule.host.ends_with(']')) rule.host = rule.host.substr(1, rule.host.size() - 2);
  return rule;
}

short Probe::events() const {
  if (step_ == Step::kConnecting) return POLLOUT;
  return step_ == Step::kAnswering ? POLLIN : 0;
}

void Probe::close_now() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void Probe::failed(const std::string& why, Instant now) {
  last_ = why;
  close_now();
  step_ = Step::kIdle;
  next_ = now + kPause;
}

void Probe::connect_now(Instant now) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  if (const int rc = getaddrinfo(rule_.host.c_str(), rule_.port.c_str(), &hints, &found); rc != 0)
    return failed(rule_.host + ": " + gai_strerror(rc), now);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  fd_ = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  give_up_ = next_ = now + kTryFor;
  answer_.clear();
  step_ = Step::kConnecting;
  if (fd_ < 0 || (connect(fd_, list->ai_addr, list->ai_addrlen) != 0 && errno != EINPROGRESS))
    failed("the probe cannot connect: " + std::string(std::strerror(errno)), now);
}

bool Probe::accepted(Instant now) {
  next_ = now + kLook;
  switch (owner_of_other_end(fd_, group_)) {
    case Owner::kNobodyYet:
      if (now >= give_up_) failed("nobody accepted the probe's connection", now);
      return false;
    case Owner::kOther:
      failed("another process answered the probe", now);
      next_ = now + kLook;  // the old one is as quick; ask again soon
      return ++lost_ % kLostEnough == 0 &&
             std::ranges::any_of(listening_, [this](int fd) { return watches(group_, fd); });
    case Owner::kOurs:
      lost_ = 0;
      break;
  }
  if (rule_.kind == ReadyRule::Kind::kTcp) return true;
  const std::string request = "GET " + rule_.path + " HTTP/1.1\r\nHost: " + rule_.host + ":" + rule_.port +
                              "\r\nUser-Agent: outlast-run\r\nConnection: close\r\n\r\n";
  if (send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    failed("the process closed the probe's connection", now);
    return false;
  }
  step_ = Step::kAnswering;
  next_ = give_up_ = now + kTryFor;
  return false;
}

bool Probe::answered(Instant now) {
  char text[256];
  const ssize_t n = recv(fd_, text, sizeof text, 0);
  if (n > 0) answer_.append(text, static_cast<std::size_t>(n));
  if (answer_.size() >= std::strlen("HTTP/1.1 200")) {
    const bool good = answer_.starts_with("HTTP/1.") && (answer_[9] == '2' || answer_[9] == '3');
    if (!good) failed("it answered \"" + answer_.substr(0, answer_.find('\r')) + "\"", now);
    return good;
  }
  if (n == 0 || (n < 0 && errno != EAGAIN)) failed("the process closed the probe's connection", now);
  return false;
}

bool Probe::step(Instant now) {
  if (step_ == Step::kIdle && now >= next_) connect_now(now);
  if (step_ == Step::kConnecting) {
    pollfd p{fd_, POLLOUT, 0};
    if (poll(&p, 1, 0) == 1) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) failed(std::string("the probe cannot connect: ") + std::strerror(error), now);
      if (error == 0) step_ = Step::kAccepting;
    }
  }
  bool done = false;
  if (step_ == Step::kAccepting) done = accepted(now);
  if (step_ == Step::kAnswering) done = answered(now);
  if (done) close_now();
  if (!done && step_ != Step::kIdle && step_ != Step::kAccepting && now >= give_up_)
    failed("no answer to the probe within 1 s", now);
  return done;
}

}  // namespace outlast::run
