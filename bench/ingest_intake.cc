// The way in, alone: `receive` runs an input that writes its records to a file, a line each; `send` is a sender of
// numbered records at a steady rate. Each ends with one line of JSON. Run by bench/ingest_intake.py.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ingest/input/input.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t kAtOnce = 64;
constexpr Duration kStep = 1ms;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// One write(2) a batch, as a file sink would that has no buffer.
class ToFile final : public Intake {
 public:
  explicit ToFile(const char* path) : file_(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  Taken put(const std::string&, RecordBatch& batch, Ack, Callback<void> done) override {
    text_.clear();
    RawRecord record;
    for (auto reader = batch.read(); reader.next(record);) text_.append(record.bytes).push_back('\n');
    if (write(file_.get(), text_.data(), text_.size()) != static_cast<ssize_t>(text_.size())) return Taken::kRefused;
    done({});
    return Taken::kYes;
  }
  void on_room(Task room) override { room(); }

 private:
  Fd file_;
  std::string text_;
};

int receive(const std::string& type, std::uint16_t port, const char* path) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ToFile intake(path);
  InputOptions options;
  options.name = type;
  options.listen = {type, "127.0.0.1", port};
  const auto input = make_input(type == "udp" ? InputType::kUdp : InputType::kTcp, options, intake);
  if (const auto started = input->start(); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&ends, &signal);
  const StopReport report = input->stop();
  const InputCounters c = input->counters();
  std::printf(
      "{\"records\":%lu,\"batches\":%lu,\"drops\":%lu,\"longest_gap_ms\":%.1f,\"receive_buffer\":%lu,\"cpu_s\":%.3f}\n",
      c.records, c.batches, report.kernel_drops, static_cast<double>(c.longest_gap_nanos) / 1e6, c.receive_buffer,
      cpu_seconds());
  return 0;
}

class Sender {
 public:
  Sender(const std::string& type, std::uint16_t port, std::size_t sockets, std::size_t bytes)
      : stream_(type == "tcp"), texts_(kAtOnce, std::string(bytes, '.')), pieces_(kAtOnce), headers_(kAtOnce) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    for (std::size_t i = 0; i < sockets; ++i) {
      sockets_.emplace_back(socket(AF_INET, (stream_ ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
      if (connect(sockets_.back().get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) std::exit(1);
    }
    for (std::size_t i = 0; i < kAtOnce; ++i) {
      pieces_[i] = {texts_[i].data(), texts_[i].size()};
      headers_[i].msg_hdr = {nullptr, 0, &pieces_[i], 1, nullptr, 0, 0};
    }
  }
  void send(std::size_t count) {
    for (std::size_t at_once; count > 0; count -= at_once) {
      at_once = std::min(count, kAtOnce);
      for (std::size_t i = 0; i < at_once; ++i) number(texts_[i]);
      const int fd = sockets_[turn_++ % sockets_.size()].get();
      if (!stream_) {
        for (std::size_t done = 0; done < at_once;) {
          const int n = sendmmsg(fd, headers_.data() + done, static_cast<unsigned>(at_once - done), 0);
          if (n > 0) done += static_cast<std::size_t>(n);
        }
        continue;
      }
      std::string all;
      for (std::size_t i = 0; i < at_once; ++i) all += texts_[i];
      for (std::size_t done = 0; done < all.size();) {
        const ssize_t n = ::send(fd, all.data() + done, all.size() - done, MSG_NOSIGNAL);
        if (n < 0) std::exit(1);
        done += static_cast<std::size_t>(n);
      }
    }
  }
  std::uint64_t sent() const { return sent_; }

 private:
  void number(std::string& text) {
    char head[80];
    const int n = std::snprintf(head, sizeof head, "<13>Nov 26 15:00:00 bench app[1]: %010lu ", sent_++);
    std::memcpy(text.data(), head, static_cast<std::size_t>(n));
    if (stream_) text.back() = '\n';
  }
  bool stream_;
  std::vector<Fd> sockets_;
  std::vector<std::string> texts_;
  std::vector<iovec> pieces_;
  std::vector<mmsghdr> headers_;
  std::size_t turn_{0};
  std::uint64_t sent_{0};
};

int send(const std::string& type, std::uint16_t port, double rate, double seconds, std::size_t bytes) {
  Sender sender(type, port, 4, bytes);
  const Instant began = boot_now();
  for (Instant next = began;; next += kStep) {
    const double passed = std::chrono::duration<double>(boot_now() - began).count();
    if (passed >= seconds) break;
    const auto due = static_cast<std::uint64_t>(passed * rate);
    if (due > sender.sent()) sender.send(due - sender.sent());
    const auto until = next.time_since_epoch() + kStep;
    const timespec at{static_cast<time_t>(until / 1s), static_cast<long>((until % 1s).count())};
    clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &at, nullptr);
  }
  const double took = std::chrono::duration<double>(boot_now() - began).count();
  std::printf("{\"sent\":%lu,\"seconds\":%.3f,\"cpu_s\":%.3f}\n", sender.sent(), took, cpu_seconds());
  return 0;
}
}  // namespace
}  // namespace outlast::ingest

int main(int count, char** words) {
  using namespace outlast::ingest;
  const std::string what = count > 1 ? words[1] : "";
  if (what == "receive" && count == 5)
    return receive(words[2], static_cast<std::uint16_t>(std::atoi(words[3])), words[4]);
  if (what == "send" && count == 7)
    return send(words[2], static_cast<std::uint16_t>(std::atoi(words[3])), std::atof(words[4]), std::atof(words[5]),
                static_cast<std::size_t>(std::max(std::atoi(words[6]), 64)));
  std::fprintf(stderr, "usage: %s receive udp|tcp PORT FILE | send udp|tcp PORT RATE SECONDS BYTES\n", words[0]);
  return 2;
}
