#include "cli/http_get.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <memory>

namespace outlast::cli {
namespace {
using Steady = std::chrono::steady_clock;
constexpr std::size_t kAnswerMax = 64U << 20;

struct Socket {
  int fd{-1};
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
};

bool wait_for(int fd, short events, Steady::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
    if (left <= 0) return false;
    pollfd p{fd, events, 0};
    if (::poll(&p, 1, static_cast<int>(left)) > 0) return true;
  }
}

Result<void> open(const std::string& address, Socket& socket, Steady::time_point deadline) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return Error(Errc::kInvalidArgument, address + " is not host:port");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0)
    return Error(Errc::kUnavailable, "cannot resolve " + address);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  socket.fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const Error refused(Errc::kUnavailable, "nobody answers at " + address);
  if (socket.fd < 0) return refused;
  if (::connect(socket.fd, found->ai_addr, found->ai_addrlen) == 0) return {};
  if (errno != EINPROGRESS || !wait_for(socket.fd, POLLOUT, deadline)) return refused;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return refused;
  return {};
}

}  // namespace

Result<HttpAnswer> parse_http_answer(std::string_view bytes) {
  const Error nonsense(Errc::kProtocolViolation, "the answer is not HTTP");
  HttpAnswer answer;
  const auto space = bytes.find(' ');
  const auto end = bytes.find("\r\n\r\n");
  if (!bytes.starts_with("HTTP/1.") || space == std::string_view::npos || end == std::string_view::npos)
    return nonsense;
  const char* digits = bytes.data() + space + 1;
  if (std::from_chars(digits, bytes.data() + end, answer.status).ec != std::errc{}) return nonsense;
  answer.body = bytes.substr(end + 4);
  return answer;
}

namespace {
Result<HttpAnswer> ask(const std::string& address, const std::string& head, Duration timeout) {
  const auto deadline = Steady::now() + timeout;
  Socket socket;
  TRY(open(address, socket, deadline));
  // HTTP/1.0: the answer ends with the connection, and never comes in chunks.
  const std::string request = head + "Host: " + address + "\r\n\r\n";
  if (::send(socket.fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    return Error(Errc::kUnavailable, address + " does not take a request");
  std::string bytes;
  char buffer[16384];
  for (;;) {
    if (!wait_for(socket.fd, POLLIN, deadline)) return Error(Errc::kUnavailable, address + " did not answer in time");
    const auto n = ::recv(socket.fd, buffer, sizeof buffer, 0);
    if (n == 0) return parse_http_answer(bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return Error(Errc::kUnavailable, address + " broke the connection");
    bytes.append(buffer, static_cast<std::size_t>(n));
    if (bytes.size() > kAnswerMax) return Error(Errc::kTooLarge, address + " answers without end");
  }
}

}  // namespace

Result<HttpAnswer> http_get(const std::string& address, const std::string& path, Duration timeout) {
  return ask(address, "GET " + path + " HTTP/1.0\r\n", timeout);
}

Result<HttpAnswer> http_post(const std::string& address, const std::string& path, Duration timeout) {
  return ask(address, "POST " + path + " HTTP/1.0\r\nContent-Length: 0\r\n", timeout);
}

std::string url_encoded(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (kPlain.contains(c))
      out += c;
    else
      out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
  }
  return out;
}

}  // namespace outlast::cli
