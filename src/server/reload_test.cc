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
                                                {"grace", "0s", "1m30s", Takes::kNow},
                                                {"log-level", "info", "debug", Takes::kNow}}));
  EXPECT_EQ(reload_json(changes),
            R"({"now":{"grace":"1m30s","log-level":"debug"},"restart":{},"stop":{"sql-addr":"127.0.0.1:1"}})");
  EXPECT_EQ(values_now(reload_json(changes)),
            (std::map<std::string, std::string>{{"grace", "1m30s"}, {"log-level", "debug"}}));
  EXPECT_TRUE(values_now("[]").empty());
  EXPECT_TRUE(values_now(R"({"error":"no such file"})").empty());
}

}  // namespace
}  // namespace outlast::server
