#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/demo/chaos.h"
#include "cli/demo/drain.h"
#include "cli/demo/proof.h"
#include "cli/demo/report.h"
#include "cli/demo/restart.h"
#include "cli/http_get.h"
#include "cli/local_cluster.h"
#include "cli/scoreboard.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

RecordsReport good_records() {
  RecordsReport r{.wanted = 90, .kernel_drops = 0, .longest_gap_ms = 12.5};
  for (const RecordKind kind : kRecordKinds) r.kinds[kind].counts.sent = 20;
  return r;
}

DemoReport good(const char* scenario) {
  DemoReport r;
  r.scenario = scenario;
  r.seed = 7;
  r.nodes = 3;
  r.seconds = 20;
  r.finished = true;
  r.statements.ok = 1000;
  r.read_back.assign(3, CheckResult{.acked = 500});
  r.replicas = ReplicaComparison{.ranges = 6, .replicas = 18};
  r.under_replicated_after = 0;
  if (r.scenario == "crash") {
    r.events = {{6, "kill_worker", 2, 0.4}};
    r.p99_ratio = 3.0;
    r.statements.unknown = r.statements.unknown_gateway_died = 2;
    r.statements.by_sqlstate["08006"] = 2;
  }
  if (r.scenario == "drain") {
    r.events = {{4, "drain", 1, 3.5}};
    r.p99_ratio = r.p99_ratio_with_restart = 1.1;
    r.receipts.resize(1);
    r.receipts[0].set_end("complete");
    r.receipts_wanted = 1;
  }
  if (r.scenario == "ingest") {
    r.statements.ok = 0;
    r.read_back.clear();
    r.events = {{6, "kill_worker", 2, 0.4}};
    r.records = r.after_kill = good_records();
    r.records->files = r.after_kill->files = StoredRecords{};
    r.after_kill->longest_gap_ms.reset();
  }
  if (r.scenario == "restart") r.records = good_records();
  if (r.scenario == "restart" || r.scenario == "ingest") {
    r.restart_receipts = {boost::json::parse(R"({"id":7,"node":1,"outcome":"completed","duration_ms":{"total":1300},
        "sessions":{"moved":8,"not_moved":[],"lost":0,"pause_ms":{"max":40}}})")
                              .as_object()};
    r.receipts_wanted = 1;
    r.max_pause_ms = 60.5;
  }
  return r;
}

TEST(DemoReport, PassesOnlyACompleteRun) {
  EXPECT_TRUE(failures(good("steady")).empty());
  EXPECT_TRUE(failures(good("crash")).empty());
  EXPECT_TRUE(failures(good("drain")).empty());
  EXPECT_TRUE(failures(good("restart")).empty());
  EXPECT_TRUE(failures(good("ingest")).empty());
}

/// One way to spoil a good report, and the scenario that it spoils.
struct Spoiler {
  const char* name;
  const char* scenario;
  void (*spoil)(DemoReport&);
};
class DemoReportSpoiled : public testing::TestWithParam<Spoiler> {};

TEST_P(DemoReportSpoiled, Fails) {
  DemoReport r = good(GetParam().scenario);
  GetParam().spoil(r);
  EXPECT_EQ(failures(r).size(), 1U);
  EXPECT_FALSE(boost::json::parse(to_json(r)).at("pass").as_bool());
  EXPECT_NE(summary(r).find("FAIL"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each, DemoReportSpoiled,
    testing::Values(
        Spoiler{"Unfinished", "steady", [](DemoReport& r) { r.finished = false; }},
        Spoiler{"NothingRan", "steady", [](DemoReport& r) { r.statements.ok = 0; }},
        Spoiler{"NothingAcked", "steady", [](DemoReport& r) { r.read_back.assign(3, CheckResult{}); }},
        Spoiler{"FailedStatement", "steady", [](DemoReport& r) { r.statements.failed = 1; }},
        Spoiler{"UnknownWithoutCrash", "steady", [](DemoReport& r) { r.statements.unknown = 1; }},
        Spoiler{"UnknownThoughTheGatewayLived", "crash", [](DemoReport& r) { ++r.statements.unknown; }},
        Spoiler{"WrongAnswer", "crash", [](DemoReport& r) { r.statements.unnamed = 1; }},
        Spoiler{"MissingAtOneNode", "steady", [](DemoReport& r) { r.read_back[2].missing = 1; }},
        Spoiler{"Duplicated", "crash", [](DemoReport& r) { r.read_back[0].duplicated = 1; }},
        Spoiler{"Resurrected", "crash", [](DemoReport& r) { r.read_back[0].resurrected = 1; }},
        Spoiler{"NeverAskedFor", "steady", [](DemoReport& r) { r.read_back[1].unasked = 1; }},
        Spoiler{"Balance", "steady", [](DemoReport& r) { r.read_back[1].broken_balances = 1; }},
        Spoiler{"NodeNotRead", "steady", [](DemoReport& r) { r.read_back.pop_back(); }},
        Spoiler{"ReplicasNotMeasured", "steady", [](DemoReport& r) { r.replicas.reset(); }},
        Spoiler{"NoRanges", "steady", [](DemoReport& r) { r.replicas->ranges = 0; }},
        Spoiler{"ReplicasDiffer", "steady", [](DemoReport& r) { r.replicas->different = 1; }},
        Spoiler{"ReplicasNotAtOneLsn", "steady", [](DemoReport& r) { r.replicas->not_compared = 1; }},
        Spoiler{"ReplicationUnknown", "steady", [](DemoReport& r) { r.under_replicated_after.reset(); }},
        Spoiler{"UnderReplicated", "crash", [](DemoReport& r) { r.under_replicated_after = 1; }},
        Spoiler{"NothingKilled", "crash", [](DemoReport& r) { r.events.clear(); }},
        Spoiler{"RatioNotMeasured", "crash", [](DemoReport& r) { r.p99_ratio.reset(); }},
        Spoiler{"FailedInADrain", "drain", [](DemoReport& r) { r.statements.failed = 1; }},
        Spoiler{"UnknownInADrain", "drain", [](DemoReport& r) { r.statements.unknown = 1; }},
        Spoiler{"ConnectionLost", "drain", [](DemoReport& r) { r.connections.lost = 1; }},
        Spoiler{"ConnectionRefused", "drain", [](DemoReport& r) { r.connections.refused = 1; }},
        Spoiler{"SessionCut", "drain", [](DemoReport& r) { r.receipts[0].set_sessions_cut(1); }},
        Spoiler{"ForcedDrain", "drain", [](DemoReport& r) { r.receipts[0].set_end("forced"); }},
        Spoiler{"DrainMissing", "drain", [](DemoReport& r) { r.receipts_wanted = 2; }},
        Spoiler{"DrainNotMeasured", "drain", [](DemoReport& r) { r.p99_ratio.reset(); }},
        Spoiler{"NotBackFromADrain", "drain", [](DemoReport& r) { r.events[0].ready_after_seconds.reset(); }},
        Spoiler{"FailedInARestart", "restart", [](DemoReport& r) { r.statements.failed = 1; }},
        Spoiler{"LostInARestart", "restart", [](DemoReport& r) { r.connections.lost = 1; }},
        Spoiler{"ToldToGoInARestart", "restart", [](DemoReport& r) { r.connections.closed_idle = 1; }},
        Spoiler{"RefusedInARestart", "restart", [](DemoReport& r) { r.connections.refused = 1; }},
        Spoiler{"TooFewRestarts", "restart", [](DemoReport& r) { r.receipts_wanted = 2; }},
        Spoiler{"RolledBack", "restart", [](DemoReport& r) { r.restart_receipts[0]["outcome"] = "rolled_back"; }},
        Spoiler{"NotMoved", "restart",
                [](DemoReport& r) {
                  r.restart_receipts[0]["sessions"] =
                      boost::json::parse(R"({"not_moved":[{"session":"3","reason":"COPY"}]})");
                }},
        Spoiler{"RecordsNotMeasured", "restart", [](DemoReport& r) { r.records.reset(); }},
        Spoiler{"TooFewRecords", "restart", [](DemoReport& r) { r.records->wanted = 101; }},
        Spoiler{"RecordLost", "restart", [](DemoReport& r) { r.records->kinds[RecordKind::kUdp].stored.lost = 1; }},
        Spoiler{"RecordDoubled", "restart",
                [](DemoReport& r) { r.records->kinds[RecordKind::kHttp].stored.duplicated = 1; }},
        Spoiler{"RecordOutOfOrder", "restart",
                [](DemoReport& r) { r.records->kinds[RecordKind::kTcp].stored.order_breaks = 1; }},
        Spoiler{"RecordUnreadable", "restart", [](DemoReport& r) { r.records->unreadable = 1; }},
        Spoiler{"SenderReset", "restart",
                [](DemoReport& r) { r.records->kinds[RecordKind::kSyslogTcp].counts.resets = 1; }},
        Spoiler{"SendFailed", "restart",
                [](DemoReport& r) { r.records->kinds[RecordKind::kUdp].counts.send_errors = 1; }},
        Spoiler{"KernelDropped", "restart", [](DemoReport& r) { r.records->kernel_drops = 1; }},
        Spoiler{"DropsNotMeasured", "restart", [](DemoReport& r) { r.records->kernel_drops.reset(); }},
        Spoiler{"DropInAReceipt", "restart",
                [](DemoReport& r) { r.restart_receipts[0]["inputs"] = {{"kernel_drops", 1}}; }},
        Spoiler{"OrderBreakInAReceipt", "ingest",
                [](DemoReport& r) { r.restart_receipts[0]["inputs"] = {{"order_breaks", 1}}; }},
        Spoiler{"GapNotMeasured", "ingest", [](DemoReport& r) { r.records->longest_gap_ms.reset(); }},
        Spoiler{"RecordNotInAFile", "ingest", [](DemoReport& r) { r.records->files->lost = 1; }},
        Spoiler{"NothingKilledUnderRecords", "ingest", [](DemoReport& r) { r.events.clear(); }},
        Spoiler{"KillNotMeasured", "ingest", [](DemoReport& r) { r.after_kill.reset(); }},
        Spoiler{"AcknowledgedLostByAKill", "ingest",
                [](DemoReport& r) { r.after_kill->kinds[RecordKind::kHttp].stored.lost = 1; }},
        Spoiler{"MoreThanOneReadLostByAKill", "ingest",
                [](DemoReport& r) { r.after_kill->kinds[RecordKind::kSyslogUdp].stored.lost = 1025; }},
        Spoiler{"OutOfOrderAfterAKill", "ingest",
                [](DemoReport& r) { r.after_kill->kinds[RecordKind::kTcp].stored.order_breaks = 1; }},
        Spoiler{"DoubledByAKill", "ingest",
                [](DemoReport& r) { r.after_kill->kinds[RecordKind::kHttp].stored.duplicated = 1; }},
        Spoiler{"RestartFailedUnderRecords", "ingest",
                [](DemoReport& r) { r.restart_receipts[0]["outcome"] = "rolled_back"; }},
        Spoiler{"NeverCameBack", "crash", [](DemoReport& r) { r.events[0].ready_after_seconds.reset(); }}),
    [](const auto& info) { return info.param.name; });

TEST(DemoReport, HasEveryFieldOfItsMeaning) {
  const auto json = boost::json::parse(to_json(good("crash"))).as_object();
  for (const char* field :
       {"scenario", "seed", "nodes", "seconds", "pass", "events", "statements", "connections", "rows", "latency_ms",
        "p99_ratio", "p99_ratio_with_restart", "max_pause_ms", "restarts", "receipts", "under_replicated_after"})
    EXPECT_TRUE(json.contains(field)) << field;
  for (const char* field : {"ok", "retried", "failed", "unknown", "unknown_gateway_died", "by_sqlstate"})
    EXPECT_TRUE(json.at("statements").as_object().contains(field)) << field;
  for (const char* field : {"acked", "missing", "duplicated"})
    EXPECT_TRUE(json.at("rows").as_object().contains(field)) << field;
  EXPECT_EQ(json.at("events").as_array().at(0).at("kind"), "kill_worker");
}

TEST(DemoReport, JudgesTheScenariosOfWholeClustersToo) {
  DemoReport leaves = good("crash");
  leaves.scenario = "decommission";
  EXPECT_EQ(failures(leaves), std::vector<std::string>{"no node was decommissioned"});
  leaves.nodes = 5;
  leaves.nodes_after = 3;  // read back through three
  EXPECT_EQ(failures(leaves).size(), 1U);
  ++leaves.statements.unknown;
  EXPECT_EQ(failures(leaves).size(), 2U);
  DemoReport rolls = good("steady");
  rolls.scenario = "rolling-restart";
  rolls.p99_ratio = 1.1;
  EXPECT_EQ(failures(rolls).size(), 2U) << "neither way to restart was seen";
  EXPECT_TRUE(boost::json::parse(to_json(rolls)).as_object().contains("longest_pause_ms"));
}

TEST(DemoReport, SaysWhatBecameOfTheRecords) {
  DemoReport report = good("ingest");
  report.records->kinds[RecordKind::kUdp].stored.lost = 3;
  report.records->kinds[RecordKind::kTcp].stored.order_breaks = 2;
  report.after_kill->kinds[RecordKind::kHttp].counts.retried = 5;
  const auto json = boost::json::parse(to_json(report)).as_object();
  const auto& records = json.at("records").as_object();
  EXPECT_EQ(records.at("sent").to_number<int>(), 100);
  EXPECT_EQ(records.at("lost").to_number<int>(), 3);
  EXPECT_EQ(json.at("order_breaks").to_number<int>(), 2);
  EXPECT_EQ(records.at("by_kind").at("udp").at("lost").to_number<int>(), 3);
  EXPECT_EQ(records.at("longest_gap_ms").to_number<double>(), 12.5);
  for (const char* field : {"duplicated", "unreadable", "send_errors", "connections_reset", "kernel_drops", "files"})
    EXPECT_TRUE(records.contains(field)) << field;
  EXPECT_EQ(json.at("after_kill").at("by_kind").at("http").at("sent_again").to_number<int>(), 5);
  EXPECT_FALSE(boost::json::parse(to_json(good("steady"))).as_object().contains("records"));
}

TEST(DemoReport, AKillMayCostWhatNobodyHadAcknowledged) {
  DemoReport report = good("ingest");
  auto& kinds = report.after_kill->kinds;
  kinds[RecordKind::kUdp].stored.lost = 1024;
  kinds[RecordKind::kTcp].stored.lost = 7;
  kinds[RecordKind::kTcp].counts.resets = 1;
  kinds[RecordKind::kHttp].counts.retried = 5;
  kinds[RecordKind::kHttp].stored.duplicated = 5;
  report.after_kill->files = StoredRecords{.lost = 1031, .duplicated = 5};
  EXPECT_EQ(failures(report), std::vector<std::string>());
}

/// A cluster of which every part does at once what it is asked to.
class DrainRoundsTest : public testing::Test {
 protected:
  DrainRounds rounds(int count, Duration end) {
    return {3,
            count,
            end,
            {.ask = [this](int node, const proto::DrainRequest& request) -> Result<proto::DrainReply> {
               log_ += (request.action() == proto::DrainRequest::DRAIN ? " drain" : " look") + std::to_string(node);
               proto::DrainReply reply;
               if (request.action() == proto::DrainRequest::STATUS && completes_)
                 reply.mutable_status()->set_end("complete");
               return reply;
             },
             .stop = [this](int node) { log_ += " stop" + std::to_string(node); },
             .running = [](int) { return false; },
             .start =
                 [this](int node) {
                   log_ += " start" + std::to_string(node);
                   return Result<void>();
                 },
             .ready = [](int) { return true; },
             .healed = [this] { return healed_; },
             .say = [](const std::string&) {}}};
  }
  std::string log_;
  bool completes_{true}, healed_{true};
};

TEST_F(DrainRoundsTest, TakesEachNodeInTurnAndStopsItOnlyWhenItIsDrained) {
  auto all = rounds(2, 60s);
  for (Duration now{0}; now < 60s && !all.finished(); now += 100ms) all.step(now);
  ASSERT_TRUE(all.finished());
  EXPECT_EQ(all.trouble(), "");
  ASSERT_EQ(all.turns().size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(all.turns()[i].node, static_cast<int>(i % 3));
    EXPECT_EQ(all.turns()[i].receipt.end(), "complete");
    EXPECT_TRUE(all.turns()[i].back);
  }
  EXPECT_TRUE(log_.starts_with(" drain0 look0 stop0 start0 drain1 look1 stop1 start1")) << log_;
  EXPECT_GE(all.turns()[0].asked, 3s) << "the load warms up first";
  EXPECT_GE(all.turns()[5].asked, 50s) << "spread over the whole run";
}

TEST_F(DrainRoundsTest, WaitsWithTheNextNodeUntilTheLastOneIsWhollyBack) {
  auto all = rounds(1, 10s);
  healed_ = false;
  for (Duration now{0}; now < 9s; now += 100ms) all.step(now);
  EXPECT_EQ(log_, "");
  healed_ = true;
  for (Duration now{9s}; now < 20s; now += 100ms) all.step(now);
  EXPECT_TRUE(all.finished());
}

TEST_F(DrainRoundsTest, NamesTheStepThatHangsAndTouchesNoOtherNode) {
  auto all = rounds(3, 90s);
  completes_ = false;
  for (Duration now{0}; now < 90s; now += 100ms) all.step(now);
  EXPECT_TRUE(all.finished());
  EXPECT_EQ(all.trouble(), "node 1 did not drain within 30 s");
  EXPECT_EQ(log_.find("stop"), std::string::npos);
  EXPECT_EQ(all.turns().size(), 1U);
}

TEST(DemoReport, HasTheFieldsOfARestart) {
  const auto json = boost::json::parse(to_json(good("restart"))).as_object();
  EXPECT_EQ(json.at("longest_pause_ms").to_number<double>(), 60.5);
  EXPECT_EQ(json.at("longest_pause_in_receipts_ms").to_number<int>(), 40);
  EXPECT_EQ(json.at("restart_ms").at("median").to_number<int>(), 1300);
  EXPECT_EQ(json.at("receipts").as_array().size(), 1U);
  EXPECT_NE(summary(good("restart")).find("restarts    1 of 1 wanted, median 1300 ms"), std::string::npos);
}

/// A cluster that restarts at once.
class RestartRoundsTest : public testing::Test {
 protected:
  RestartRounds rounds(Duration end) {
    return {3,
            end,
            {.ask = [this](int node, RestartTrigger trigger) -> Result<std::uint64_t> {
               if (refuses_) return Error(Errc::kUnavailable, "nobody answers");
               asked_.emplace_back(node, trigger);
               return asked_.size();
             },
             .receipt = [this](int, std::uint64_t id) -> std::optional<boost::json::object> {
               if (!answers_) return std::nullopt;
               return boost::json::object{{"id", id}, {"outcome", "completed"}};
             },
             .healed = [this] { return healed_; },
             .say = [](const std::string&) {}}};
  }
  void run(RestartRounds& all, Duration from, Duration to) {
    for (Duration now = from; now < to && !all.finished(); now += 100ms) all.step(now);
  }
  std::vector<std::pair<int, RestartTrigger>> asked_;
  bool answers_{true}, healed_{true}, refuses_{false};
};

TEST_F(RestartRoundsTest, EveryNodeInTurnByEveryTriggerUntilTheTimeIsOver) {
  auto all = rounds(20s);
  run(all, 0s, 30s);
  EXPECT_TRUE(all.finished());
  EXPECT_EQ(all.trouble(), "");
  ASSERT_GE(asked_.size(), 18U);
  for (std::size_t i = 0; i < asked_.size(); ++i) EXPECT_EQ(asked_[i].first, static_cast<int>(i % 3));
  for (int node = 0; node < 3; ++node)
    for (const auto trigger : {RestartTrigger::kSignal, RestartTrigger::kStore, RestartTrigger::kHttp})
      EXPECT_NE(std::ranges::find(asked_, std::pair(node, trigger)), asked_.end()) << node << to_string(trigger);
  for (const RestartTurn& turn : all.turns()) EXPECT_TRUE(turn.over && turn.healed);
}

TEST_F(RestartRoundsTest, TheNextOneWaitsForTheReceiptAndForEveryReplica) {
  auto all = rounds(60s);
  answers_ = false;
  run(all, 0s, 10s);
  EXPECT_EQ(asked_.size(), 1U);
  answers_ = true, healed_ = false;
  run(all, 10s, 20s);
  EXPECT_EQ(asked_.size(), 1U);
  healed_ = true;
  run(all, 20s, 22s);
  EXPECT_GT(asked_.size(), 1U);
}

TEST_F(RestartRoundsTest, WhatHangsOrIsRefusedEndsItWithASentence) {
  auto silent = rounds(600s);
  answers_ = false;
  run(silent, 0s, 600s);
  EXPECT_EQ(silent.trouble(), "node 1 has no receipt of restart 1 after 120 s");
  refuses_ = true;
  auto refused = rounds(60s);
  run(refused, 0s, 60s);
  EXPECT_EQ(refused.trouble(), "node 1 cannot be restarted by SIGUSR2: nobody answers");
}

TEST(RestartsWanted, TwentyInNinetySecondsAndInProportion) {
  EXPECT_EQ(restarts_wanted(90s), 20U);
  EXPECT_EQ(restarts_wanted(10min), 20U);
  EXPECT_EQ(restarts_wanted(45s), 10U);
  EXPECT_EQ(restarts_wanted(1s), 1U);
}

TEST(ChaosPlan, KillsWorkersAndWholeNodesInTurnAndRepeatsItself) {
  const auto run = [](std::uint64_t seed) {
    ChaosPlan plan(seed, 3, 6s, 60s);
    std::vector<std::pair<bool, int>> steps;
    for (Duration now{0}; now < 60s; now += 100ms)
      if (const auto step = plan.next(now, true)) steps.emplace_back(step->whole_node, step->node);
    return steps;
  };
  const auto steps = run(1);
  ASSERT_EQ(steps.size(), 9U);
  for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i].first, i % 2 == 1);
  EXPECT_EQ(steps, run(1));
  EXPECT_NE(steps, run(2));
}

TEST(ChaosPlan, WaitsForTheClusterToHealButNotForEver) {
  ChaosPlan plan(1, 3, 6s, 600s);
  EXPECT_FALSE(plan.next(5s, true));
  ASSERT_TRUE(plan.next(6s, true));
  EXPECT_FALSE(plan.next(13s, false));
  EXPECT_FALSE(plan.next(23s, false));
  EXPECT_TRUE(plan.next(24s, false));
  EXPECT_FALSE(plan.next(598s, true));  // too near to the end to show the recovery
}

TEST(JudgeDigests, WantsOneLsnBeforeItCompares) {
  EXPECT_EQ(judge_digests({}), DigestVerdict::kNotAtOneLsn);
  EXPECT_EQ(judge_digests({{5, 1, 9, 4096}, {5, 1, 9, 4096}}), DigestVerdict::kEqual);
  EXPECT_EQ(judge_digests({{5, 1, 9, 4096}, {4, 1, 9, 4096}}), DigestVerdict::kNotAtOneLsn);
  EXPECT_EQ(judge_digests({{5, 1, 9, 4096}, {5, 1, 8, 4096}}), DigestVerdict::kDifferent);
  EXPECT_EQ(judge_digests({{5, 1, 9, 4096}, {5, 1, 9, 8192}}), DigestVerdict::kDifferent);
}

TEST(FullyReplicated, NeedsALeaseholderAndEveryCopy) {
  const RangeFacts whole{RangeId(1), "a", NodeId(1), {NodeId(1), NodeId(2), NodeId(3)}, 3, 2};
  EXPECT_TRUE(fully_replicated({whole}, 3));
  EXPECT_FALSE(fully_replicated({}, 3));
  RangeFacts none = whole, thin = whole;
  none.leaseholder = {};
  thin.insync.pop_back();
  EXPECT_FALSE(fully_replicated({whole, none}, 3));
  EXPECT_FALSE(fully_replicated({whole, thin}, 3));
}

TEST(NodeFacts, ReadsWhatANodeWrites) {
  const auto facts = parse_node_facts(R"({"node_id":2,"pid":10,"worker_pid":11,"listen_addr":"127.0.0.1:1",
      "sql_addr":"127.0.0.1:2","http_addr":"127.0.0.1:3","from_a_newer_version":true})");
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->node, NodeId(2));
  EXPECT_EQ(facts->worker_pid, 11);
  EXPECT_EQ(facts->http_addr, "127.0.0.1:3");
  EXPECT_FALSE(parse_node_facts("{}").ok());
  EXPECT_FALSE(parse_node_facts(R"({"node_id":2)").ok());
}

TEST(RangeFacts, ReadsBothFormsOfTheList) {
  const std::string range = R"([{"id":4,"database":"d","leaseholder":1,"insync":[1,2],"rf":3,"min_insync":2}])";
  for (const std::string& text : {range, R"({"ranges":)" + range + "}"}) {
    const auto ranges = parse_ranges(text);
    ASSERT_TRUE(ranges.ok()) << ranges.error().message;
    ASSERT_EQ(ranges->size(), 1U);
    EXPECT_EQ(ranges->front().range, RangeId(4));
    EXPECT_EQ(ranges->front().insync, (std::vector<NodeId>{NodeId(1), NodeId(2)}));
  }
  EXPECT_FALSE(parse_ranges(R"([{"id":4}])").ok());
  EXPECT_FALSE(parse_ranges("no").ok());
  EXPECT_EQ(parse_digest(R"({"lsn":9,"epoch":2,"crc":4294967295,"file_size":8192})")->crc, 4294967295U);
  EXPECT_FALSE(parse_digest("{}").ok());
}

TEST(HttpAnswer, SeparatesStatusAndBody) {
  const auto answer = parse_http_answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno");
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "no");
  for (const char* bytes : {"", "HTTP/1.1", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"})
    EXPECT_EQ(parse_http_answer(bytes).error().code, Errc::kProtocolViolation) << bytes;
}

TEST(HttpGet, SaysThatNobodyListens) {
  EXPECT_EQ(http_get("127.0.0.1:1", "/", 1s).error().code, Errc::kUnavailable);
  EXPECT_EQ(http_get("nonsense", "/", 1s).error().code, Errc::kInvalidArgument);
}

TEST(Scoreboard, ShowsEveryNodeAndWhatIsNotKnown) {
  const ScoreboardView view{.seconds = 3,
                            .seconds_total = 20,
                            .statements_per_second = 1234,
                            .nodes = {{1, true, 4, "127.0.0.1:5"}, {2, false, -1, ""}},
                            .last_event = "kill -9"};
  const std::string board = render_board(view);
  EXPECT_NE(board.find("1234 statements/s"), std::string::npos);
  EXPECT_NE(board.find("DOWN"), std::string::npos);
  EXPECT_NE(board.find("127.0.0.1:5"), std::string::npos);
  EXPECT_NE(render_line(view).find("leases 4/?(down)"), std::string::npos);
}

}  // namespace
}  // namespace outlast::cli
