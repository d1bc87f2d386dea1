#include "placement/roles.h"

#include <gtest/gtest.h>

#include "placement/replication_factor.h"
#include "placement/view.h"

namespace outlast::placement {
namespace {

TEST(Roles, EveryNonEmptySubsetIsReadAndWritten) {
  for (int bits = 1; bits < 8; ++bits) {
    const Roles roles{.frontend = (bits & 1) != 0, .backend = (bits & 2) != 0, .compute = (bits & 4) != 0};
    const auto again = parse_roles(to_string(roles));
    ASSERT_TRUE(again.ok()) << to_string(roles);
    EXPECT_EQ(*again, roles);
  }
  EXPECT_EQ(parse_roles("compute,frontend,compute").value(),
            (Roles{.frontend = true, .backend = false, .compute = true}));
}

TEST(Roles, AnythingElseIsRefusedWithTheWordsThatAreAllowed) {
  for (const char* text : {"", "none", "frontend,", ",backend", "Frontend", "backend compute", "all"}) {
    const auto roles = parse_roles(text);
    ASSERT_FALSE(roles.ok()) << text;
    EXPECT_EQ(roles.error().code, Errc::kInvalidArgument);
    EXPECT_NE(roles.error().message.find("frontend, backend and compute"), std::string::npos);
  }
}

TEST(Roles, OnlyBackendsCountForReplicas) {
  NodeView node{.id = NodeId(1), .store_uuid = "s"};
  EXPECT_TRUE(node.counts() && node.takes_replicas() && node.stays());
  node.backend = false;
  EXPECT_FALSE(node.counts() || node.takes_replicas());
  EXPECT_TRUE(node.stays()) << "as a frontend it still belongs here";
}

}  // namespace
}  // namespace outlast::placement
