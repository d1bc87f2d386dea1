#include "support/record_sender.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
/// A rate that any machine takes.
constexpr long kBurst = 16;
constexpr auto kPause = 4ms;
}  // namespace

RecordSender::RecordSender(int port, Over over)
    : fd_(socket(AF_INET, (over == Over::kTcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    close(fd_);
    throw std::runtime_error("cannot connect to port " + std::to_string(port));
  }
  thread_ = std::thread([this, over] { over == Over::kTcp ? send_stream() : send_datagrams(); });
}

long RecordSender::stop() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  return sent_;
}

void RecordSender::send_all(const std::string& bytes) {
  if (send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) broken_ = true;
}

void RecordSender::send_datagrams() {
  for (; !over_; ++sent_) {
    send_all("<13>1 2026-01-02T03:04:05Z host app - - - n=" + std::to_string(sent_));
    if (sent_ % kBurst == kBurst - 1) std::this_thread::sleep_for(kPause);
  }
}

void RecordSender::send_stream() {
  std::string waiting;
  for (; !over_ && !broken_; ++sent_) {
    waiting += "n=" + std::to_string(sent_) + "\n";
    if (sent_ % kBurst != kBurst - 1) continue;
    const std::size_t piece = waiting.size() - 3;
    send_all(waiting.substr(0, piece));
    waiting.erase(0, piece);
    std::this_thread::sleep_for(kPause);
  }
  if (!broken_ && !waiting.empty()) send_all(waiting);
}

}  // namespace outlast::testing_support
