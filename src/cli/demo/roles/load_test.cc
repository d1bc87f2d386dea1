// What queries, loads and background work of the scenario roles are counted as.
#include <gtest/gtest.h>

#include "cli/demo/roles/loads.h"
#include "cli/demo/roles/queries.h"
#include "cli/demo/roles/tasks.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using enum QueryLength;

std::vector<ExitTurn> one_exit() {
  return {{.role = NodeRole::kBackend, .window = 10s, .asked = 20s, .gone = Duration(32s)}};
}
QueryRun failed(QueryLength length, Duration began, Duration ended, const char* code) {
  return {.type = {.length = length}, .began = began, .ended = ended, .sqlstate = code, .message = "why"};
}

TEST(RolesQueries, WhatEndsWithinTheWindowFailedAndLaterItWasCancelled) {
  const auto exits = one_exit();
  EXPECT_EQ(count_queries({failed(kMedium, 15s, 24s, "40001")}, kMedium, exits).failed, 1U);
  EXPECT_EQ(count_queries({failed(kMedium, 15s, 31s, "40001")}, kMedium, exits).cancelled, 1U);
  EXPECT_EQ(count_queries({failed(kMedium, 15s, 31s, "")}, kMedium, exits).failed, 1U) << "without a word";
  EXPECT_EQ(count_queries({failed(kMedium, 33s, 36s, "40001")}, kMedium, exits).failed, 1U) << "began after it";
  EXPECT_EQ(count_queries({failed(kMedium, 15s, 31s, "40001")}, kMedium, {}).failed, 1U);
  EXPECT_EQ(count_queries({failed(kLong, 0s, 13s, "57014")}, kLong, exits).cancelled, 1U) << "its own limit";
  EXPECT_EQ(count_queries({failed(kMedium, 0s, 13s, "57014")}, kMedium, exits).failed, 1U);
}

TEST(RolesQueries, KnowsUntilWhenTheyRan) {
  const std::vector<QueryRun> runs{failed(kMedium, 1s, 5s, ""), failed(kLong, 2s, 9s, ""),
                                   failed(kMedium, 4s, 11s, "")};
  EXPECT_EQ(busy_until(runs, 3s), Duration(9s));
  EXPECT_EQ(busy_until(runs, 0s), std::nullopt);
}

TEST(RolesQueries, CountsByLength) {
  QueryRun good{.type = {.length = kMedium}, .began = 1s, .ended = 4s, .ok = true};
  QueryRun again = good;
  again.ended = 6s, again.again = true;
  const auto counts = count_queries({good, again, failed(kLong, 0s, 1s, "")}, kMedium, {});
  EXPECT_EQ(counts.ok, 2U);
  EXPECT_EQ(counts.retried, 1U);
  EXPECT_EQ(counts.failed, 0U);
  EXPECT_EQ(counts.seconds_min, 3);
  EXPECT_EQ(counts.seconds_max, 5);
}

TEST(RolesQueries, TheirAnswersFollowFromTheRows) {
  // 40 digits, and 4 characters before them: xyxy, of which each x becomes two.
  const HeavyQuery scan = heavy_query({.kind = QueryKind::kScan}, 2);
  EXPECT_NE(scan.sql.find("lpad(payload, 44, 'xy')"), std::string::npos);
  EXPECT_EQ(scan.answer, std::to_string(kArchiveRows * 46));
  const HeavyQuery join = heavy_query({.kind = QueryKind::kJoin}, 3);
  EXPECT_NE(join.sql.find("c.id < 3"), std::string::npos);
  EXPECT_EQ(join.answer, "750000");
  EXPECT_EQ(heavy_query({.kind = QueryKind::kJoin}, 1'000'000).answer, std::to_string(kArchiveRows * 250000));
}

HttpAnswer answer(int status, std::string body) {
  return {.status = status, .body = std::move(body)};
}

TEST(RolesLoads, WhatAnAnswerMeans) {
  EXPECT_TRUE(load_is_done(answer(200, R"({"Status":"Success"})")));
  EXPECT_TRUE(load_is_done(answer(200, R"({"Status":"Publish Timeout"})")));
  const auto exists = [](const char* how) {
    return answer(200, std::string(R"({"Status":"Label Already Exists","ExistingJobStatus":")") + how + "\"}");
  };
  EXPECT_TRUE(load_is_done(exists("FINISHED")));
  EXPECT_FALSE(load_is_done(exists("RUNNING")));
  EXPECT_FALSE(load_is_done(answer(200, R"({"Status":"Fail"})")));
  EXPECT_FALSE(load_is_done(answer(503, "")));
  EXPECT_EQ(load_state(answer(200, R"({"jobInfo":{"state":"COMMITTED"}})")), "COMMITTED");
  EXPECT_EQ(load_state(answer(404, "nothing")), "");
}

TEST(RolesLoads, ComparesLabelsWithTheirRows) {
  const auto run = [](const char* label, bool done, bool persistent = true) {
    return LoadRun{.label = label, .rows = 10, .persistent = persistent, .done = done};
  };
  const std::vector<LoadRun> runs{run("whole", true),       run("lost", true),  run("twice", true),
                                  run("none", false),       run("half", false), run("silent", false),
                                  run("plain", true, false)};
  const std::vector<LabelRows> there{{"whole", 10, 10},  {"lost", 4, 4},    {"twice", 20, 10}, {"half", 3, 3},
                                     {"silent", 10, 10}, {"plain", 10, 10}, {"foreign", 2, 2}};
  const LabelCounts counts = count_labels(runs, true, there);
  EXPECT_EQ(counts.sent, 3U);
  EXPECT_EQ(counts.failed, 3U);
  EXPECT_EQ(counts.lost, 1U);
  EXPECT_EQ(counts.rows_missing, 6U);
  EXPECT_EQ(counts.doubled, 1U);
  EXPECT_EQ(counts.rows_duplicated, 10U);
  EXPECT_EQ(counts.halves, 1U);
  EXPECT_EQ(counts.rows_unasked, 2U);
  EXPECT_EQ(count_labels(runs, false, there).sent, 1U);
}

TEST(RolesTasks, OldRowsGoUnderTheNextLeaderToo) {
  const RolesPlan plan{.interval = 2s, .ttl = 3s};
  const std::vector<ExpirySample> samples{{.at = 104, .rows = 4, .oldest = 100}, {.at = 108, .rows = 5, .oldest = 101}};
  const TaskCounts counts = count_tasks(9, samples, plan, 100.5);
  EXPECT_EQ(counts.expired, 4U);
  EXPECT_EQ(counts.longest_delay_seconds, 2);
  EXPECT_TRUE(counts.after_leader_left);
  EXPECT_FALSE(count_tasks(9, samples, plan, 102).after_leader_left);
  EXPECT_FALSE(count_tasks(9, samples, plan, std::nullopt).after_leader_left);
  EXPECT_EQ(count_tasks(9, {}, plan, 1).expired, 0U);
}

}  // namespace
}  // namespace outlast::cli
