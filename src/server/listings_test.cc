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
