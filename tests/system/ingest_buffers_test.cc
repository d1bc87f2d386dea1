// What waits in buffers outlives sinks that are away, full and read-only disks, restarts and kills.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/restart_status.h"
#include "support/http_sender.h"
#include "support/ingest_nodes.h"
#include "support/record_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using server::text_of;
using testing_support::HttpSender;
using testing_support::RecordSender;

/// Lines of a kilobyte, so many, on one connection that may have to wait.
class LargeLines {
 public:
  LargeLines(int port, long count)
      : fd_(testing_support::connect_to(port)), thread_([this, count] { send_all(count); }) {}
  ~LargeLines() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  bool broken() const { return broken_; }

 private:
  void send_all(long count) {
    for (long i = 0; i < count && !broken_; ++i) {
      const std::string line = "n=" + std::to_string(i) + " " + std::string(1000, 'x') + "\n";
      broken_ = send(fd_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size());
    }
  }
  const int fd_;
  std::atomic<bool> broken_{false};
  std::thread thread_;
};

class IngestBuffers : public testing_support::IngestNodes {
 protected:
  /// Chunks in files, which are tried again soon.
  std::string file_buffer() const {
    return "type = \"file\"\npath = \"" + dir() +
           "/buffer\"\nfsync = \"always\"\nretry_wait = \"100ms\"\nretry_max_interval = \"200ms\"\n";
  }
  std::string config() const {
    return input("http", "http", "http://127.0.0.1") + input("tcp", "tcp", "tcp://127.0.0.1") + table_sink() +
           file_buffer();
  }
  /// A table that takes no records: its sink is as good as down until it is dropped.
  void block_table() {
    auto client = connect(0);
    must(client, "CREATE TABLE logs (id bigint)");
  }
  void unblock_table() {
    auto client = connect(0);
    must(client, "DROP TABLE logs");
  }
  void wait_trouble(const std::string& sink, const std::string& field) {
    wait("trouble of the sink", [&] {
      const auto status = sink_status(sink);
      return !status.empty() && !text_of(status, field).empty();
    });
  }
  void expect_each_once(const HttpSender& posts) {
    const auto& acknowledged = posts.acknowledged();
    EXPECT_FALSE(acknowledged.empty());
    std::vector<long> there;
    wait("every acknowledged record", [&] {
      there = stored("http")["n"];
      std::ranges::sort(there);
      return std::ranges::includes(there, acknowledged);
    });
    EXPECT_TRUE(std::ranges::adjacent_find(there) == there.end()) << "a record is there twice";
  }
};

TEST_F(IngestBuffers, AKilledWorkersChunksAreStoredOnceWhenTheSinkIsBack) {
  ASSERT_NO_FATAL_FAILURE(start_with(config()));
  block_table();
  HttpSender posts(port("http"));
  for (int kills = 0; kills < 3; ++kills) {
    const long before = posts.answered();
    wait("acknowledged records", [&] { return posts.answered() > before + 20; });
    const auto killed = cluster().kill_worker(0);
    ASSERT_TRUE(killed.ok()) << killed.error().message;
    ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
    if (kills == 1) expect_completed(restart());
  }
  wait_trouble("table", "last_error");
  EXPECT_EQ(sink_status("table").at("written").at("records").to_number<long>(), 0);
  unblock_table();
  posts.stop();
  expect_each_once(posts);
}

TEST_F(IngestBuffers, AMemoryBuffersRecordsWaitThroughRestartsForASinkThatIsDown) {
  ASSERT_NO_FATAL_FAILURE(start_with(input("tcp", "tcp", "tcp://127.0.0.1") + table_sink() +
                                     "retry_wait = \"100ms\"\nretry_max_interval = \"200ms\"\n"));
  block_table();
  RecordSender stream(port("tcp"), RecordSender::Over::kTcp);
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(wait_trouble("table", "last_error"));
    expect_completed(restart());
  }
  unblock_table();
  const long sent = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("tcp", sent);
}

/// The other end of a forward sink is a port of this node, which only listens after a restart.
TEST_F(IngestBuffers, AForwardedRecordWaitsForTheOtherEnd) {
  const int reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(reserved, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ASSERT_EQ(bind(reserved, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  socklen_t size = sizeof here;
  getsockname(reserved, reinterpret_cast<sockaddr*>(&here), &size);
  const std::string address = "http://127.0.0.1:" + std::to_string(ntohs(here.sin_port));
  const std::string forward = input("tcp", "tcp", "tcp://127.0.0.1") +
                              "[[sink]]\ntype = \"forward\"\nmatch = \"tcp\"\nurl = \"" + address +
                              "\"\n[sink.buffer]\nflush_interval = \"50ms\"\n" + file_buffer();
  ASSERT_NO_FATAL_FAILURE(start_with(forward));
  RecordSender stream(port("tcp"), RecordSender::Over::kTcp);
  ASSERT_NO_FATAL_FAILURE(wait_trouble("forward", "last_error"));
  const long sent = stream.stop();
  // What was forwarded keeps its tag, and comes by both sinks; the forward sink has it already.
  configure(forward + "[[input]]\ntype = \"http\"\nname = \"end\"\nlisten = \"" + address + "\"\n" +
            "[[sink]]\ntype = \"table\"\nmatch = \"tcp\"\ndatabase = \"defaultdb\"\ntable = \"logs\"\n" +
            "[sink.buffer]\nflush_interval = \"50ms\"\n");
  expect_completed(restart());
  expect_stored("tcp", sent);
  close(reserved);
}

/// A node whose buffer lies on a disk of a megabyte of its own.
class IngestFullDisk : public IngestBuffers {
 protected:
  static constexpr const char* kUnshare = "unshare --user --map-root-user --mount --propagation private ";
  static bool possible() {
    return std::system((std::string(kUnshare) + "mount -t tmpfs none /mnt 2> /dev/null").c_str()) == 0;
  }
  void start_on_small_disk() {
    fs::create_directory(dir() + "/buffer");
    const std::string program = dir() + "/on-small-disk";
    std::ofstream(program) << "#!/bin/sh\n[ \"$1\" = start ] || exec " OUTLAST_BINARY " \"$@\"\nexec " << kUnshare
                           << "sh -c 'mount -t tmpfs -o size=1m buffer " << dir() << "/buffer && exec " OUTLAST_BINARY
                           << " \"$@\"' sh \"$@\"\n";
    fs::permissions(program, fs::perms::owner_all);
    start_with(config(), program);
  }
  /// A command in the node's mount namespace, of the buffer's folder.
  void in_node(const std::string& command) {
    const std::string enter = "nsenter --user --mount --preserve-credentials -t " + std::to_string(worker()) + " ";
    ASSERT_EQ(std::system((enter + command + " " + dir() + "/buffer").c_str()), 0);
  }
};

TEST_F(IngestFullDisk, SendersWaitAndNothingIsLost) {
  if (!possible()) GTEST_SKIP() << "no mount namespaces for this user";
  ASSERT_NO_FATAL_FAILURE(start_on_small_disk());
  block_table();
  constexpr long kLines = 4'000;  // four megabytes
  const LargeLines lines(port("tcp"), kLines);
  ASSERT_NO_FATAL_FAILURE(wait_trouble("table", "trouble"));
  expect_completed(restart());
  unblock_table();
  expect_stored("tcp", kLines);
  EXPECT_FALSE(lines.broken());
}

/// A read-only one is put over the disk: files that are open for writing forbid to make that one read-only.
TEST_F(IngestFullDisk, AReadOnlyDiskIsTheSame) {
  if (!possible()) GTEST_SKIP() << "no mount namespaces for this user";
  ASSERT_NO_FATAL_FAILURE(start_on_small_disk());
  RecordSender stream(port("tcp"), RecordSender::Over::kTcp);
  ASSERT_NO_FATAL_FAILURE(in_node("mount -t tmpfs -o ro over"));
  ASSERT_NO_FATAL_FAILURE(wait_trouble("table", "trouble"));
  ASSERT_NO_FATAL_FAILURE(in_node("umount"));
  const long sent = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("tcp", sent);
}

}  // namespace
}  // namespace outlast
