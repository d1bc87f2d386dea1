// What the old worker is told of a session that has moved.
#include <gtest/gtest.h>

#include "tests/wire/two_workers.h"

namespace outlast::testing {
namespace {
/// Says in words what it was told.
class Listener final : public sql::SessionObserver {
 public:
  void serving() override { add("serving"); }
  void answering() override { add("answering"); }
  void waiting(const proto::SessionState* changed) override {
    if (changed == nullptr) return add("waiting");
    const std::lock_guard lock(mutex_);
    state_ = *changed;
    words_ += "changed ";
  }
  void ended() override { add("ended"); }
  bool interested() const override { return interested_; }

  void add(const std::string& word) {
    const std::lock_guard lock(mutex_);
    words_ += word + " ";
  }
  /// What was told since the last call, once it ends with `word`.
  std::string told(const std::string& word) {
    std::string out;
    eventually([&] {
      const std::lock_guard lock(mutex_);
      out = words_;
      return words_.ends_with(word + " ");
    });
    const std::lock_guard lock(mutex_);
    words_.clear();
    return out;
  }
  proto::SessionState state() {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  std::atomic<bool> interested_{true};

 private:
  std::mutex mutex_;
  std::string words_;
  proto::SessionState state_;
};

TEST(SqlMoveObserver, IsToldBeforeItHappensAndOnlyWhatChanged) {
  TwoWorkers workers;
  WireClient client = workers.started();
  const auto listener = std::make_shared<Listener>();
  workers.move(workers.old, workers.new_worker, listener);
  ASSERT_TRUE(eventually([&] { return workers.moves == 1; }));
  ask(client, "SELECT 1");
  EXPECT_EQ(listener->told("waiting"), "serving answering waiting ");
  ask(client, "SET application_name = 'other'");
  EXPECT_EQ(listener->told("changed"), "serving answering changed ");
  EXPECT_EQ(listener->state().cancel_pid(), client.pid);
  const std::string message = bytes_of("Query \"SELECT 1\"");
  ASSERT_TRUE(client.send(message.substr(0, 7)).ok());
  EXPECT_EQ(listener->told("changed"), "serving changed ");
  EXPECT_EQ(listener->state().input(), message.substr(0, 7));
  ASSERT_TRUE(client.send(message.substr(7)).ok());
  until(client, "ReadyForQuery");
  EXPECT_EQ(listener->told("changed"), "serving answering changed ");
  EXPECT_EQ(listener->state().input(), "");
  ask(client, "BEGIN");
  ask(client, "SELECT 1");
  ask(client, "COMMIT");
  EXPECT_EQ(listener->told("waiting"), "serving answering waiting ");  // no safe point inside a transaction
  client.close();
  EXPECT_EQ(listener->told("ended"), "serving ended ");
}

TEST(SqlMoveObserver, KnowsOfBytesThatCameAlong) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "BEGIN");
  const auto listener = std::make_shared<Listener>();
  workers.move(workers.old, workers.new_worker, listener);
  ASSERT_TRUE(client.send(bytes_of("Query \"COMMIT\"") + bytes_of("Query \"SELECT 1\"")).ok());
  until(client, "ReadyForQuery");
  until(client, "ReadyForQuery");
  EXPECT_EQ(listener->told("changed"), "serving answering changed ");
}

TEST(SqlMoveObserver, StartUpIsWatchedToo) {
  TwoWorkers workers;
  const auto listener = std::make_shared<Listener>();
  workers.move(workers.old, workers.new_worker, listener);
  WireClient client;
  ASSERT_TRUE(client.connect("127.0.0.1", workers.port()).ok());
  ASSERT_TRUE(eventually([&] { return workers.moves == 1; }));
  const std::string packet = bytes_of("Startup 3.0 user=ann database=defaultdb");
  ASSERT_TRUE(client.send(packet.substr(0, 9)).ok());
  EXPECT_EQ(listener->told("changed"), "serving changed ");
  EXPECT_TRUE(listener->state().starting());
  EXPECT_EQ(listener->state().input(), packet.substr(0, 9));
  ASSERT_TRUE(client.send(packet.substr(9)).ok());
  until(client, "ReadyForQuery");
  EXPECT_EQ(listener->told("changed"), "serving answering changed ");
  EXPECT_FALSE(listener->state().starting());
  EXPECT_EQ(listener->state().user(), "ann");
}

TEST(SqlMoveObserver, IsForgottenOnceItIsNotInterested) {
  TwoWorkers workers;
  WireClient client = workers.started();
  auto listener = std::make_shared<Listener>();
  const std::weak_ptr<Listener> weak = listener;
  workers.move(workers.old, workers.new_worker, listener);
  ASSERT_TRUE(eventually([&] { return workers.moves == 1; }));
  workers.old.keep_sessions();
  listener->interested_ = false;
  listener.reset();
  ask(client, "SELECT 1");
  EXPECT_TRUE(eventually([&] { return weak.expired(); }));
}
}  // namespace
}  // namespace outlast::testing
