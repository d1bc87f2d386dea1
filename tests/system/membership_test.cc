// Nodes that are away for long or for good, on real processes: what the others do, and what becomes of the node itself.
#include <filesystem>

#include "cli/http_get.h"
#include "meta/decommissions.h"
#include "meta/drains.h"
#include "rpc/client.h"
#include "server/asio_loop.h"
#include "server/blocking.h"
#include "server/meta_url.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::run_outlast;

class MembershipTest : public testing_support::ClusterTest {
 protected:
  ~MembershipTest() override { loop_.stop(); }
  void open_metadata() {
    auto store = server::open_meta(cluster().meta(), loop_);
    ASSERT_TRUE(store.ok()) << store.error().message;
    meta_ = *std::move(store);
  }
  NodeId id(int node) { return cluster().facts(node)->node; }
  rpc::AdminClient admin(int node) { return rpc::AdminClient(cluster().facts(node)->listen_addr); }
  std::optional<proto::NodeStatus> status(int at, NodeId node) {
    const auto reply = admin(at).node_status(5s);
    if (!reply.ok()) return std::nullopt;
    for (const auto& each : reply->nodes())
      if (each.id() == node.value) return each;
    return std::nullopt;
  }
  void until(const std::string& what, const std::function<bool()>& reached) {
    const auto waited = cluster().wait_until(what, 60s, reached);
    ASSERT_TRUE(waited.ok()) << waited.error().message;
  }
  bool is_member(int at, NodeId node) {
    const auto ranges = cluster().ranges(at);
    if (!ranges.ok()) return true;
    for (const auto& range : *ranges)
      if (std::ranges::count(range.insync, node) > 0) return true;
    return false;
  }
  bool all_replicated(int at, std::size_t rf) {
    const auto ranges = cluster().ranges(at);
    return ranges.ok() && std::ranges::all_of(*ranges, [&](const auto& range) { return range.insync.size() == rf; });
  }
  void maintenance(int at, NodeId node, Duration time) {
    proto::MaintenanceRequest request;
    request.set_node(node.value);
    request.set_for_ms(static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
    const auto reply = admin(at).maintenance(request, 5s);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    ASSERT_EQ(reply->code(), "") << reply->message();
  }
  /// What the task of a decommission does with a node that holds nothing.
  void decommission(NodeId node) {
    const meta::MembershipChange change{node, id(0), loop_.wall_micros()};
    const auto marked = server::wait_on<void>(
        loop_, [&](Callback<void> done) { meta::mark_decommissioning(*meta_, change, {}, std::move(done)); });
    ASSERT_TRUE(marked.ok()) << marked.error().message;
    const auto now = status(0, node);
    ASSERT_TRUE(now);
    const meta::DrainRecord drained{
        .peer = {node, Incarnation(now->incarnation())}, .by = "a test", .drained = true, .leave = true};
    const auto recorded = server::wait_on<void>(
        loop_, [&](Callback<void> done) { meta::record_drain(*meta_, drained, std::move(done)); });
    ASSERT_TRUE(recorded.ok()) << recorded.error().message;
    std::string why;
    const auto waited = cluster().wait_until("the final transaction", 30s, [&] {
      const auto finished = server::wait_on<void>(
          loop_, [&](Callback<void> done) { meta::finish_decommission(*meta_, change, false, {}, std::move(done)); });
      why = finished.ok() ? "" : finished.error().message;
      return finished.ok();
    });
    ASSERT_TRUE(waited.ok()) << why;
  }
  server::AsioLoop loop_;
  std::unique_ptr<meta::Store> meta_;
};

TEST_F(MembershipTest, ADecommissionedNodeIsRefusedEverywhereAndItsStoreForEver) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING kv.replication_factor = 1");
  ASSERT_TRUE(cluster().start(1).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(1));
  ASSERT_NO_FATAL_FAILURE(open_metadata());
  const auto facts = *cluster().facts(1);
  const NodeId gone = facts.node;
  ASSERT_NO_FATAL_FAILURE(decommission(gone));

  // The process lives, says so, and takes nobody.
  until("the node to be fenced", [&] {
    const auto now = status(0, gone);
    return now && now->is_fenced_for_good();
  });
  EXPECT_EQ(status(0, gone)->membership(), "decommissioned");
  EXPECT_FALSE(status(0, gone)->is_live());
  until("the probe", [&] {
    const auto probe = cli::http_get(facts.http_addr, "/health?ready=1", 5s);
    return probe.ok() && probe->status == 503 && probe->body.find("decommissioned for good") != std::string::npos;
  });
  const auto refused = cli::PgConnection::connect(cluster().sql_url(1), "defaultdb", 5s);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotReady) << refused.error().message;
  EXPECT_NE(refused.error().message.find("decommissioned for good"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(cluster().running(1));
  EXPECT_EQ(value(0, "defaultdb", "SELECT 1"), "1");

  // A worker that is killed does not come back, and neither does the node.
  ASSERT_TRUE(cluster().kill_worker(1).ok());
  EXPECT_EQ(*cluster().wait_exit(1, 30s), 3);
  ASSERT_TRUE(cluster().start(1).ok());
  EXPECT_EQ(*cluster().wait_exit(1, 30s), 3);
  const auto again = run_outlast("start --store=" + cluster().store(1) + " --meta=embedded:" + dir() +
                                     "/other --single-node --listen-addr=127.0.0.1:0 --sql-addr=127.0.0.1:0 "
                                     "--http-addr=127.0.0.1:0",
                                 20);
  EXPECT_EQ(again.code, 3);
  EXPECT_NE(again.output.find("decommissioned for good"), std::string::npos) << again.output;
}

TEST_F(MembershipTest, ADecommissionedProcessEndsAtOnce) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING kv.replication_factor = 1");
  must(main, "SET CLUSTER SETTING server.shutdown.drain_wait = '30s'");
  ASSERT_TRUE(cluster().start(1).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(1));
  ASSERT_NO_FATAL_FAILURE(open_metadata());
  const std::string store = cluster().store(1);
  ASSERT_NO_FATAL_FAILURE(decommission(id(1)));
  until("the mark on the store", [&] { return std::filesystem::exists(store + "/RETIRED"); });
  const auto ended = cluster().terminate(1, 10s);
  ASSERT_TRUE(ended.ok()) << "it drains although there is nothing left to drain: " << ended.error().message;
  EXPECT_EQ(*ended, 0);
}

TEST_F(MembershipTest, ADeadNodesCopiesAreBuiltAnewOnceItsMaintenanceIsOver) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(4));
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING server.time_until_store_dead = '1s'");
  for (int i = 0; i < 4; ++i) must(main, "CREATE DATABASE d" + std::to_string(i));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const NodeId away = id(3);
  until("the node to hold something", [&] { return is_member(0, away); });
  ASSERT_NO_FATAL_FAILURE(maintenance(0, away, 1h));
  cluster().kill_node(3);
  until("the node to be fenced", [&] { return status(0, away)->liveness() == "fenced"; });
  const Instant fenced = loop_.now();
  until("three times the time after which a node is dead", [&] { return loop_.now() - fenced > 3s; });
  EXPECT_EQ(status(0, away)->liveness(), "fenced") << "not dead";
  EXPECT_GT(status(0, away)->maintenance_until_micros(), 0);
  EXPECT_TRUE(is_member(0, away) || !all_replicated(0, 3)) << "nothing was built in its place";
  ASSERT_NO_FATAL_FAILURE(maintenance(0, away, 0s));
  until("the copies to be built anew", [&] { return !is_member(0, away) && all_replicated(0, 3); });
  EXPECT_EQ(status(0, away)->liveness(), "dead");

  ASSERT_TRUE(cluster().start(3).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(3));
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(value(3, "d" + std::to_string(i), "SELECT 1"), "1")
        << "it serves, and knows what is not its own any more";
}

}  // namespace
}  // namespace outlast
