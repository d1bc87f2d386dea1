// Source-only as the supervisor sees it: which workers are, and that its end reaches every one, whenever it comes.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "handover/fake_node.h"

namespace outlast::handover {
namespace {
using fake::eventually;
using fake::FakeNode;
using fake::fresh_store;
using fake::value_of;

class SupervisorSourceOnly : public testing::Test {
 protected:
  SupervisorSourceOnly() { node_.write("with_source_only", ""); }
  std::string mode_of(int worker) { return node_.read("mode." + std::to_string(worker)); }
  bool stores(int worker) {
    return eventually([&] { return mode_of(worker) == "stores"; });
  }
  /// The worker that follows one that was killed.
  int next_after_kill(int worker) {
    kill(worker, SIGKILL);
    int next = 0;
    EXPECT_TRUE(eventually([&] { return !fake::lives(worker) && (next = node_.served_by()) != worker; }));
    return next;
  }
  void next_supervisor() {
    node_.signal(SIGKILL);
    EXPECT_EQ(node_.wait_for_end(), 1000 + SIGKILL);
    node_.start();
  }
  FakeNode node_{fresh_store()};
};

TEST_F(SupervisorSourceOnly, LastsOverCrashesAndRestartsUntilTheSignal) {
  node_.start();
  const int first = node_.served_by();
  EXPECT_EQ(mode_of(first), "source_only");
  const int second = next_after_kill(first);
  EXPECT_EQ(mode_of(second), "source_only");
  EXPECT_EQ(value_of(node_.restart(), "outcome"), "completed");
  const int third = node_.served_by();
  EXPECT_EQ(mode_of(third), "source_only");
  node_.signal(SIGWINCH);
  EXPECT_TRUE(stores(third));
  node_.signal(SIGWINCH);  // one too many
  const int fourth = next_after_kill(third);
  EXPECT_EQ(mode_of(fourth), "stores") << "it has ended for good";
  EXPECT_EQ(value_of(node_.restart(), "outcome"), "completed");
  EXPECT_EQ(mode_of(node_.served_by()), "stores");
}

TEST_F(SupervisorSourceOnly, TheSignalIsNotTooEarlyForAWorkerThatStarts) {
  node_.write("hook", "worker:start:hang");
  node_.start({.wait_until_ready = false});
  ASSERT_TRUE(eventually([&] { return node_.workers().size() == 1 && node_.read("hook").empty(); }));
  node_.signal(SIGWINCH);
  kill(node_.workers().front(), SIGCONT);
  EXPECT_TRUE(stores(node_.workers().front()));
}

TEST_F(SupervisorSourceOnly, TheSignalReachesBothWorkersOfARestart) {
  node_.start();
  const int old = node_.served_by();
  node_.write("hook", "new:standby:hang");
  node_.signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return node_.workers().size() == 2 && node_.read("hook").empty(); }));
  node_.signal(SIGWINCH);
  EXPECT_TRUE(stores(old));
  kill(node_.workers()[1], SIGCONT);
  EXPECT_NE(node_.wait_for_receipt(1), "");
  EXPECT_TRUE(stores(node_.served_by())) << "whoever serves, also when a slow machine made it roll back";
}

TEST_F(SupervisorSourceOnly, GoesWithASupervisorThatReplacesItself) {
  node_.start();
  const std::string next = node_.store() + "/next-version";
  std::filesystem::copy_file(fake::own_program(), next);
  EXPECT_EQ(value_of(node_.restart(next), "outcome"), "completed");
  ASSERT_TRUE(eventually([&] {
    std::error_code unseen;
    return std::filesystem::read_symlink("/proc/" + std::to_string(node_.pid()) + "/exe", unseen) == next;
  }));
  EXPECT_EQ(mode_of(next_after_kill(node_.served_by())), "source_only");
  node_.signal(SIGWINCH);
  EXPECT_TRUE(stores(node_.served_by()));
}

TEST_F(SupervisorSourceOnly, AnAdoptedWorkerSaysWhatItIsWhateverItsNewSupervisorWasToldToBe) {
  node_.start();
  const int first = node_.served_by();
  std::filesystem::remove(node_.store() + "/with_source_only");
  next_supervisor();
  EXPECT_EQ(node_.served_by(), first);
  const int second = next_after_kill(first);
  EXPECT_EQ(mode_of(second), "source_only");
  node_.signal(SIGWINCH);
  EXPECT_TRUE(stores(second));
  node_.write("with_source_only", "");
  next_supervisor();
  EXPECT_EQ(mode_of(next_after_kill(second)), "stores");
}

}  // namespace
}  // namespace outlast::handover
