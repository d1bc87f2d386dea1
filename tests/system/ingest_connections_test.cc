// Ten thousand senders, each in the middle of a record, change hands.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "support/http_sender.h"
#include "support/ingest_nodes.h"

namespace outlast {
namespace {
constexpr std::size_t kConnections = 10'000;
constexpr rlim_t kFiles = kConnections + 1'000;

/// Lets this process, and those that it starts, open so many files.
bool allow_files(rlim_t count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = count;
  limit.rlim_max = std::max(limit.rlim_max, count);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// Connections that the server has nothing to say on: whatever happens to one is its end.
class Connections {
 public:
  Connections(int port, std::size_t count) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (std::size_t i = 0; i < count; ++i) {
      fds_.push_back(testing_support::connect_to(port));
      epoll_event event{.events = EPOLLIN | EPOLLRDHUP, .data = {}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fds_.back(), &event);
    }
  }
  ~Connections() {
    for (const int fd : fds_) close(fd);
    close(epoll_);
  }
  /// How many have failed or ended.
  int broken() const {
    std::vector<epoll_event> events(fds_.size());
    return epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  }
  /// Whether all of it could be sent.
  bool say(std::size_t connection, const std::string& bytes) const {
    return send(fds_[connection], bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

 private:
  const int epoll_;
  std::vector<int> fds_;
};

class IngestConnections : public testing_support::IngestNodes {};

TEST_F(IngestConnections, TenThousandGoOnInTheMiddleOfTheirRecords) {
  if (!allow_files(kFiles)) GTEST_SKIP() << "this user may not open " << kFiles << " files";
  ASSERT_NO_FATAL_FAILURE(start_with(input("tcp", "tcp", "tcp://127.0.0.1") + table_sink()));
  const Connections senders(port("tcp"), kConnections);
  for (std::size_t i = 0; i < kConnections; ++i) ASSERT_TRUE(senders.say(i, "half of a rec"));
  wait("all connections", [&] {
    const auto status = input_status("tcp");
    return !status.empty() && status.at("connections").to_number<std::size_t>() == kConnections;
  });
  for (int round = 0; round < 2; ++round) {
    const auto told = restart();
    expect_completed(told);
    EXPECT_EQ(told.at("inputs").at("connections").to_number<std::size_t>(), kConnections);
  }
  EXPECT_EQ(senders.broken(), 0);
  for (std::size_t i = 0; i < kConnections; ++i) ASSERT_TRUE(senders.say(i, "ord n=" + std::to_string(i) + "\n"));
  expect_stored("tcp", kConnections);
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM logs WHERE fields ->> 'message' LIKE 'half of a record n=%'"),
            std::to_string(kConnections));
  EXPECT_EQ(senders.broken(), 0);
}

}  // namespace
}  // namespace outlast
