// Records over HTTP through restarts and crashes of the nodes that take and forward them, on real processes.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "cli/http_get.h"
#include "cli/restart_source.h"
#include "ingest/buffer/chunk.h"
#include "ingest/sink/compress.h"
#include "support/cluster.h"
#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using ingest::Compression;
namespace json = boost::json;

/// Posts numbered records over one connection that is kept, the next ones when the last are answered.
class Poster {
 public:
  /// `stubborn`: gives each request an id, and sends it again, on a new connection, until it is answered 200.
  Poster(int port, Compression packing, std::uint64_t number, bool stubborn = false)
      : port_(port), packing_(packing), number_(number), stubborn_(stubborn), thread_([this] { work(); }) {}
  ~Poster() { stop(); }
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
    drop();
  }
  int fd() const { return fd_; }
  long acknowledged() const { return acknowledged_; }
  long failures() const { return failures_; }
  /// What a client saw that it should not have, first of all. After stop().
  const std::string& trouble() const { return trouble_; }

 private:
  static constexpr int kRecords = 3;

  void work() {
    for (std::uint64_t request = 0; !over_; ++request) {
      const std::string bytes = request_bytes(request);
      bool taken = exchange(bytes);
      while (!taken && stubborn_ && !given_up()) taken = exchange(bytes);
      if (!taken) return;
      acknowledged_ += kRecords;
    }
  }
  /// A stubborn one has to know, or nobody can say how many there must be.
  bool given_up() const { return over_ && failures_ > 10'000; }

  std::string request_bytes(std::uint64_t request) const {
    std::string body, packed;
    for (int i = 0; i < kRecords; ++i)
      body += "{\"n\":\"" + std::to_string(number_) + "." + std::to_string(request) + "." + std::to_string(i) + "\"}\n";
    if (const auto packer = ingest::Compressor::make(packing_)) {
      (void)packer->compress(body, true, packed).ok();
      body = packed;
    }
    std::string head = "POST /app HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\n";
    if (packing_ != Compression::kNone)
      head += std::string("Content-Encoding: ") + (packing_ == Compression::kGzip ? "gzip" : "zstd") + "\r\n";
    if (stubborn_) head += "Outlast-Chunk-Id: " + ingest::ChunkId{number_, request}.to_string() + "\r\n";
    return head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  bool exchange(const std::string& request) {
    if (fd_ < 0 && !connect()) return fail("cannot connect");
    if (send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      return fail("the connection broke while a request was sent");
    std::string answer;
    std::size_t end = std::string::npos;
    while ((end = answer.find("\n", answer.find("\r\n\r\n") + 4)) == std::string::npos ||
           answer.find("\r\n\r\n") == std::string::npos) {
      char piece[4096];
      pollfd readable{fd_, POLLIN, 0};
      const ssize_t got = poll(&readable, 1, 90'000) == 1 ? recv(fd_, piece, sizeof piece, 0) : -1;
      if (got <= 0) return fail("the connection ended before an answer to " + request + answer);
      answer.append(piece, static_cast<std::size_t>(got));
    }
    if (!answer.starts_with("HTTP/1.1 200 ")) return fail(answer);
    if (answer.find("Connection: close") == std::string::npos) return true;
    if (trouble_.empty()) trouble_ = "told to connect again";
    drop();
    return true;
  }
  bool connect() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port_));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  bool fail(const std::string& why) {
    ++failures_;
    if (trouble_.empty()) trouble_ = why;
    drop();
    std::this_thread::sleep_for(10ms);  // a client's pause before it tries again
    return false;
  }
  void drop() {
    if (const int fd = fd_.exchange(-1); fd >= 0) close(fd);
  }

  const int port_;
  const Compression packing_;
  const std::uint64_t number_;
  const bool stubborn_;
  std::atomic<int> fd_{-1};
  std::atomic<bool> over_{false};
  std::atomic<long> acknowledged_{0}, failures_{0};
  std::string trouble_;
  std::thread thread_;
};

/// An HTTP input, and what it takes in two tables of one database.
std::string input_to_tables() {
  std::string text =
      "[[input]]\ntype = \"http\"\nname = \"app\"\nlisten = \"http://127.0.0.1:0\"\nparser = \"json\"\nack = "
      "\"stored\"\n";
  for (const std::string table : {"logs", "copies"})
    text += "[[sink]]\ntype = \"table\"\nname = \"" + table +
            "\"\nmatch = \"**\"\ndatabase = \"defaultdb\"\ntable = \"" + table +
            "\"\n[sink.buffer]\nflush_interval = \"50ms\"\n";
  return text;
}

class IngestHttpTest : public testing_support::RestartsTest {
 protected:
  void start() {
    const std::string file = dir() + "/inputs.toml";
    std::ofstream(file) << input_to_tables();
    use_start({"--config=" + file});
    ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  }
  /// The port of the one input.
  static int port(const cli::LocalCluster& of) {
    const auto facts = of.facts(0);
    const auto answer =
        facts.ok() ? cli::http_get(facts->http_addr, "/api/ingest", 5s) : Result<cli::HttpAnswer>(facts.error());
    if (!answer.ok()) return 0;
    return json::parse(answer->body).at("inputs").at(0).at("port").to_number<int>();
  }
  std::string stored(const std::string& table) {
    return value(0, "defaultdb", "SELECT count(DISTINCT fields ->> 'n') || ' of ' || count(*) FROM " + table);
  }
  void expect_stored(long records) {
    const std::string all = std::to_string(records) + " of " + std::to_string(records);
    for (const char* table : {"logs", "copies"}) {
      const auto waited = cluster().wait_until("all records", 60s, [&] { return stored(table) == all; });
      EXPECT_TRUE(waited.ok()) << table << ": " << stored(table) << ", acknowledged " << records;
    }
  }
};

TEST_F(IngestHttpTest, ClientsThatPostWithoutPauseSeeNothingOfTwentyRestarts) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::vector<std::unique_ptr<Poster>> posters;
  for (const Compression packing : {Compression::kNone, Compression::kGzip, Compression::kZstd})
    posters.push_back(std::make_unique<Poster>(port(cluster()), packing, posters.size() + 1));
  for (int i = 0; i < 20; ++i) {
    const json::object receipt = restart();
    ASSERT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
    EXPECT_GE(receipt.at("inputs").at("connections").to_number<int>(), 3) << json::serialize(receipt);
  }
  long acknowledged = 0;
  for (const auto& poster : posters) {
    poster->stop();
    EXPECT_EQ(poster->trouble(), "");
    EXPECT_GT(poster->acknowledged(), 0);
    acknowledged += poster->acknowledged();
  }
  expect_stored(acknowledged);
}

TEST_F(IngestHttpTest, AWorkerThatDiesInARestartCostsAStubbornClientNothing) {
  ASSERT_NO_FATAL_FAILURE(start());
  (void)eventually(0, "defaultdb", "CREATE DATABASE other");
  Poster stubborn(port(cluster()), Compression::kZstd, 5, true);
  for (const testing_support::Role victim : {testing_support::Role::kNew, testing_support::Role::kOld}) {
    wait("records", [&, before = stubborn.acknowledged()] { return stubborn.acknowledged() > before + 30; });
    std::optional<cli::PgConnection> transaction(connect(0, "other"));  // until it ends the old worker has the store
    must(*transaction, "BEGIN");
    must(*transaction, "CREATE TABLE t (id bigint)");
    const std::uint64_t id = begin_restart();
    wait("the move of the connection", [&] { return serves(process(testing_support::Role::kNew), stubborn.fd()); });
    strike(process(victim), SIGKILL);
    EXPECT_EQ(outcome(receipt(id)), victim == testing_support::Role::kNew ? "rolled_back" : "recovered");
    transaction.reset();
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  }
  wait("records", [&, before = stubborn.acknowledged()] { return stubborn.acknowledged() > before + 30; });
  EXPECT_EQ(outcome(restart()), "completed");
  stubborn.stop();
  expect_stored(stubborn.acknowledged());
}

/// A second node takes records and forwards them to the first.
class ForwardTest : public IngestHttpTest {
 protected:
  void start_both() {
    ASSERT_NO_FATAL_FAILURE(start());
    const std::string file = dir() + "/forward.toml", place = dir() + "/sender";
    std::filesystem::create_directory(place);
    std::ofstream(file)
        << "[[input]]\ntype = \"http\"\nname = \"app\"\nlisten = \"http://127.0.0.1:0\"\nparser = \"json\"\n"
           "ack = \"buffered\"\n[[sink]]\ntype = \"forward\"\nmatch = \"**\"\nurl = \"http://127.0.0.1:"
        << port(cluster())
        << "/\"\n[sink.buffer]\ntype = \"file\"\nfsync = \"always\"\nflush_interval = \"20ms\"\n"
           "retry_wait = \"50ms\"\nretry_max_interval = \"200ms\"\npath = \""
        << place << "/buffer\"\n";
    sender_ = std::make_unique<cli::LocalCluster>(
        cli::LocalClusterOptions{.binary = OUTLAST_BINARY, .dir = place, .start_args = {"--config=" + file}});
    ASSERT_TRUE(sender_->start(0).ok());
    ASSERT_TRUE(sender_->init().ok());
    const auto ready = sender_->wait_ready(0, 60s);
    ASSERT_TRUE(ready.ok()) << ready.error().message;
  }
  ~ForwardTest() override {
    if (HasFailure() && sender_) std::printf("--- end of the sender's log\n%s\n", sender_->log_tail(0, 4000).c_str());
  }
  void restart_sender() {
    const auto begun = cli::restart_by_store(sender_->store(0))->start("a test", "");
    ASSERT_TRUE(begun.ok()) << begun.error().message;
    wait("the sender's restart", [&] {
      std::ifstream in(sender_->store(0) + "/RESTARTS.json");
      return cli::find_receipt(std::string((std::istreambuf_iterator<char>(in)), {}), begun->accepted_id()).has_value();
    });
  }
  std::unique_ptr<cli::LocalCluster> sender_;
};

TEST_F(ForwardTest, RestartsAndCrashesOfBothNodesLoseAndDoubleNothing) {
  ASSERT_NO_FATAL_FAILURE(start_both());
  Poster poster(port(*sender_), Compression::kNone, 7), stubborn(port(*sender_), Compression::kGzip, 8, true);
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t id = begin_restart();
    restart_sender();
    EXPECT_EQ(outcome(receipt(id)), "completed");
  }
  poster.stop();
  EXPECT_EQ(poster.trouble(), "");
  EXPECT_EQ(stubborn.failures(), 0);
  for (int i = 0; i < 3; ++i)
    for (cli::LocalCluster* one : {&cluster(), sender_.get()}) {
      const long before = stubborn.acknowledged();
      const auto killed = one->kill_worker(0);
      ASSERT_TRUE(killed.ok());
      ASSERT_TRUE(one->wait_ready(0, 60s, *killed).ok());
      wait("records after a crash", [&] { return stubborn.acknowledged() > before + 30; });
    }
  stubborn.stop();
  expect_stored(poster.acknowledged() + stubborn.acknowledged());
  EXPECT_EQ(value(0, "defaultdb", "SELECT min(host) || ' ' || max(host) || ' ' || max(tag) FROM logs"),
            "127.0.0.1 127.0.0.1 app")
      << "as the first node took them in";
}

}  // namespace
}  // namespace outlast
