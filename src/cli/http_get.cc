#include "cli/http_get.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
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

bool same_letters(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// The value of a header, empty when it is not there.
std::string header(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(head.size(), line.size() + 2));
    if (line.size() <= name.size() || line[name.size()] != ':' || !same_letters(line.substr(0, name.size()), name))
      continue;
    const auto value = line.find_first_not_of(' ', name.size() + 1);
    return std::string(value == std::string_view::npos ? "" : line.substr(value));
  }
  return "";
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
  answer.location = header(bytes.substr(0, end), "location");
  answer.body = bytes.substr(end + 4);
  return answer;
}

namespace {
Result<void> send_all(int fd, std::string_view bytes, Steady::time_point deadline) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLOUT, deadline)) {
      return Error(Errc::kUnavailable, "");
    }
  }
  return {};
}

/// `head`: without its last, empty line.
Result<HttpAnswer> ask(const std::string& address, const std::string& head, const std::string& body, Duration timeout) {
  const auto deadline = Steady::now() + timeout;
  Socket socket;
  TRY(open(address, socket, deadline));
  // HTTP/1.0: the answer ends with the connection, and never comes in chunks.
  // Who does not take all of a body may have answered already.
  const bool sent = send_all(socket.fd, head + "Host: " + address + "\r\n\r\n" + body, deadline).ok();
  if (!sent && body.empty()) return Error(Errc::kUnavailable, address + " does not take a request");
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
  return ask(address, "GET " + path + " HTTP/1.0\r\n", "", timeout);
}

Result<HttpAnswer> http_post(const std::string& address, const std::string& path, Duration timeout) {
  return ask(address, "POST " + path + " HTTP/1.0\r\nContent-Length: 0\r\n", "", timeout);
}

Result<HttpAnswer> http_send(const std::string& address, const HttpRequest& request, Duration timeout) {
  std::string head = request.method + " " + request.path + " HTTP/1.0\r\n";
  for (const std::string& line : request.headers) head += line + "\r\n";
  return ask(address, head + "Content-Length: " + std::to_string(request.body.size()) + "\r\n", request.body, timeout);
}

std::optional<HttpTarget> split_http_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  const auto slash = std::min(url.find('/'), url.size());
  std::string_view address = url.substr(0, slash);
  if (const auto at = address.rfind('@'); at != std::string_view::npos) address.remove_prefix(at + 1);
  if (address.empty()) return std::nullopt;
  return HttpTarget{std::string(address), slash == url.size() ? "/" : std::string(url.substr(slash))};
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
