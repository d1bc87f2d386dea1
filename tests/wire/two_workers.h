#pragma once
#include <gtest/gtest.h>

#include <atomic>

#include "tests/wire/talk.h"
#include "tests/wire/test_server.h"

namespace outlast::testing {

/// Two SqlServers over one cluster, as the old and the new worker of a node have it; the first one accepts.
class TwoWorkers {
 public:
  explicit TwoWorkers(sql::SessionOptions options = {})
      : first_(options), old(first_.server()), new_worker(first_.executors(), first_.cluster, clock_, options) {}
  ~TwoWorkers() {
    old.keep_sessions();
    new_worker.keep_sessions();
    TestServer::stop(new_worker, std::chrono::milliseconds(200));
  }

  /// Every session of `from` goes to `to` from now on, until keep_sessions().
  void move(sql::SqlServer& from, sql::SqlServer& to, std::shared_ptr<sql::SessionObserver> observer = nullptr,
            std::size_t at_once = SIZE_MAX) {
    from.move_out(
        [this, &to, observer](sql::LeavingSession left) {
          {
            const std::lock_guard lock(mutex_);
            last_ = left.state;
          }
          const auto taken = to.take_in(std::move(left.state), left.fd, observer);
          EXPECT_TRUE(taken.ok()) << taken.error().message;
          ++moves;
        },
        at_once);
  }
  /// All sessions go there, and those that come later stay.
  bool move_all(sql::SqlServer& from, sql::SqlServer& to) {
    move(from, to);
    const bool gone = eventually([&] { return from.load().all() == 0; });
    from.keep_sessions();
    return gone;
  }
  bool there() { return move_all(old, new_worker); }
  bool back() { return move_all(new_worker, old); }
  /// The state that went over last.
  proto::SessionState last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  WireClient started(const std::string& user = "ann") {
    WireClient client;
    EXPECT_TRUE(client.connect("127.0.0.1", port()).ok());
    const auto done = client.start(user, "defaultdb");
    EXPECT_TRUE(done.ok()) << done.error().message;
    return client;
  }
  int port() const { return first_.port(); }
  FakeCluster& cluster() { return first_.cluster; }

 private:
  BootTimeClock clock_;
  TestServer first_;
  mutable std::mutex mutex_;
  proto::SessionState last_;

 public:
  sql::SqlServer& old;
  sql::SqlServer new_worker;
  std::atomic<int> moves{0};
};

inline bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}
inline void send(WireClient& client, const std::string& line) {
  EXPECT_TRUE(client.send(bytes_of(line)).ok());
}
inline std::string talk(WireClient& client, const std::vector<std::string>& lines) {
  std::string bytes;
  for (const std::string& line : lines) bytes += bytes_of(line);
  if (!client.send(bytes).ok()) return "cannot send";
  return until(client, "ReadyForQuery");
}
inline sql::MoveView only(sql::SqlServer& server) {
  const auto plan = server.move_plan();
  EXPECT_EQ(plan.size(), 1U);
  return plan.empty() ? sql::MoveView{} : plan.front();
}
inline std::string raw_byte(WireClient& client) {
  const auto byte = client.read_raw(1);
  return byte.ok() ? *byte : byte.error().message;
}
/// Waits until the session's bytes so far have been read.
inline bool read_more(sql::SqlServer& server, std::uint64_t before, std::size_t n) {
  return eventually([&] { return server.metrics().bytes_in >= before + n; });
}

}  // namespace outlast::testing
