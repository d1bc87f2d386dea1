// Records come in from outside SQL, through restarts of the node that takes them (protocol A8.6), on real processes.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <fstream>
#include <thread>

#include "cli/http_get.h"
#include "support/cluster.h"
#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;

constexpr const char* kInputs = R"(
[[input]]
type = "syslog"
name = "udp"
listen = "udp://127.0.0.1:0"
parser = "syslog"
[[input]]
type = "tcp"
name = "tcp"
listen = "tcp://127.0.0.1:0"
[[sink]]
type = "table"
match = "**"
database = "defaultdb"
table = "logs"
[sink.buffer]
flush_interval = "50ms"
)";

/// Sends numbered records, over UDP or over one TCP connection in pieces that end in the middle of a record.
class Sender {
 public:
  Sender(int port, bool stream) : stream_(stream), fd_(socket(AF_INET, stream ? SOCK_STREAM : SOCK_DGRAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("cannot connect");
    thread_ = std::thread([this] { stream_ ? send_stream() : send_datagrams(); });
  }
  ~Sender() { stop(); }
  /// How many were sent.
  long stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
    if (fd_ >= 0) close(std::exchange(fd_, -1));
    return sent_;
  }
  bool broken() const { return broken_; }

 private:
  void send_datagrams() {
    for (; !over_; ++sent_) {
      const std::string record = "<13>1 2026-01-02T03:04:05Z host app - - - n=" + std::to_string(sent_);
      broken_ = broken_ || send(fd_, record.data(), record.size(), MSG_NOSIGNAL) < 0;
      if (sent_ % 16 == 15) std::this_thread::sleep_for(4ms);  // a rate that any machine takes
    }
  }
  void send_stream() {
    std::string waiting;
    for (; !over_ && !broken_; ++sent_) {
      waiting += "n=" + std::to_string(sent_) + "\n";
      if (sent_ % 16 != 15) continue;
      const std::size_t piece = waiting.size() - 3;
      broken_ = send(fd_, waiting.data(), piece, MSG_NOSIGNAL) != static_cast<ssize_t>(piece);
      waiting.erase(0, piece);
      std::this_thread::sleep_for(4ms);
    }
    if (!broken_) broken_ = send(fd_, waiting.data(), waiting.size(), MSG_NOSIGNAL) < 0;
  }
  const bool stream_;
  int fd_;
  std::atomic<bool> over_{false}, broken_{false};
  long sent_{0};
  std::thread thread_;
};

class IngestTest : public testing_support::RestartsTest {
 protected:
  void start() {
    const std::string file = dir() + "/inputs.toml";
    std::ofstream(file) << kInputs;
    use_start({"--config=" + file});
    ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  }
  json::object status() {
    const auto facts = cluster().facts(0);
    const auto answer =
        facts.ok() ? cli::http_get(facts->http_addr, "/api/ingest", 5s) : Result<cli::HttpAnswer>(facts.error());
    boost::system::error_code error;
    const json::value parsed = answer.ok() ? json::parse(answer->body, error) : json::value();
    return parsed.is_object() ? parsed.as_object() : json::object();
  }
  int port(const std::string& input) {
    for (const json::value& one : status().at("inputs").as_array())
      if (one.at("name").as_string() == input) return one.at("port").to_number<int>();
    return 0;
  }
  std::string stored(const std::string& tag) {
    return value(0, "defaultdb",
                 "SELECT count(DISTINCT fields) || ' of ' || count(*) FROM logs WHERE tag = '" + tag + "'");
  }
  /// Every record that was sent is there, once.
  void expect_stored(const std::string& tag, long sent) {
    const std::string all = std::to_string(sent) + " of " + std::to_string(sent);
    const auto waited = cluster().wait_until(tag + " records", 30s, [&] { return stored(tag) == all; });
    EXPECT_TRUE(waited.ok()) << stored(tag) << ", sent " << sent;
  }
};

TEST_F(IngestTest, ARestartLosesNoRecordDoublesNoneAndResetsNoSender) {
  ASSERT_NO_FATAL_FAILURE(start());
  Sender datagrams(port("udp"), false), stream(port("tcp"), true);
  for (int i = 0; i < 4; ++i) {
    const json::object receipt = restart();
    EXPECT_EQ(receipt.at("outcome").as_string(), "completed") << json::serialize(receipt);
    const json::object& inputs = receipt.at("inputs").as_object();
    for (const char* what : {"kernel_drops", "order_breaks"}) EXPECT_EQ(inputs.at(what).to_number<int>(), 0) << what;
    EXPECT_EQ(inputs.at("taken_over").to_number<int>(), 2);
    EXPECT_GT(inputs.at("longest_gap_ms").to_number<double>(), 0);
  }
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("udp", udp);
  expect_stored("tcp", tcp);
}

TEST_F(IngestTest, AKilledWorkerLeavesTheSocketsAndStoresNothingTwice) {
  ASSERT_NO_FATAL_FAILURE(start());
  Sender datagrams(port("udp"), false);
  const auto killed = cluster().kill_worker(0);
  ASSERT_TRUE(killed.ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
  const long sent = datagrams.stop();
  EXPECT_FALSE(datagrams.broken()) << "the socket lives in the supervisor";
  const auto waited = cluster().wait_until("the last record", 30s, [&] {
    return value(0, "defaultdb",
                 "SELECT count(*) FROM logs WHERE fields::text LIKE '%\"n=" + std::to_string(sent - 1) + "\"%'") == "1";
  });
  EXPECT_TRUE(waited.ok());
  const std::string count = stored("udp");
  EXPECT_EQ(count.substr(0, count.find(' ')), count.substr(count.rfind(' ') + 1)) << "nothing twice: " << count;
}

}  // namespace
}  // namespace outlast
