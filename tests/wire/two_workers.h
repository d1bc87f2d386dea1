#pragma once
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
  void move(sql::SqlServer& from, sql::SqlServer& to, std::shared_ptr<sql::SessionObserver> observer = nullptr) {
    from.move_out([this, &to, observer](sql::LeavingSession left) {
      {
        const std::lock_guard lock(mutex_);
        last_ = left.state;
      }
      const auto taken = to.take_in(std::move(left.state), left.fd, observer);
      EXPECT_TRUE(taken.ok()) << taken.error().message;
      ++moves;
    });
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

}  // namespace outlast::testing
