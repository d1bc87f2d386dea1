#include "server/reload.h"

#include <gtest/gtest.h>

namespace outlast::server {
namespace {
using namespace std::chrono_literals;

TEST(Reload, SaysOfEveryChangeWhenItComesIntoForce) {
  StartOptions before, after;
  EXPECT_TRUE(compare_options(before, after).empty());
  EXPECT_EQ(reload_json({}), R"({"now":{},"restart":{},"stop":{}})");
  after.log_level = "debug";
  after.grace = 90s;
  after.sql_addr = "127.0.0.1:1";
  const auto changes = compare_options(before, after);
  EXPECT_EQ(changes, (std::vector<OptionChange>{{"sql-addr", "127.0.0.1:26257", "127.0.0.1:1", Takes::kStop},
                                                {"grace", "0s", "1m30s", Takes::kRestart},
                                                {"log-level", "info", "debug", Takes::kNow}}));
  EXPECT_EQ(reload_json(changes),
            R"({"now":{"log-level":"debug"},"restart":{"grace":"1m30s"},"stop":{"sql-addr":"127.0.0.1:1"}})");
}

}  // namespace
}  // namespace outlast::server
