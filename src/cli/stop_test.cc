// `outlast stop` without a node that could answer: what it refuses, and its signals.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/command.h"

namespace outlast::cli {
namespace {

int run(std::vector<const char*> words) {
  words.insert(words.begin(), {"outlast", "stop"});
  return run_command_line(static_cast<int>(words.size()), words.data(), all_commands());
}

/// A process that does nothing, and a store whose NODE.json says that it is a node.
class StopTest : public testing::Test {
 protected:
  StopTest() : store_(testing::TempDir() + "outlast-stop-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(store_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::pause();
      ::_exit(0);
    }
    std::ofstream(store_ + "/NODE.json")
        << R"({"node_id":1,"pid":)" << pid_ << R"(,"worker_pid":)" << pid_
        << R"(,"listen_addr":"127.0.0.1:1","sql_addr":"","http_addr":"127.0.0.1:1","roles":"backend"})";
  }
  ~StopTest() override {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(store_);
  }
  /// The signal that ended the process; 0: it lives.
  int ended_by() const {
    int status = 0;
    return ::waitpid(pid_, &status, WNOHANG) == pid_ && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  std::string store_;
  pid_t pid_{0};
};

TEST_F(StopTest, RefusesWhatMakesNoSense) {
  const std::string store = "--store=" + store_;
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({store.c_str(), "--host=127.0.0.1:1"}), kUsage);
  EXPECT_EQ(run({store.c_str(), "-g", "--hard"}), kUsage);
  EXPECT_EQ(run({"--host=127.0.0.1:1", "--hard"}), kUsage);
  EXPECT_EQ(run({store.c_str(), "--roles=frontend"}), kUsage) << "only with -g";
  for (const char* timeout : {"--timeout=soon", "--timeout=0", "--timeout=-5"})
    EXPECT_EQ(run({store.c_str(), "-g", timeout}), kUsage) << timeout;
  EXPECT_EQ(run({"--store=/nowhere"}), kUsage);
  EXPECT_EQ(ended_by(), 0);
}

TEST_F(StopTest, HardIsSigkill) {
  EXPECT_EQ(run({("--store=" + store_).c_str(), "--hard"}), kDone);
  EXPECT_EQ(ended_by(), SIGKILL);
}

TEST_F(StopTest, ANodeThatDoesNotAnswerIsKilledWhenTheTimeoutHasPassed) {
  const std::string store = "--store=" + store_;
  EXPECT_EQ(run({store.c_str(), "-g"}), kFailed) << "a backend has no timeout of its own";
  EXPECT_EQ(ended_by(), 0);
  EXPECT_EQ(run({store.c_str(), "-g", "--timeout=1"}), kDone);
  EXPECT_EQ(ended_by(), SIGKILL);
}

TEST_F(StopTest, WithoutGItIsNeverKilled) {
  EXPECT_EQ(run({("--store=" + store_).c_str(), "--timeout=1s"}), kFailed);
  EXPECT_EQ(ended_by(), 0);
}

}  // namespace
}  // namespace outlast::cli
