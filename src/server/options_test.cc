#include "server/options.h"

#include <gtest/gtest.h>

namespace outlast::server {
namespace {

StartOptions with_roles(std::string roles) {
  StartOptions options;
  options.roles = std::move(roles);
  options.meta = "embedded:/m";
  return options;
}

TEST(Options, ANodeHasSomeRolesAndACollectorNone) {
  EXPECT_TRUE(check_roles(StartOptions{.meta = "embedded:/m"}).ok());
  EXPECT_TRUE(check_roles(with_roles("compute")).ok());
  EXPECT_TRUE(check_roles(with_roles("backend,frontend")).ok());
  StartOptions collector = with_roles("none");
  EXPECT_EQ(check_roles(collector).error().code, Errc::kInvalidArgument) << "it has no metadata";
  collector.meta.clear();
  EXPECT_TRUE(check_roles(collector).ok());
  const auto refused = check_roles(with_roles("leader"));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("--roles"), std::string::npos);
  EXPECT_FALSE(check_roles(with_roles("")).ok());
}

TEST(Options, AClusterOfOneNodeNeedsAllRoles) {
  StartOptions single = with_roles("frontend,backend");
  single.single_node = true;
  EXPECT_FALSE(check_roles(single).ok());
  single.roles = "compute,backend,frontend";
  EXPECT_TRUE(check_roles(single).ok());
}

TEST(Options, OnlyFrontendsHaveASqlPort) {
  EXPECT_TRUE(takes_clients(with_roles("frontend")));
  EXPECT_FALSE(takes_clients(with_roles("backend,compute")));
  EXPECT_FALSE(takes_clients(with_roles("none")));
}

TEST(Options, RolesAreTheSameInAnyOrder) {
  EXPECT_TRUE(same_roles(with_roles("backend,frontend"), with_roles("frontend,backend")));
  EXPECT_FALSE(same_roles(with_roles("backend"), with_roles("backend,compute")));
  EXPECT_FALSE(same_roles(with_roles("backend"), with_roles("none")));
}

}  // namespace
}  // namespace outlast::server
