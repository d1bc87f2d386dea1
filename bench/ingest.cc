// The senders of bench/ingest.py, and the one who looks what came of their records: as cheap as can be, because they
// share the processors with what is measured. Each ends with one line of JSON.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "ingest/input/socket.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t kRecord = 200, kAtOnce = 64, kBody = 100;
constexpr Duration kStep = 2ms, kBehindMax = 10ms;
constexpr int kSocketBuffer = 256 << 10;

std::atomic<bool> over{false};

double seconds_since(Instant began) {
  return std::chrono::duration<double>(boot_now() - began).count();
}

void sleep_until(Instant when) {
  const auto since_boot = when.time_since_epoch();
  const timespec at{static_cast<time_t>(since_boot / 1s), static_cast<long>((since_boot % 1s).count())};
  clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &at, nullptr);
}

struct Target {
  std::string kind;  ///< udp, tcp (a line each), octets (RFC 6587's counts), http (acknowledged)
  std::uint16_t port{0};
};

struct Counts {
  std::uint64_t sent{0}, resets{0}, again{0};
};

/// One socket with numbered records "#SENDER NUMBER" of 200 bytes.
class Sender {
 public:
  Sender(Target target, std::size_t number)
      : target_(std::move(target)), texts_(kAtOnce), pieces_(kAtOnce), headers_(kAtOnce) {
    char head[96];
    const int size = std::snprintf(head, sizeof head, "<13>Nov 26 15:00:00 bench app[1]: #%zu ", number);
    std::string text(head, static_cast<std::size_t>(size));
    digits_ = text.size();
    text.resize(kRecord, '.');
    text[digits_ + 10] = ' ';
    if (target_.kind == "tcp") text.back() = '\n';
    if (target_.kind == "octets") text.insert(0, std::to_string(kRecord) + " ");
    if (target_.kind == "http") text = "{\"message\":\"" + text + "\"}\n";
    digits_ = text.find('#') + 3;
    for (std::size_t i = 0; i < kAtOnce; ++i) {
      texts_[i] = text;
      pieces_[i] = {texts_[i].data(), texts_[i].size()};
      headers_[i].msg_hdr = {nullptr, 0, &pieces_[i], 1, nullptr, 0, 0};
    }
    if (!connect_once()) std::exit(1);
  }

  void send(std::uint64_t count) {
    if (target_.kind == "udp") return send_datagrams(count);
    all_.clear();
    for (std::uint64_t i = 0; i < count; ++i) {
      number(texts_[0]);
      all_ += texts_[0];
    }
    target_.kind == "http" ? post() : send_stream();
  }

  /// How many go at once, at most.
  std::uint64_t most() const { return target_.kind == "http" ? kBody : kAtOnce; }
  const Counts& counts() const { return counts_; }
  void finish() {
    if (target_.kind != "udp") shutdown(socket_.get(), SHUT_WR);
  }

 private:
  void number(std::string& text) {
    std::uint64_t rest = counts_.sent++;
    for (std::size_t i = digits_ + 10; i-- > digits_; rest /= 10) text[i] = static_cast<char>('0' + rest % 10);
  }

  void send_datagrams(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) number(texts_[i]);
    for (std::uint64_t done = 0; done < count && !over;) {
      const int n = sendmmsg(socket_.get(), headers_.data() + done, static_cast<unsigned>(count - done), 0);
      // Nobody listens, says an earlier datagram's answer: that one is lost, this one goes again.
      if (n > 0) done += static_cast<std::uint64_t>(n);
    }
  }

  // What the kernel took is sent; what it did not take goes over the next connection.
  void send_stream() {
    const std::size_t record = texts_[0].size();
    for (std::size_t done = 0; done < all_.size();) {
      const ssize_t n = ::send(socket_.get(), all_.data() + done, all_.size() - done, MSG_NOSIGNAL);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
        continue;
      }
      if (!connect_again()) return;
      done -= done % record;
    }
  }

  // Until it is acknowledged.
  void post() {
    const std::string request =
        "POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\nContent-Length: " +
        std::to_string(all_.size()) + "\r\n\r\n" + all_;
    for (int status = 0; status != 200;) {
      const bool sent = ::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) > 0;
      status = sent ? answer() : 0;
      if (status == 200) return;
      ++counts_.again;
      if (status != 0) std::this_thread::sleep_for(kStep);
      if (status == 0 && !connect_again()) return;
    }
  }

  /// Its status; 0: the connection is gone.
  int answer() {
    std::string text;
    char piece[2048];
    for (std::size_t end = std::string::npos, size = 0; end == std::string::npos || text.size() < end + 4 + size;) {
      const ssize_t n = recv(socket_.get(), piece, sizeof piece, 0);
      if (n <= 0) return 0;
      text.append(piece, static_cast<std::size_t>(n));
      if (end == std::string::npos) end = text.find("\r\n\r\n");
      if (const auto at = text.find("Content-Length: "); at != std::string::npos)
        size = std::strtoul(text.data() + at + 16, nullptr, 10);
    }
    return std::atoi(text.data() + sizeof "HTTP/1.1");
  }

  /// False: there is no time left for it.
  bool connect_again() {
    ++counts_.resets;
    for (; !over; std::this_thread::sleep_for(1ms))
      if (connect_once()) return true;
    return false;
  }

  bool connect_once() {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(target_.port);
    socket_ = Fd(socket(AF_INET, (target_.kind == "udp" ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
    setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
    return connect(socket_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }

  Target target_;
  Fd socket_;
  std::vector<std::string> texts_;
  std::vector<iovec> pieces_;
  std::vector<mmsghdr> headers_;
  std::string all_;
  std::size_t digits_{0};
  Counts counts_;
};

/// `rate` a second; 0: as fast as it goes. Time that was lost is not made good by bursts.
void run(Sender& sender, double rate, double seconds) {
  const Instant began = boot_now();
  Instant since = began;
  std::uint64_t before = 0;
  for (Instant next = began; !over && seconds_since(began) < seconds; next += kStep) {
    if (rate <= 0) {
      sender.send(sender.most());
      continue;
    }
    double due = seconds_since(since) * rate - static_cast<double>(sender.counts().sent - before);
    if (const double most = rate * std::chrono::duration<double>(kBehindMax).count(); due > most) {
      since = boot_now() - kBehindMax;
      before = sender.counts().sent;
      due = most;
    }
    for (auto left = static_cast<std::uint64_t>(std::max(due, 0.0)); left > 0 && !over;) {
      const std::uint64_t now = std::min(left, sender.most());
      sender.send(now);
      left -= now;
    }
    next = std::max(next, boot_now() - kStep);
    sleep_until(next + kStep);
  }
  sender.finish();
}

int send(double seconds, double rate, const std::vector<Target>& targets) {
  std::signal(SIGTERM, [](int) { over = true; });
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  std::vector<Sender> senders;
  for (std::size_t i = 0; i < targets.size(); ++i) senders.emplace_back(targets[i], i);
  const Instant began = boot_now();
  {
    std::vector<std::jthread> threads;
    for (Sender& sender : senders)
      threads.emplace_back(run, std::ref(sender), rate / static_cast<double>(senders.size()), seconds);
  }
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  Counts sum;
  std::string each;
  for (const Sender& sender : senders) {
    sum.sent += sender.counts().sent;
    sum.resets += sender.counts().resets;
    sum.again += sender.counts().again;
    each += (each.empty() ? "" : ",") + std::to_string(sender.counts().sent);
  }
  std::printf("{\"sent\":%lu,\"each\":[%s],\"resets\":%lu,\"again\":%lu,\"seconds\":%.3f,\"cpu_s\":%.3f}\n", sum.sent,
              each.c_str(), sum.resets, sum.again, seconds_since(began),
              static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                  1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
  return 0;
}
}  // namespace
}  // namespace outlast::ingest

int main(int words, char** word) {
  using namespace outlast::ingest;
  const std::string what = words > 1 ? word[1] : "";
  if (what == "send" && words > 4) {
    std::vector<Target> targets;
    for (int i = 4; i < words; ++i) {
      const std::string text = word[i];
      targets.push_back(
          {text.substr(0, text.find(':')), static_cast<std::uint16_t>(std::atoi(text.data() + text.find(':') + 1))});
    }
    return send(std::atof(word[2]), std::atof(word[3]), targets);
  }
  std::fprintf(stderr, "usage: %s send SECONDS RATE udp|tcp|octets|http:PORT…\n", word[0]);
  return 2;
}
