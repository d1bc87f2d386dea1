#include "support/http_sender.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/http_get.h"

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
constexpr long kRecords = 4;
constexpr auto kPause = 4ms;
}  // namespace

int connect_to(int port, const std::string& host) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &to.sin_addr);
  const timeval patience{30, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

HttpSender::HttpSender(int port) : port_(port), thread_([this] { work(); }) {}

void HttpSender::stop() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
}

void HttpSender::work() {
  for (long n = 0; !over_; n += kRecords) {
    std::string body;
    for (long i = n; i < n + kRecords; ++i) body += "{\"message\":\"n=" + std::to_string(i) + "\"}\n";
    if (post(body)) {
      for (long i = n; i < n + kRecords; ++i) acknowledged_.push_back(i);
      ++answered_;
    } else {
      ++failures_;
    }
    std::this_thread::sleep_for(kPause);
  }
}

bool HttpSender::post(const std::string& body) {
  const int fd = connect_to(port_);
  const std::string request =
      "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\n"
      "Connection: close\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  std::string answer;
  if (fd < 0 || send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    failure_ = std::strerror(errno);
  } else {
    char bytes[1024];
    ssize_t count = 0;
    while ((count = recv(fd, bytes, sizeof bytes, 0)) > 0) answer.append(bytes, static_cast<std::size_t>(count));
    if (count < 0) failure_ = std::strerror(errno);
  }
  if (fd >= 0) close(fd);
  const auto parsed = cli::parse_http_answer(answer);
  if (parsed.ok() && parsed->status == 200) return true;
  if (!answer.empty()) failure_ = answer;
  return false;
}

}  // namespace outlast::testing_support
