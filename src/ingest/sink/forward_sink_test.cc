#include "ingest/sink/forward_sink.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "ingest/forward.h"
#include "ingest/input/unpack.h"
#include "ingest/testing/batches.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using testing_support::batch_of;
using Texts = std::vector<std::string>;

/// Answers one request after another with the given statuses; 0 closes the connection without a word, -1 never answers.
class Receiver {
 public:
  explicit Receiver(std::vector<int> statuses) : statuses_(std::move(statuses)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Receiver() {
    ::shutdown(listener_, SHUT_RDWR);
    if (connection_ >= 0) ::shutdown(connection_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/app"; }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int connections() const { return connections_; }

 private:
  void serve() {
    std::size_t answered = 0;
    while (answered < statuses_.size()) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connection_ = fd;
      ++connections_;
      while (answered < statuses_.size() && read_request(fd)) {
        const int status = statuses_[answered++];
        if (status == 0) break;
        if (status < 0) {
          (void)read_request(fd);
          break;
        }
        const std::string answer =
            "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 4\r\nRetry-After: 1\r\n\r\nbody";
        (void)!::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      connection_ = -1;
      ::close(fd);
    }
  }
  bool read_request(int fd) {
    std::string bytes;
    char piece[4096];
    for (;;) {
      const auto end = bytes.find("\r\n\r\n");
      const auto length = bytes.find("Content-Length: ");
      if (end != std::string::npos && length < end && bytes.size() >= end + 4 + std::stoul(bytes.substr(length + 16)))
        break;
      const ssize_t got = ::recv(fd, piece, sizeof piece, 0);
      if (got <= 0) return false;
      bytes.append(piece, static_cast<std::size_t>(got));
    }
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(bytes));
    return true;
  }
  std::vector<int> statuses_;
  int listener_{-1};
  std::uint16_t port_{0};
  std::atomic<int> connection_{-1}, connections_{0};
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

class ForwardSinkTest : public testing::Test {
 protected:
  Result<void> write(ForwardSink& sink, std::uint64_t sequence = 1) {
    auto chunk = MemoryChunkStore().create({.id = {1, sequence}, .tag = "app.web"}).value();
    EXPECT_TRUE(chunk->append(batch_of({"one", "two"})).ok());
    Result<void> result = Error(Errc::kInternal, "no answer");
    sink.write(chunk, [&result](Result<void> how) { result = std::move(how); });
    return result;
  }
  ForwardSink sink(const std::string& url, Duration timeout = 10s) {
    return {{.target = HttpTarget::parse(url).value(), .timeout = timeout}, decoder_};
  }
  Decoder decoder_;
};

TEST_F(ForwardSinkTest, SendsAChunkWithItsIdAndTag) {
  Receiver receiver({200, 200});
  ForwardSink forward = sink(receiver.url());
  EXPECT_TRUE(write(forward).ok());
  EXPECT_TRUE(write(forward, 2).ok());
  const std::string request = receiver.requests().at(0);
  EXPECT_TRUE(request.starts_with("POST /app HTTP/1.1\r\n"));
  EXPECT_NE(request.find("Outlast-Chunk-Id: 0000000000000001-0000000000000001\r\n"), std::string::npos);
  EXPECT_NE(request.find("Outlast-Tag: app.web\r\n"), std::string::npos);
  EXPECT_NE(request.find("Content-Type: " + std::string(kRecordsType) + "\r\n"), std::string::npos);
  EXPECT_NE(request.find("Content-Encoding: zstd\r\n"), std::string::npos);
  const auto body = unpack(Packing::kZstd, request.substr(request.find("\r\n\r\n") + 4), 1 << 20);
  ASSERT_TRUE(body.ok());
  const RecordBatch sent = RecordBatch::from(*body).value();
  RawRecord raw;
  Texts records;
  for (auto reader = sent.read(); reader.next(raw);)
    records.push_back(std::to_string(raw.received_micros) + " " + std::string(raw.peer) + " " + std::string(raw.bytes));
  EXPECT_EQ(records, (Texts{"1700000000000000 192.0.2.7 {\"message\":\"one\"}",
                            "1700000000000000 192.0.2.7 {\"message\":\"two\"}"}));
  EXPECT_EQ(receiver.connections(), 1) << "the connection is kept";
}

TEST_F(ForwardSinkTest, KnowsWhatCanBeTriedAgain) {
  Receiver receiver({503, 429, 400, 413});
  ForwardSink forward = sink(receiver.url());
  EXPECT_EQ(write(forward).error().code, Errc::kUnavailable);
  EXPECT_EQ(write(forward).error().code, Errc::kUnavailable);
  EXPECT_TRUE(is_final(write(forward).error()));
  EXPECT_TRUE(is_final(write(forward).error()));
}

TEST_F(ForwardSinkTest, ConnectsAgainWhenTheOtherSideHasClosed) {
  Receiver receiver({200, 0, 200});
  ForwardSink forward = sink(receiver.url());
  EXPECT_TRUE(write(forward).ok());
  EXPECT_TRUE(write(forward, 2).ok());
  EXPECT_EQ(receiver.connections(), 2);
}

TEST_F(ForwardSinkTest, IsUnavailableWhenNobodyAnswers) {
  std::string url;
  {
    url = Receiver({}).url();
  }
  ForwardSink forward = sink(url);
  EXPECT_EQ(write(forward).error().code, Errc::kUnavailable);
  Receiver silent({-1});
  ForwardSink waiting = sink(silent.url(), 50ms);
  EXPECT_EQ(write(waiting).error().code, Errc::kUnavailable);
}

TEST_F(ForwardSinkTest, StopsInTheMiddle) {
  Receiver silent({-1});
  ForwardSink forward = sink(silent.url(), 1h);
  std::thread stopper([&] {
    while (silent.requests().empty()) std::this_thread::yield();
    forward.stop();
  });
  EXPECT_EQ(write(forward).error().code, Errc::kShuttingDown);
  stopper.join();
  EXPECT_EQ(write(forward).error().code, Errc::kShuttingDown);
}

TEST(HttpTarget, IsReadFromAUrl) {
  const auto target = HttpTarget::parse("http://[::1]:9880/a?b=c").value();
  EXPECT_EQ(target.host, "::1");
  EXPECT_EQ(target.port, "9880");
  EXPECT_EQ(target.path, "/a?b=c");
  EXPECT_EQ(HttpTarget::parse("http://web1").value().port, "80");
  EXPECT_EQ(HttpTarget::parse("http://web1").value().path, "/");
  for (const char* url : {"", "web1", "https://web1", "http://", "http://:80", "http://a:b", "http://a/b c"})
    EXPECT_EQ(HttpTarget::parse(url).error().code, Errc::kInvalidArgument) << url;
}

}  // namespace
}  // namespace outlast::ingest
