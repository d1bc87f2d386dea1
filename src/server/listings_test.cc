#include "server/listings.h"

#include <gtest/gtest.h>

namespace outlast::server {
namespace {
using executor::Null;
using executor::Value;
using gateway::Listing;

/// Every row has a value of the right kind for each column.
void expect_fits(Listing listing, const std::vector<gateway::ListingRow>& rows) {
  const auto columns = gateway::listing_columns(listing);
  ASSERT_FALSE(rows.empty());
  for (const gateway::ListingRow& row : rows) {
    ASSERT_EQ(row.size(), columns.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool text = columns[i].kind == gateway::ListingColumn::Kind::kText;
      EXPECT_TRUE(std::holds_alternative<Null>(row[i]) || std::holds_alternative<std::string>(row[i]) == text)
          << columns[i].name;
    }
  }
}

const Value& at(Listing listing, const gateway::ListingRow& row, const std::string& column) {
  const auto columns = gateway::listing_columns(listing);
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].name == column) return row[i];
  ADD_FAILURE() << "no column " << column;
  return row.front();
}

TEST(Listings, AWordNamesOne) {
  EXPECT_EQ(gateway::find_listing("nodes"), Listing::kNodes);
  EXPECT_EQ(gateway::find_listing("ranges"), Listing::kRanges);
  EXPECT_EQ(gateway::find_listing("tasks"), Listing::kTasks);
  EXPECT_EQ(gateway::find_listing("frontends"), Listing::kFrontends);
  EXPECT_EQ(gateway::find_listing("backends"), Listing::kBackends);
  EXPECT_EQ(gateway::find_listing("compute nodes"), Listing::kComputeNodes);
  EXPECT_EQ(gateway::find_listing("node"), std::nullopt);
}

TEST(Listings, NodesFitTheirColumns) {
  proto::NodeStatusReply reply;
  auto& node = *reply.add_nodes();
  node.set_id(4);
  node.set_membership("decommissioning");
  node.set_is_decommissioning(true);
  const auto rows = listing_rows(reply);
  expect_fits(Listing::kNodes, rows);
  EXPECT_EQ(at(Listing::kNodes, rows[0], "id"), Value(std::int64_t{4}));
  EXPECT_EQ(at(Listing::kNodes, rows[0], "membership"), Value(std::string("decommissioning")));
  EXPECT_EQ(at(Listing::kNodes, rows[0], "is_decommissioning"), Value(std::int64_t{1}));
}

TEST(Listings, EachRoleHasItsOwnListingWithStarRocksColumns) {
  proto::NodeStatusReply reply;
  const auto add = [&reply](const char* roles, const char* code) {
    auto& node = *reply.add_nodes();
    node.set_id(static_cast<std::uint32_t>(reply.nodes_size()));
    node.set_roles(roles);
    node.set_status_code(code);
    node.set_address("10.0.0.7:26258");
    node.set_membership("active");
    return &node;
  };
  auto* const leader = add("frontend", "OK");
  leader->set_is_leader_frontend(true);
  leader->set_sql_address("10.0.0.7:26257");
  add("backend", "SHUTDOWN")->set_running_queries(3);
  add("compute", "DISCONNECTED");
  add("", "OK");  // an older program has every role
  add("frontend,backend,compute", "OK")->set_membership("decommissioned");

  const auto frontends = frontend_rows(reply), backends = backend_rows(reply), compute = compute_node_rows(reply);
  expect_fits(Listing::kFrontends, frontends);
  expect_fits(Listing::kBackends, backends);
  expect_fits(Listing::kComputeNodes, compute);
  ASSERT_TRUE(frontends.size() == 2 && backends.size() == 2 && compute.size() == 2);
  EXPECT_EQ(at(Listing::kFrontends, frontends[0], "Role"), Value(std::string("LEADER")));
  EXPECT_EQ(at(Listing::kFrontends, frontends[0], "QueryPort"), Value(std::int64_t{26257}));
  EXPECT_EQ(at(Listing::kFrontends, frontends[1], "Role"), Value(std::string("FOLLOWER")));
  EXPECT_EQ(at(Listing::kBackends, backends[0], "StatusCode"), Value(std::string("SHUTDOWN")));
  EXPECT_EQ(at(Listing::kBackends, backends[0], "Alive"), Value(std::string("true"))) << "exiting is not dead";
  EXPECT_EQ(at(Listing::kBackends, backends[0], "NumRunningQueries"), Value(std::int64_t{3}));
  EXPECT_EQ(at(Listing::kBackends, backends[0], "IP"), Value(std::string("10.0.0.7")));
  EXPECT_EQ(at(Listing::kBackends, backends[1], "NumRunningQueries"), Value(Null()));
  EXPECT_EQ(at(Listing::kComputeNodes, compute[0], "Alive"), Value(std::string("false")));
}

TEST(Listings, ARangeWithoutALeaseholderSaysNull) {
  proto::RangesReply reply;
  auto& range = *reply.add_ranges();
  range.set_range(9);
  for (const std::uint32_t id : {1, 2, 4}) range.add_insync(id);
  const auto rows = listing_rows(reply);
  expect_fits(Listing::kRanges, rows);
  EXPECT_EQ(at(Listing::kRanges, rows[0], "in_sync"), Value(std::string("1,2,4")));
  EXPECT_EQ(at(Listing::kRanges, rows[0], "leaseholder"), Value(Null()));
}

TEST(Listings, WhatNobodyToldOfATaskIsNull) {
  proto::TasksReply reply;
  auto& task = *reply.add_tasks();
  task.set_id(7);
  task.set_kind("decommission");
  task.set_replicas_left(39);
  task.set_eta_ms(1200);
  auto rows = listing_rows(reply);
  expect_fits(Listing::kTasks, rows);
  EXPECT_EQ(at(Listing::kTasks, rows[0], "replicas_left"), Value(Null()));
  EXPECT_EQ(at(Listing::kTasks, rows[0], "eta_ms"), Value(Null()));
  task.set_has_progress(true);
  rows = listing_rows(reply);
  EXPECT_EQ(at(Listing::kTasks, rows[0], "replicas_left"), Value(std::int64_t{39}));
  EXPECT_EQ(at(Listing::kTasks, rows[0], "eta_ms"), Value(std::int64_t{1200}));
}

}  // namespace
}  // namespace outlast::server
