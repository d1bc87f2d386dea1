#include "server/reload.h"

#include <gtest/gtest.h>

namespace outlast::server {
namespace {
using namespace std::chrono_literals;

TEST(Reload, TellsWhatTakesEffectAndWhatNeedsARestart) {
  StartOptions now, next;
  EXPECT_EQ(compare(now, next), Reload());
  next.log_level = "debug";
  next.max_connections = 7;
  next.grace = 1500ms;
  next.sql_addr = "127.0.0.1:1";
  const Reload reload = compare(now, next);
  EXPECT_EQ(reload.needs_restart, std::vector<std::string>{"sql-addr"});
  const auto read = parse_reload(to_json(reload));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, reload);
  EXPECT_EQ(read->grace, 1500ms);
}

TEST(Reload, IgnoresWhatItDoesNotKnowAndRefusesWhatIsNoReload) {
  EXPECT_EQ(parse_reload(R"({"changed":{"colour":"red","log-level":3},"more":1})").value(), Reload());
  EXPECT_EQ(parse_reload("[]").error().code, Errc::kInvalidArgument);
  EXPECT_EQ(parse_reload("").error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace outlast::server
