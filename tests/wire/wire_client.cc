#include "tests/wire/wire_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>

#include "sql/pgwire/cursor.h"

namespace outlast::testing {
namespace {
Error io_error(const char* what) {
  return Error(Errc::kIo, std::string(what) + ": " + std::strerror(errno));
}
void be_patient(int fd) {
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}
}  // namespace

WireClient::WireClient(int fd) : fd_(fd) {
  be_patient(fd);
}

WireClient::~WireClient() {
  close();
}

void WireClient::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<void> WireClient::connect(const std::string& host, int port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  be_patient(fd_);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return io_error("connect");
  return {};
}

Result<void> WireClient::start(const std::string& user, const std::string& database) {
  ASSIGN_OR_RETURN(const auto words, split_words("Startup 3.0 user=" + user + " database=" + database));
  ASSIGN_OR_RETURN(const std::string bytes, encode_message(words));
  TRY(send(bytes));
  for (;;) {
    ASSIGN_OR_RETURN(const auto message, read());
    if (!message) return Error(Errc::kUnavailable, "closed during start-up");
    if (message->type == 'E') return Error(Errc::kInvalidState, message->to_line());
    if (message->type == 'K') {
      sql::pgwire::Cursor in(message->body);
      pid = static_cast<std::int32_t>(in.u32());
      key = std::string(in.bytes(in.left()));
    }
    if (message->type == 'Z') return {};
  }
}

Result<void> WireClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return io_error("send");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<bool> WireClient::fill() {
  char chunk[65536];
  const ssize_t n = ::recv(fd_, chunk, sizeof chunk, 0);
  if (n < 0 && errno == ECONNRESET) return false;
  if (n < 0) return io_error("recv");
  buffer_.append(chunk, static_cast<std::size_t>(n));
  return n > 0;
}

Result<std::optional<BackendMessage>> WireClient::read() {
  for (;;) {
    if (buffer_.size() >= 5) {
      const std::size_t length = sql::pgwire::Cursor(std::string_view(buffer_).substr(1)).u32();
      if (buffer_.size() >= length + 1) {
        BackendMessage message{buffer_[0], buffer_.substr(5, length - 4)};
        buffer_.erase(0, length + 1);
        return std::optional(std::move(message));
      }
    }
    ASSIGN_OR_RETURN(const bool more, fill());
    if (!more) return std::optional<BackendMessage>();
  }
}

Result<std::string> WireClient::read_raw(std::size_t n) {
  while (buffer_.size() < n) {
    ASSIGN_OR_RETURN(const bool more, fill());
    if (!more) break;
  }
  std::string out = buffer_.substr(0, n);
  buffer_.erase(0, n);
  return out;
}

}  // namespace outlast::testing
