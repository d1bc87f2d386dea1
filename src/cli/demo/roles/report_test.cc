#include "cli/demo/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>

#include "cli/demo/roles/report.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using enum NodeRole;

ExitTurn good_exit(int node, NodeRole role, Duration asked) {
  ExitTurn turn{.node = node, .role = role, .window = 10s, .asked = asked};
  turn.busy_until = asked + 3s;
  turn.shutdown = asked + 100ms;
  turn.gone = turn.disconnected = asked + 4s;
  turn.ready = asked + 6s;
  turn.back = asked + 7s;
  turn.codes = {"SHUTDOWN", "DISCONNECTED", "OK"};
  turn.exit_code = 0;
  if (role == kFrontend) turn.unhealthy = asked + 50ms;
  return turn;
}

DemoReport good() {
  DemoReport report;
  report.scenario = "roles";
  report.nodes = 3;
  report.readers = 1;
  report.finished = true;
  report.seconds = 120;
  report.statements.ok = 1000;
  report.read_back.assign(1, CheckResult{.acked = 500});
  report.replicas = ReplicaComparison{.ranges = 6, .replicas = 18};
  report.under_replicated_after = 0;
  report.p99_ratio = 1.5;
  RolesReport roles{.plan = roles_plan(120s), .nodes = {kFrontend, kBackend, kCompute}};
  roles.exits = {good_exit(2, kCompute, 5s), good_exit(1, kBackend, 20s), good_exit(0, kFrontend, 40s)};
  roles.exits[2].leader = true;
  roles.medium = {.ok = 12, .cancelled = 1, .retried = 1};
  roles.long_ones = {.cancelled = 3};
  roles.labels = LabelCounts{.sent = 200, .retried = 4};
  roles.plain_labels = LabelCounts{.sent = 100, .failed = 2};
  roles.tasks = TaskCounts{.inserted = 400, .expired = 390, .after_leader_left = true};
  roles.leader_changes = 1;
  roles.longest_silence_seconds = 0.5;
  report.roles = roles;
  return report;
}

TEST(RolesReportTest, PassesOnlyACompleteRun) {
  const auto why = failures(good());
  EXPECT_TRUE(why.empty()) << why.front();
  const auto json = boost::json::parse(to_json(good()));
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_EQ(json.at("queries").at("medium").at("ok").to_number<int>(), 12);
  EXPECT_EQ(json.at("exits").as_array().size(), 3U);
  EXPECT_EQ(json.at("exits").at(2).at("unhealthy_after_seconds").to_number<double>(), 0.05);
  EXPECT_EQ(json.at("exits").at(0).at("seconds").to_number<double>(), 4);
  for (const auto& row : json.at("expectations").as_array()) EXPECT_EQ(row.at("verdict"), "met") << row;
  EXPECT_NE(summary(good()).find("PASS"), std::string::npos);
}

TEST(RolesReportTest, NothingMeasuredIsNoPass) {
  DemoReport report = good();
  report.roles = RolesReport{};
  report.statements = {};
  const auto rows = roles_expectations(*report.roles, report);
  EXPECT_TRUE(std::ranges::all_of(
      rows, [](const Expectation& row) { return row.verdict == Expectation::Verdict::kNotMeasured; }));
  EXPECT_GT(failures(report).size(), rows.size());
}

struct Spoiler {
  const char* name;
  void (*spoil)(DemoReport&, RolesReport&);
};
class RolesReportSpoiled : public testing::TestWithParam<Spoiler> {};

TEST_P(RolesReportSpoiled, Fails) {
  DemoReport report = good();
  GetParam().spoil(report, *report.roles);
  EXPECT_FALSE(failures(report).empty());
  EXPECT_FALSE(boost::json::parse(to_json(report)).at("pass").as_bool());
  EXPECT_NE(summary(report).find("FAIL"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each, RolesReportSpoiled,
    testing::Values(Spoiler{"ShortFailed", [](auto& d, auto&) { d.statements.failed = 1; }},
                    Spoiler{"ShortUnknown", [](auto& d, auto&) { d.statements.unknown = 1; }},
                    Spoiler{"MediumFailedWithinTheWindow", [](auto&, auto& r) { r.medium.failed = 1; }},
                    Spoiler{"NoMedium", [](auto&, auto& r) { r.medium = {}; }},
                    Spoiler{"LongFailed", [](auto&, auto& r) { r.long_ones.failed = 1; }},
                    Spoiler{"NoLong", [](auto&, auto& r) { r.long_ones = {}; }},
                    Spoiler{"LabelLost", [](auto&, auto& r) { r.labels->lost = 1; }},
                    Spoiler{"LabelDoubled", [](auto&, auto& r) { r.labels->doubled = 1; }},
                    Spoiler{"LabelHalf", [](auto&, auto& r) { r.plain_labels->halves = 1; }},
                    Spoiler{"LabelGivenUp", [](auto&, auto& r) { r.labels->failed = 1; }},
                    Spoiler{"NobodysRows", [](auto&, auto& r) { r.labels->rows_unasked = 1; }},
                    Spoiler{"LabelsNotRead", [](auto&, auto& r) { r.labels.reset(); }},
                    Spoiler{"TasksNotLookedAt", [](auto&, auto& r) { r.tasks.reset(); }},
                    Spoiler{"NothingExpiredAfterTheLeader", [](auto&, auto& r) { r.tasks->after_leader_left = false; }},
                    Spoiler{"LoadsWait", [](auto&, auto& r) { r.tasks->loads_waiting = 1; }},
                    Spoiler{"Silence", [](auto&, auto& r) { r.longest_silence_seconds = 5; }},
                    Spoiler{"SilenceUnknown", [](auto&, auto& r) { r.longest_silence_seconds.reset(); }},
                    Spoiler{"SameLeader", [](auto&, auto& r) { r.leader_changes = 0; }},
                    Spoiler{"LeaderStayed", [](auto&, auto& r) { r.exits[2].leader = false; }},
                    Spoiler{"OneDidNotLeave", [](auto&, auto& r) { r.exits.pop_back(); }},
                    Spoiler{"OneDidNotReturn", [](auto&, auto& r) { r.exits[1].back.reset(); }},
                    Spoiler{"Killed", [](auto&, auto& r) { r.exits[1].killed = true; }},
                    Spoiler{"CommandFailed", [](auto&, auto& r) { r.exits[1].exit_code = 1; }},
                    Spoiler{"NeverShutdown", [](auto&, auto& r) { r.exits[0].codes = {"DISCONNECTED"}; }},
                    Spoiler{"StillHealthy", [](auto&, auto& r) { r.exits[2].unhealthy.reset(); }},
                    Spoiler{"WaitedForNothing", [](auto&, auto& r) { r.exits[1].gone = *r.exits[1].busy_until + 6s; }},
                    Spoiler{"ConnectionLost", [](auto& d, auto&) { d.connections.lost = 1; }},
                    Spoiler{"RowMissing", [](auto& d, auto&) { d.read_back[0].missing = 1; }}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace outlast::cli
