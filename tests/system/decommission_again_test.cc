// Decommissions that change their mind, nodes that come back wiped, and targets without space.
#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <map>

#include "placement/range_config.h"
#include "support/decommission_cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::run_outlast;

class DecommissionAgainTest : public testing_support::DecommissionClusterTest {
 protected:
  /// A database `big` of some 20 MB on the first nodes, which takes twenty seconds to copy at the slowest rate.
  void start_with_much(int nodes) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(nodes));
    auto main = connect(0);
    must(main, "CREATE DATABASE big");
    auto big = connect(0, "big");
    must(big, "CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    for (int i = 0; i < kRows; ++i) must(big, "INSERT INTO t VALUES (" + std::to_string(i) + ", repeat('x', 1000000))");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  bool holds(int node, const std::string& database) {
    for (const auto& range : *cluster().ranges(0))
      if (range.database == database) return std::ranges::count(range.insync, NodeId(id(node))) > 0;
    return false;
  }
  void expect_whole(int at) {
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
    EXPECT_EQ(value(at, "big", "SELECT count(*) || ' ' || sum(length(v)) FROM t"),
              std::to_string(kRows) + " " + std::to_string(kRows) + "000000");
    const auto verified = run_outlast("range verify --host=" + cluster().facts(at)->listen_addr, 60);
    EXPECT_EQ(verified.code, 0) << verified.output;
  }
  static constexpr int kRows = 20;
};

TEST_F(DecommissionAgainTest, FlippedNineTimesItEndsAsTheLastWishSays) {
  ASSERT_NO_FATAL_FAILURE(start_with_much(4));
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING kv.snapshot_rebalance.max_rate = '1MiB'");
  const int leaves = leaseholder_of("big"), stays = (leaves + 1) % 4;
  const std::uint32_t node = id(leaves);
  std::uint64_t last = 0;
  for (int flip = 1; flip <= 9; ++flip) {
    const bool leave = flip % 2 == 1;
    const int at = (leaves + flip % 3 + 1) % 4;
    proto::DecommissionReply reply;
    const auto asked = cluster().wait_until("an answer", 20s, [&] {  // "the task ended at this moment; try again"
      reply = ask(at, leave ? Request::BEGIN : Request::RECOMMISSION, {leaves});
      return reply.code() != "meta_conflict";
    });
    ASSERT_TRUE(asked.ok()) << asked.error().message;
    ASSERT_EQ(reply.code(), "") << "flip " << flip << ": " << reply.message() << reply.preflight().text();
    ASSERT_NE(reply.task(), 0U) << "flip " << flip;
    last = reply.task();
    // Some wishes are followed until they show, others meet the one before them on its way.
    if (flip % 3 == 1) {
      const std::string wanted = leave ? "decommissioning" : "active";
      const auto seen = cluster().wait_until(wanted + " after flip " + std::to_string(flip), 20s, [&] {
        const auto now = status(stays, node);
        return now && now->membership() == wanted;
      });
      ASSERT_TRUE(seen.ok()) << seen.error().message;
    }
    for (const auto& range : *cluster().ranges(stays)) EXPECT_GE(range.insync.size(), 3U) << range.database;
  }
  must(main, "SET CLUSTER SETTING kv.snapshot_rebalance.max_rate = '1TiB'");
  const auto end = until_over(stays, last, 120s);
  EXPECT_EQ(end.state(), "completed") << end.DebugString();
  ASSERT_NO_FATAL_FAILURE(expect_gone(stays, node));
  proto::TasksRequest all;
  for (const auto& task : admin(stays).tasks(all, 5s)->tasks())
    EXPECT_TRUE(task.state() == "completed" || task.state() == "cancelled") << task.DebugString();
  ASSERT_NO_FATAL_FAILURE(expect_whole(stays));
}

TEST_F(DecommissionAgainTest, AWipedNodeJoinsUnderANewIdAndTakesReplicas) {
  ASSERT_NO_FATAL_FAILURE(start_with_much(4));
  const std::uint32_t first = id(3), second = id(2);
  EXPECT_EQ(until_over(0, begin(0, {3})).state(), "completed");
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, first));
  ASSERT_TRUE(cluster().terminate(3, 30s).ok());
  std::filesystem::remove_all(cluster().store(3));
  ASSERT_TRUE(cluster().start(3).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(3));
  EXPECT_NE(id(3), first);
  EXPECT_EQ(status(0, id(3))->membership(), "active");
  EXPECT_EQ(status(0, first)->membership(), "decommissioned") << "the old one stays what it is";
  EXPECT_EQ(until_over(0, begin(3, {2})).state(), "completed");
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, second));
  EXPECT_TRUE(holds(3, "big")) << "there was nobody else";
  ASSERT_NO_FATAL_FAILURE(expect_whole(3));
}

/// Three copies from each sender, two of them at once: the third waits far longer than a copy may that gets no byte.
TEST_F(DecommissionAgainTest, CopiesThatWaitForTheirTurnAreMadeOnce) {
  constexpr int kDatabases = 11;  // 12 ranges: nine replicas on each of four nodes
  ASSERT_NO_FATAL_FAILURE(start_nodes(4));
  auto main = connect(0);
  for (int i = 0; i < kDatabases; ++i) {
    const std::string name = "d" + std::to_string(i);
    must(main, "CREATE DATABASE " + name);
    auto one = connect(0, name);
    must(one, "CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    for (int row = 0; row < 5; ++row)
      must(one, "INSERT INTO t VALUES (" + std::to_string(row) + ", repeat('x', 1000000))");
  }
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const std::uint32_t gone = id(3);
  const auto records = [&](int at) {
    std::map<RangeId, placement::RangeConfig> all;
    for (const auto& range : *cluster().ranges(at)) {
      all[range.range] = placement::decode_range_config(admin(at).range(range.range, 5s)->record()).value();
    }
    return all;
  };
  std::map<RangeId, placement::RangeConfig> before;
  const auto spread = cluster().wait_until("replicas spread over four nodes", 60s, [&] {
    before = records(0);
    std::map<NodeId, int> replicas;
    for (const auto& [range, config] : before) {
      if (config.insync.size() != 3 || !config.learners.empty() || !config.removed.empty()) return false;
      for (const auto& member : config.insync) ++replicas[member.node];
    }
    return std::ranges::all_of(replicas, [](const auto& each) { return each.second == 9; });
  });
  ASSERT_TRUE(spread.ok()) << spread.error().message;
  const auto in_files = cluster().wait_until("checkpoints, so that files are copied and no logs", 20s, [&] {
    return std::ranges::all_of(before, [&](const auto& each) {
      const auto reply = admin(0).range(each.first, 5s);
      return reply.ok() && std::ranges::all_of(reply->replicas(), [](const proto::ReplicaState& state) {
               return state.applied_lsn() == state.end_lsn();
             });
    });
  });
  ASSERT_TRUE(in_files.ok()) << in_files.error().message;
  must(main, "SET CLUSTER SETTING kv.snapshot_rebalance.max_rate = '1MiB'");
  EXPECT_EQ(until_over(0, begin(0, {3})).state(), "completed");
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, gone));
  // Every node that stays has every range now, so nothing else has moved.
  for (const auto& [range, config] : records(0)) {
    const auto& had = before.at(range);
    const int moved = had.find_insync(NodeId(gone)) != nullptr ? 1 : 0;
    EXPECT_EQ(config.next_replica.value, had.next_replica.value + static_cast<std::uint64_t>(moved)) << range.value;
  }
}

TEST_F(DecommissionAgainTest, ATargetWithoutSpaceIsNamedAndAnotherOneTaken) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    GTEST_SKIP() << "a small disk is a mount, and this user may not mount anything";
  ASSERT_NO_FATAL_FAILURE(start_with_much(3));
  std::filesystem::create_directory(cluster().store(3));
  const std::string small = cluster().store(3);
  ASSERT_EQ(::mount("small", small.c_str(), "tmpfs", 0, "size=16m"), 0);
  ASSERT_TRUE(cluster().start(3).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(3));
  const std::uint32_t gone = id(2);
  const auto known = cluster().wait_until("the size of the small disk", 20s, [&] {
    const auto now = status(0, id(3));
    return now && now->disk_capacity() > 0;
  });
  ASSERT_TRUE(known.ok()) << known.error().message;
  const auto refused = ask(0, Request::BEGIN, {2});
  EXPECT_EQ(refused.code(), "invalid_state") << refused.message();
  const auto begun = ask(0, Request::BEGIN, {2}, "skip");
  ASSERT_NE(begun.task(), 0U) << begun.message();
  const auto stalled = until(0, begun.task(), "the stall", 40s,
                             [](const proto::TaskStatus& now) { return !now.stall().reason().empty(); });
  EXPECT_EQ(stalled.stall().reason(), "disk space") << stalled.DebugString();
  ASSERT_TRUE(cluster().start(4).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(4));
  EXPECT_EQ(until_over(0, begun.task()).state(), "completed");
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, gone));
  EXPECT_TRUE(holds(4, "big"));
  EXPECT_FALSE(holds(3, "big"));
  ASSERT_NO_FATAL_FAILURE(expect_whole(0));
  cluster().kill_all();
  EXPECT_EQ(::umount2(small.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace outlast
