#include "cli/haproxy.h"

#include <gtest/gtest.h>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

proto::NodeStatus node(std::uint32_t id, const std::string& sql, const std::string& http) {
  proto::NodeStatus n;
  n.set_id(id);
  n.set_address("10.0.0." + std::to_string(id) + ":26258");
  n.set_sql_address(sql);
  n.set_http_address(http);
  n.set_membership("active");
  return n;
}

proto::NodeStatusReply three_nodes() {
  proto::NodeStatusReply reply;
  for (std::uint32_t id = 1; id <= 3; ++id) {
    const std::string host = "10.0.0." + std::to_string(id);
    *reply.add_nodes() = node(id, host + ":26257", host + ":8080");
  }
  return reply;
}

TEST(HaproxyConfig, HasALineForEachNodeAndChecksReadinessOverHttp) {
  const auto text = haproxy_config(three_nodes(), {});
  ASSERT_TRUE(text.ok());
  for (const char* line :
       {"  bind :26257\n", "  mode tcp\n", "  balance leastconn\n", "  option httpchk GET /health?ready=1\n",
        "  option redispatch 1\n", "  default-server inter 2s fall 3 rise 2 slowstart 10s\n",
        "  server node1 10.0.0.1:26257 check port 8080\n", "  server node3 10.0.0.3:26257 check port 8080\n"})
    EXPECT_NE(text->find(line), std::string::npos) << line;
}

TEST(HaproxyConfig, OnlyFrontendsTakeClients) {
  proto::NodeStatusReply nodes = three_nodes();
  nodes.mutable_nodes(0)->set_roles("frontend");
  nodes.mutable_nodes(1)->set_roles("backend,compute");
  nodes.mutable_nodes(1)->clear_sql_address();
  const auto text = haproxy_config(nodes, {});
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_NE(text->find("server node1"), std::string::npos);
  EXPECT_EQ(text->find("server node2"), std::string::npos);
  EXPECT_NE(text->find("server node3"), std::string::npos) << "a program that says nothing of roles has all";
}

TEST(HaproxyConfig, NeverCutsTheSessionsOfANodeThatDrains) {
  const auto text = haproxy_config(three_nodes(), {});
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->find("\n  on-marked-down"), std::string::npos);
  EXPECT_EQ(text->find(" on-marked-down "), std::string::npos);
}

TEST(HaproxyConfig, SaysHowLongTheNodesHaveToWaitForIt) {
  EXPECT_EQ(least_drain_wait({}), 8s);
  EXPECT_EQ(least_drain_wait({.inter = 200ms, .fall = 2}), 600ms);
  EXPECT_NE(haproxy_config(three_nodes(), {})->find("server.shutdown.drain_wait = '10s'"), std::string::npos);
  const auto quick = haproxy_config(three_nodes(), {.inter = 200ms, .fall = 2});
  EXPECT_NE(quick->find("inter 200ms fall 2 rise 2 slowstart 1s"), std::string::npos);
}

TEST(HaproxyConfig, UsesTheAdvertisedHostOfANodeThatListensEverywhere) {
  proto::NodeStatusReply reply;
  *reply.add_nodes() = node(4, "0.0.0.0:26257", "127.0.0.1:8080");
  const auto text = haproxy_config(reply, {});
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("server node4 10.0.0.4:26257 check addr 127.0.0.1 port 8080\n"), std::string::npos) << *text;
}

TEST(HaproxyConfig, LeavesOutWhoIsGoneForEverAndRefusesAnEmptyCluster) {
  auto reply = three_nodes();
  reply.mutable_nodes(1)->set_membership("decommissioned");
  EXPECT_EQ(haproxy_config(reply, {})->find("node2"), std::string::npos);
  EXPECT_EQ(haproxy_config({}, {}).error().code, Errc::kInvalidArgument);
  reply.mutable_nodes(0)->clear_sql_address();
  EXPECT_EQ(haproxy_config(reply, {}).error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace outlast::cli
