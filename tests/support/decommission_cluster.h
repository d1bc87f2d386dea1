#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>

#include "rpc/client.h"
#include "support/cluster.h"

namespace outlast::testing_support {

/// Nodes that leave for good, or stay after all.
class DecommissionClusterTest : public ClusterTest {
 protected:
  using Request = proto::DecommissionRequest;

  /// Databases enough that every node leads some.
  void start_with_databases(int nodes, int databases) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(nodes));
    auto main = connect(0);
    for (int i = 0; i < databases; ++i) must(main, "CREATE DATABASE d" + std::to_string(i));
    auto app = connect(0, "d0");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    must(app, "INSERT INTO t VALUES (0, 'first')");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  std::uint32_t id(int node) { return cluster().facts(node)->node.value; }
  rpc::AdminClient admin(int node) { return rpc::AdminClient(cluster().facts(node)->listen_addr); }
  proto::DecommissionReply ask(int at, Request::Action action, std::initializer_list<int> nodes,
                               const std::string& checks = "") {
    Request request;
    request.set_action(action);
    request.set_checks(checks);
    request.set_by("a test");
    for (const int node : nodes) request.add_nodes(id(node));
    auto reply = admin(at).decommission(request, std::chrono::seconds(10));
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    return reply.ok() ? *reply : proto::DecommissionReply();
  }
  /// Begins, and expects that it may.
  std::uint64_t begin(int at, std::initializer_list<int> nodes) {
    const auto reply = ask(at, Request::BEGIN, nodes);
    EXPECT_EQ(reply.code(), "") << reply.message() << "\n" << reply.preflight().text();
    return reply.task();
  }
  std::optional<proto::TaskStatus> task(int at, std::uint64_t id) {
    proto::TasksRequest request;
    request.set_task(id);
    const auto reply = admin(at).tasks(request, std::chrono::seconds(5));
    if (!reply.ok() || reply->tasks_size() != 1) return std::nullopt;
    return reply->tasks(0);
  }
  proto::TaskStatus until(int at, std::uint64_t id, const std::string& what, Duration patience,
                          const std::function<bool(const proto::TaskStatus&)>& reached) {
    proto::TaskStatus last;
    const auto waited = cluster().wait_until(what, patience, [&] {
      const auto now = task(at, id);
      if (now) last = *now;
      return now && reached(*now);
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << "\n" << last.DebugString();
    return last;
  }
  proto::TaskStatus until_over(int at, std::uint64_t id, Duration patience = std::chrono::seconds(90)) {
    return until(at, id, "the end of the task", patience,
                 [](const proto::TaskStatus& now) { return now.state() != "running" && now.state() != "paused"; });
  }
  std::optional<proto::NodeStatus> status(int at, std::uint32_t node) {
    const auto reply = admin(at).decommission_status(std::chrono::seconds(5));
    if (!reply.ok()) return std::nullopt;
    for (const auto& each : reply->nodes())
      if (each.id() == node) return each;
    return std::nullopt;
  }
  int leader() {
    const auto reply = admin(0).node_status(std::chrono::seconds(5));
    for (int i = 0; reply.ok() && i < cluster().size(); ++i)
      for (const auto& node : reply->nodes())
        if (node.is_leader_frontend() && cluster().facts(i).ok() && node.id() == id(i)) return i;
    return -1;
  }
  void expect_gone(int at, std::uint32_t node) {
    const auto now = status(at, node);
    ASSERT_TRUE(now);
    EXPECT_EQ(now->membership(), "decommissioned") << now->DebugString();
    EXPECT_EQ(now->replicas(), 0U);
    EXPECT_EQ(now->leases(), 0U);
    EXPECT_EQ(now->readiness(), "already decommissioned");
    for (const auto& range : *cluster().ranges(at)) {
      EXPECT_EQ(std::ranges::count(range.insync, NodeId(node)), 0) << range.database;
      EXPECT_GE(range.insync.size(), 3U) << range.database << ": one more while the balance moves a replica";
    }
  }
};

}  // namespace outlast::testing_support
