// What Fluentd's and fluent-package's own tests promise of a restart, and what they do not: every input, every way to
// ask for a restart, an upgrade and the way back. docs/tests.md has the list.
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/http_get.h"
#include "server/restart_status.h"
#include "support/http_sender.h"
#include "support/ingest_nodes.h"
#include "support/record_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;
using testing_support::HttpSender;
using testing_support::RecordSender;

/// Connects every few milliseconds.
class ConnectProbes {
 public:
  explicit ConnectProbes(std::vector<int> ports) : ports_(std::move(ports)), thread_([this] { work(); }) {}
  ~ConnectProbes() { stop(); }
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  long made() const { return made_; }  // after stop()
  long refused() const { return refused_; }

 private:
  void work() {
    while (!over_) {
      for (const int port : ports_) {
        const int fd = testing_support::connect_to(port);
        ++(fd < 0 ? refused_ : made_);
        if (fd >= 0) close(fd);
      }
      std::this_thread::sleep_for(2ms);
    }
  }
  const std::vector<int> ports_;
  std::atomic<bool> over_{false};
  long made_{0}, refused_{0};
  std::thread thread_;
};

class IngestRestarts : public testing_support::IngestNodes {
 protected:
  /// In the table, and in a file in the order in which they are stored.
  std::string config() {
    return input("syslog", "syslog", "udp://127.0.0.1") + input("tcp", "tcp", "tcp://127.0.0.1") +
           input("http", "http", "http://127.0.0.1") + table_sink() +
           "[[sink]]\ntype = \"file\"\nmatch = \"{syslog,tcp}\"\npath = \"" + dir() +
           "/records\"\n[sink.buffer]\nflush_interval = \"50ms\"\n";
  }
  std::vector<long> in_file() {
    std::ifstream in(dir() + "/records");
    return testing_support::numbers_in(std::string((std::istreambuf_iterator<char>(in)), {}))["n"];
  }
  void start_senders() {
    datagrams_ = std::make_unique<RecordSender>(port("syslog"), RecordSender::Over::kUdp);
    stream_ = std::make_unique<RecordSender>(port("tcp"), RecordSender::Over::kTcp);
    posts_ = std::make_unique<HttpSender>(port("http"));
  }
  void expect_nothing_lost() {
    posts_->stop();
    const long udp = datagrams_->stop(), tcp = stream_->stop();
    EXPECT_FALSE(datagrams_->broken());
    EXPECT_FALSE(stream_->broken()) << "the connection was reset";
    EXPECT_EQ(posts_->failures(), 0) << posts_->failure();
    expect_stored("syslog", udp);
    expect_stored("tcp", tcp);
    expect_stored("http", static_cast<long>(posts_->acknowledged().size()));
  }

  std::unique_ptr<RecordSender> datagrams_, stream_;
  std::unique_ptr<HttpSender> posts_;
};

TEST_F(IngestRestarts, EveryInputThroughEveryWayToAskForOne) {
  ASSERT_NO_FATAL_FAILURE(start_with(config()));
  const pid_t parent = supervisor();
  ASSERT_NO_FATAL_FAILURE(start_senders());
  ConnectProbes probes({port("tcp"), port("http")});
  std::uint64_t id = 0;
  for (int round = 0; round < 3; ++round) {
    ::kill(parent, SIGUSR2);
    expect_completed(receipt(++id));
    const auto asked =
        cli::http_post(cluster().facts(0)->http_addr, "/api/processes.zeroDowntimeRestart?by=a%20test", 10s);
    ASSERT_TRUE(asked.ok() && asked->status == 202) << (asked.ok() ? asked->body : asked.error().message);
    expect_completed(receipt(++id));
    const auto said = testing_support::run_outlast("restart --wait --store=" + cluster().store(0), 60);
    EXPECT_EQ(said.code, 0) << said.output;
    expect_completed(receipt(++id));
  }
  probes.stop();
  EXPECT_EQ(probes.refused(), 0) << "of " << probes.made();
  EXPECT_GT(probes.made(), 100);
  expect_nothing_lost();
  EXPECT_EQ(supervisor(), parent);
  expect_nobody_left_over();
}

/// One reader at a time, and what the old worker has is stored before what the new one has.
TEST_F(IngestRestarts, ASendersRecordsKeepTheirOrder) {
  ASSERT_NO_FATAL_FAILURE(start_with(input("syslog", "syslog", "udp://127.0.0.1") +
                                     "[[sink]]\ntype = \"file\"\nmatch = \"**\"\npath = \"" + dir() +
                                     "/records\"\n[sink.buffer]\nflush_interval = \"50ms\"\n"));
  RecordSender datagrams(port("syslog"), RecordSender::Over::kUdp);
  for (int round = 0; round < 8; ++round) expect_completed(restart());
  const long sent = datagrams.stop();
  expect_all_once("the file", sent, [&] { return in_file(); });
  const std::vector<long> order = in_file();
  long breaks = 0;
  for (std::size_t i = 1; i < order.size(); ++i) breaks += order[i] < order[i - 1] ? 1 : 0;
  EXPECT_EQ(breaks, 0) << "of " << sent << " records";
}

TEST_F(IngestRestarts, AnUpgradeAndTheWayBack) {
  const std::string path = dir() + "/outlast-program";
  fs::copy_file(OUTLAST_BINARY, path);
  ASSERT_NO_FATAL_FAILURE(start_with(config(), path));
  const pid_t parent = supervisor();
  ASSERT_NO_FATAL_FAILURE(start_senders());
  const std::string versions[] = {OUTLAST_VERSION, OUTLAST_VERSION ".next"};
  for (int round = 0; round < 4; ++round) {
    const std::string replacement = dir() + "/replacement";
    fs::copy_file(round % 2 == 0 ? OUTLAST_NEXT_BINARY : OUTLAST_BINARY, replacement);
    fs::rename(replacement, path);
    const json::object told = restart();
    expect_completed(told);
    EXPECT_EQ(server::text_of(told, "to_version"), versions[1 - round % 2]);
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
    wait("the supervisor under its old pid", [&] { return supervisor() == parent; });
  }
  expect_nothing_lost();
}

}  // namespace
}  // namespace outlast
