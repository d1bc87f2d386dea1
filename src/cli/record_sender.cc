#include "cli/record_sender.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cli/record_http.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t kWaitingMax = 1U << 20;  ///< More is not made ready for a connection that takes nothing.
constexpr auto kPollLongest = 100ms;

bool wait_for(int fd, short events, std::chrono::milliseconds longest) {
  pollfd one{fd, events, 0};
  return ::poll(&one, 1, static_cast<int>(longest.count())) > 0;
}

class DatagramSender final : public RecordSender {
 public:
  explicit DatagramSender(SenderPlan plan) : RecordSender(std::move(plan)) {}
  void send_until(std::uint64_t due) override {
    while (sent() < due && connect()) {
      const std::string record = framed_record(sent());
      if (::send(fd(), record.data(), record.size(), 0) < 0) return count([](SenderCounts& c) { ++c.send_errors; });
      count([](SenderCounts& c) { ++c.sent; });
    }
  }
  void finish(std::uint64_t due, Steady::time_point deadline) override {
    send_until(due);
    while (sent() < due && Steady::now() < deadline) {
      wait_for(-1, 0, kPollLongest);
      send_until(due);
    }
  }
};

class StreamSender final : public RecordSender {
 public:
  explicit StreamSender(SenderPlan plan) : RecordSender(std::move(plan)) {}
  void send_until(std::uint64_t due) override {
    if (!make_ready(due) || waiting_.empty()) return;
    // Of the last record something stays for the next time, now more, now less.
    const std::size_t kept = 1 + made_ % (framed_record(made_ - 1).size() - 1);
    if (kept < waiting_.size()) push(waiting_.size() - kept);
  }
  void finish(std::uint64_t due, Steady::time_point deadline) override {
    while (sent() < due && Steady::now() < deadline) {
      if (make_ready(due)) push(waiting_.size());
      if (sent() < due) wait_for(fd(), fd() < 0 ? 0 : POLLOUT, kPollLongest);
    }
    disconnect();
  }

 private:
  bool make_ready(std::uint64_t due) {
    if (fd() >= 0 && closed_by_peer()) lost();
    if (!connect()) return false;
    while (made_ < due && waiting_.size() < kWaitingMax) waiting_ += framed_record(made_++);
    return true;
  }
  bool closed_by_peer() const {
    char byte = 0;
    const auto n = ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  }
  void push(std::size_t bytes) {
    const auto n = ::send(fd(), waiting_.data(), bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return lost();
    if (n <= 0) return;
    waiting_.erase(0, static_cast<std::size_t>(n));
    out_ += static_cast<std::size_t>(n);
    for (std::size_t size = 0; sent() < made_ && out_ >= (size = framed_record(sent()).size()); out_ -= size)
      count([](SenderCounts& c) { ++c.sent; });
  }
  /// The record that went out by half goes again as a whole: nobody has its other half.
  void lost() {
    disconnect();
    count([](SenderCounts& c) { ++c.resets; });
    waiting_.clear();
    made_ = sent();
    out_ = 0;
  }

  std::string waiting_;  ///< From the middle of record sent() to the end of record made_ - 1.
  std::uint64_t made_{0};
  std::size_t out_{0};  ///< Bytes of record sent() that are out.
};

class HttpSender final : public RecordSender {
 public:
  explicit HttpSender(SenderPlan plan) : RecordSender(std::move(plan)) {}
  void send_until(std::uint64_t due) override {
    if (sent() < due) request(std::min<std::uint64_t>(due - sent(), kRecordsMax));
  }
  void finish(std::uint64_t due, Steady::time_point deadline) override {
    while (sent() < due && Steady::now() < deadline) {
      const std::uint64_t before = sent();
      send_until(due);
      if (sent() == before) wait_for(-1, 0, kPollLongest);
    }
    disconnect();
  }

 private:
  static constexpr std::uint64_t kRecordsMax = 1000;  ///< Of one request.
  static constexpr auto kAnswerLimit = 30s;

  void request(std::uint64_t records) {
    if (fd() >= 0 && wait_for(fd(), POLLIN, 0ms)) disconnect();  // a server may close between two requests
    if (!connect()) return;
    std::string body;
    for (std::uint64_t i = 0; i < records; ++i) body += framed_record(sent() + i);
    const std::uint64_t begun_before = counts().begun;
    count([&](SenderCounts& c) {
      if (c.begun > c.sent) c.retried += std::min(c.begun - c.sent, records);
      c.begun = std::max(c.begun, c.sent + records);
    });
    const auto answer = ask(post_request(plan().host, body));
    if (!answer || answer->close) disconnect();
    count([&](SenderCounts& c) {
      if (!answer) {
        ++c.resets;
      } else if (answer->status == 200) {
        c.sent += records;
      } else {
        ++c.send_errors;
        if (answer->status == 429) c.begun = begun_before;  // none of them was taken
      }
    });
  }
  std::optional<PostAnswer> ask(const std::string& text) {
    std::size_t out = 0;
    while (out < text.size()) {
      const auto n = ::send(fd(), text.data() + out, text.size() - out, MSG_NOSIGNAL);
      if (n <= 0) return std::nullopt;
      out += static_cast<std::size_t>(n);
    }
    std::string bytes;
    char buffer[4096];
    for (const auto deadline = Steady::now() + kAnswerLimit; Steady::now() < deadline;) {
      if (const auto answer = read_post_answer(bytes)) return answer;
      if (!wait_for(fd(), POLLIN, kPollLongest)) continue;
      const auto n = ::recv(fd(), buffer, sizeof buffer, 0);
      if (n <= 0) return std::nullopt;
      bytes.append(buffer, static_cast<std::size_t>(n));
    }
    return std::nullopt;
  }
};

}  // namespace

void SenderCounts::add(const SenderCounts& more) {
  sent += more.sent;
  begun += more.begun;
  send_errors += more.send_errors;
  resets += more.resets;
  retried += more.retried;
}

std::unique_ptr<RecordSender> RecordSender::make(SenderPlan plan) {
  if (is_datagram(plan.kind)) return std::make_unique<DatagramSender>(std::move(plan));
  if (plan.kind == RecordKind::kHttp) return std::make_unique<HttpSender>(std::move(plan));
  return std::make_unique<StreamSender>(std::move(plan));
}

RecordSender::~RecordSender() {
  disconnect();
}

SenderCounts RecordSender::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

bool RecordSender::connect() {
  if (fd_ >= 0) return true;
  fd_ = ::socket(AF_INET, (is_datagram(plan_.kind) ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(plan_.port);
  const timeval longest{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);  // of connect() too
  if (::inet_pton(AF_INET, plan_.host.c_str(), &to.sin_addr) == 1 &&
      ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0)
    return true;
  disconnect();
  count([](SenderCounts& c) { ++c.send_errors; });
  return false;
}

void RecordSender::disconnect() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace outlast::cli
