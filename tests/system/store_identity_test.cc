// A store is opened by one process, of its own cluster, of a version that knows its format, or not at all.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::run_outlast;

class StoreIdentityTest : public testing_support::ClusterTest {
 protected:
  std::string start_on(const std::string& store, const std::string& meta) {
    return "start --store=" + store + " --meta=embedded:" + meta +
           " --listen-addr=127.0.0.1:0 --sql-addr=127.0.0.1:0 --http-addr=127.0.0.1:0";
  }
};

TEST_F(StoreIdentityTest, ASecondStartOnOneStoreIsRefusedAndTheFirstGoesOn) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  const auto second = run_outlast(start_on(cluster().store(0), dir() + "/meta"), 20);
  EXPECT_NE(second.code, 0);
  EXPECT_NE(second.code, 124) << "it went on instead of giving up";
  EXPECT_NE(second.output.find(cluster().store(0)), std::string::npos) << second.output;
  EXPECT_EQ(value(0, "defaultdb", "SELECT 1"), "1");
  const auto facts = cluster().facts(0);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(cluster().wait_ready(0, 10s)->worker_pid, facts->worker_pid);
}

TEST_F(StoreIdentityTest, AStoreOfAnotherClusterIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  cluster().kill_node(0);
  ASSERT_EQ(run_outlast("init --meta=embedded:" + dir() + "/other", 20).code, 0);
  const auto started = run_outlast(start_on(cluster().store(0), dir() + "/other"), 20);
  EXPECT_NE(started.code, 0);
  EXPECT_NE(started.code, 124) << "it went on instead of giving up";
  EXPECT_NE(started.output.find("cluster"), std::string::npos) << started.output;
  ASSERT_TRUE(cluster().start(0).ok());  // its own cluster still takes it
  ASSERT_NO_FATAL_FAILURE(wait_ready(0));
}

TEST_F(StoreIdentityTest, AStoreOfANewerVersionIsRefusedAndLeftAsItIs) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  cluster().kill_node(0);
  const std::string identity = cluster().store(0) + "/IDENTITY";
  std::ifstream in(identity);
  std::string first, rest;
  ASSERT_TRUE(std::getline(in, first)) << identity;
  rest.assign(std::istreambuf_iterator<char>(in), {});
  const std::string newer = first.substr(0, first.rfind(' ')) + " 9999\n" + rest;  // "outlast <kind> <version>"
  std::ofstream(identity) << newer;
  const auto started = run_outlast(start_on(cluster().store(0), dir() + "/meta"), 20);
  EXPECT_NE(started.code, 0);
  EXPECT_NE(started.code, 124) << "it went on instead of giving up";
  EXPECT_NE(started.output.find("newer version"), std::string::npos) << started.output;
  std::ifstream again(identity);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(again), {}), newer);
}

TEST_F(StoreIdentityTest, AClusterIsInitialisedOnce) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  const auto again = run_outlast("init --meta=" + cluster().meta(), 20);
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.output.find("initialised"), std::string::npos) << again.output;
}

TEST_F(StoreIdentityTest, SigtermStopsANodeInOrder) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  const auto code = cluster().terminate(0, 30s);
  ASSERT_TRUE(code.ok()) << code.error().message;
  EXPECT_EQ(*code, 0) << cluster().log_tail(0);
  ASSERT_TRUE(cluster().start(0).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0));
}

}  // namespace
}  // namespace outlast
