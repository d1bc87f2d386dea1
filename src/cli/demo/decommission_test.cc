#include "cli/demo/decommission.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/demo/bulk.h"
#include "cli/demo/decommission_report.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr std::uint64_t kMiB = 1 << 20;

proto::TaskStatus status(std::uint64_t left, std::int64_t eta_ms = -1) {
  proto::TaskStatus s;
  s.set_id(7);
  s.set_state("running");
  s.set_stage("moving");
  s.set_has_progress(true);
  s.set_owner(3);
  s.set_bytes_at_start(100);
  s.set_bytes_left(left);
  s.set_replicas_left(left == 0 ? 0 : 4);
  s.set_eta_ms(eta_ms);
  return s;
}

proto::TaskStatus ended(const char* how) {
  proto::TaskStatus s = status(0);
  s.set_state(how);
  s.set_stage("settled");
  return s;
}

TEST(TaskWatch, MeasuresThePredictionThatWasMadeAfterATenth) {
  TaskWatch watch(10s);
  watch.look(11s, status(100, 1'000));
  watch.look(12s, status(91, 500'000));  // not a tenth of the bytes yet
  watch.look(20s, status(89, 400'000));  // nor of the time
  watch.look(21s + 100ms, status(88, 89'910));
  watch.look(30s, status(50, 1'000));
  EXPECT_FALSE(watch.story().eta_error());
  watch.look(121s, status(0));
  ASSERT_TRUE(watch.story().eta_error());
  EXPECT_NEAR(*watch.story().eta_error(), 0.1, 1e-9);  // 90 s were said, 100 s it took
  EXPECT_EQ(watch.story().moving(), 111s);
  EXPECT_FALSE(watch.story().ended);
  watch.look(130s, ended("completed"));
  EXPECT_EQ(watch.story().ended, Duration(130s));
  EXPECT_EQ(watch.story().moving(), 111s);
}

TEST(TaskWatch, IsNotDeceivedByARunnerThatDoesNotKnowYet) {
  TaskWatch watch(0s);
  proto::TaskStatus nothing_known = status(0);
  nothing_known.set_has_progress(false);
  watch.look(1s, nothing_known);
  proto::TaskStatus no_sizes = status(0);
  no_sizes.set_bytes_at_start(0);
  watch.look(2s, no_sizes);
  watch.look(2s, status(0, 0));
  EXPECT_FALSE(watch.story().copied);
  EXPECT_TRUE(watch.story().predictions.empty());
  EXPECT_EQ(watch.share_copied(), 0);
  watch.look(3s, status(60));
  EXPECT_DOUBLE_EQ(watch.share_copied(), 0.4);
  proto::TaskStatus bytes_are_there = status(0);
  bytes_are_there.set_replicas_left(1);
  watch.look(4s, bytes_are_there);
  EXPECT_FALSE(watch.story().copied) << "a replica is left";
  watch.look(5s, status(0));
  watch.look(6s, status(10));
  EXPECT_FALSE(watch.story().copied) << "one came back";
  watch.look(9s, ended("completed"));
  EXPECT_EQ(watch.story().copied, Duration(9s));
}

TEST(TaskWatch, CountsTheTimeWithoutAMoveOrAReason) {
  TaskWatch watch(0s);
  watch.look(1s, status(90));
  watch.look(5s, status(90));
  EXPECT_EQ(watch.story().longest_silence, 4s);
  proto::TaskStatus stalled = status(90);
  stalled.mutable_stall()->set_reason("disk space");
  stalled.mutable_stall()->set_why("there is none");
  stalled.mutable_stall()->add_ranges(4);
  watch.look(8s, stalled);
  watch.look(30s, stalled);
  EXPECT_EQ(watch.story().longest_silence, 7s) << "named at 8 s, and since then";
  watch.look(31s, stalled);
  ASSERT_EQ(watch.story().stalls.size(), 1U);
  EXPECT_EQ(watch.story().stalls[0].at, Duration(8s));
  EXPECT_EQ(watch.story().stalls[0].ranges, 1);
  watch.look(32s, status(80));
  watch.look(33s, stalled);
  EXPECT_EQ(watch.story().stalls.size(), 2U);
  EXPECT_EQ(watch.story().runners, std::set<std::uint32_t>{3});
}

/// An operator with two nodes to get rid of, and a cluster that does what the test says.
class DecommissionActTest : public testing::Test {
 protected:
  DecommissionActTest()
      : act_({NodeId(2), NodeId(4)}, 5, 90s,
             {.ask =
                  [this](const proto::DecommissionRequest& request) {
                    requests_.push_back(request);
                    return reply_;
                  },
              .status = [this](std::uint64_t) { return status_; },
              .limit = [this](std::uint64_t rate) -> Result<void> {
                limit_ = rate;
                return {};
              },
              .kill = [this]() -> Result<void> {
                ++kills_;
                return {};
              },
              .healed = [this] { return healed_; },
              .say = [](const std::string&) {}}) {
    reply_->set_task(7);
    reply_->mutable_preflight()->set_may_begin(true);
    reply_->mutable_preflight()->set_bytes(450 * kMiB);
  }
  void begin() {
    act_.step(10s);
    ASSERT_EQ(requests_.size(), 2U);
  }

  Result<proto::DecommissionReply> reply_{proto::DecommissionReply()};
  Result<proto::TaskStatus> status_{status(100)};
  std::vector<proto::DecommissionRequest> requests_;
  std::uint64_t limit_{0};
  int kills_{0};
  bool healed_{true};
  DecommissionAct act_;
};

TEST_F(DecommissionActTest, LooksBeforeItGivesOneCommandForAllNodes) {
  act_.step(9s);
  EXPECT_TRUE(requests_.empty()) << "first some quiet time";
  begin();
  EXPECT_EQ(requests_[0].action(), proto::DecommissionRequest::DRY_RUN);
  EXPECT_EQ(requests_[1].action(), proto::DecommissionRequest::BEGIN);
  ASSERT_EQ(requests_[1].nodes_size(), 2);
  EXPECT_EQ(requests_[1].nodes(1), 4U);
  EXPECT_EQ(limit_, 450 * kMiB / 5 / 72) << "eight tenths of 90 s";
}

TEST_F(DecommissionActTest, WaitsUntilEveryReplicaIsThere) {
  healed_ = false;
  act_.step(20s);
  EXPECT_TRUE(requests_.empty());
}

TEST_F(DecommissionActTest, KillsAnotherNodeOnceInTheMiddle) {
  begin();
  status_ = status(60);
  act_.step(11s);
  EXPECT_EQ(kills_, 0);
  status_ = status(49);
  act_.step(12s);
  act_.step(13s);
  EXPECT_EQ(kills_, 1);
  EXPECT_TRUE(act_.killed());
}

TEST_F(DecommissionActTest, IsOverWithItsTask) {
  begin();
  status_ = ended("completed");
  act_.step(40s);
  EXPECT_TRUE(act_.finished());
  EXPECT_EQ(act_.trouble(), "");
  EXPECT_EQ(act_.story()->ended, Duration(40s));
  EXPECT_FALSE(act_.killed());
}

TEST_F(DecommissionActTest, SaysWhyTheNodesMayNotGo) {
  reply_->mutable_preflight()->set_may_begin(false);
  reply_->mutable_preflight()->set_text("not enough nodes");
  act_.step(10s);
  EXPECT_TRUE(act_.finished());
  EXPECT_NE(act_.trouble().find("not enough nodes"), std::string::npos);
  EXPECT_EQ(act_.story(), nullptr);
}

TEST_F(DecommissionActTest, OutlastsALeaderButNotSilence) {
  begin();
  status_ = Error(Errc::kUnavailable, "nobody answers");
  act_.step(60s);
  EXPECT_FALSE(act_.finished());
  act_.step(71s);
  EXPECT_TRUE(act_.finished());
  EXPECT_NE(act_.trouble().find("nobody answers"), std::string::npos);
}

TEST(DecommissionRate, HasALeastValue) {
  EXPECT_EQ(rate_for(0, 3, 60s), kMiB);
  EXPECT_EQ(rate_for(360 * kMiB, 3, 60s), 2 * kMiB);
}

TEST(Bulk, IsSplitSoThatSeveralNodesCanBeSentAtOnce) {
  const BulkPlan plan = bulk_plan(512 * kMiB);
  EXPECT_GE(plan.databases, 5);
  EXPECT_NEAR(static_cast<double>(plan.rows) * plan.databases * 4000, 512.0 * kMiB, kMiB);
  EXPECT_GE(bulk_plan(1).rows, 1U);
}

DecommissionReport good() {
  DecommissionReport r{.nodes = {2, 4}, .killed = true, .rate_max = kMiB};
  r.task = TaskStory{.asked = 10s, .bytes = 100 * kMiB, .predictions = {{20s, 55s}}, .copied = 80s, .ended = 90s};
  r.task->last.set_state("completed");
  for (const int node : {2, 4})
    r.doors.push_back({.node = node,
                       .membership = "decommissioned",
                       .fenced_for_good = true,
                       .sql_refused = true,
                       .ready_status = 503,
                       .stopped_after_seconds = 0.1,
                       .start_code = 3,
                       .start_words = "this node was decommissioned"});
  for (const double copy : {20, 40, 50})
    r.quiet.push_back({.task = *r.task, .bytes = 512 * kMiB, .files = 10, .copy_seconds = copy});
  r.bulk = BulkCheck{.rows = 1000};
  return r;
}

std::vector<std::string> failures_of(const DecommissionReport& report, double seconds = 90, double ratio = 1.2) {
  std::vector<std::string> why;
  decommission_failures(report, seconds, ratio, why);
  return why;
}

TEST(DecommissionReport, PassesWhenAllWasKept) {
  EXPECT_EQ(failures_of(good()), std::vector<std::string>());
}

TEST(DecommissionReport, NamesWhatWasNotKept) {
  using Spoil = void (*)(DecommissionReport&);
  const std::pair<Spoil, const char*> all[] = {
      {[](auto& r) { r.task.reset(); }, "no node was decommissioned"},
      {[](auto& r) { r.task->last.set_state("failed"); }, "is failed"},
      {[](auto& r) { r.task->last.add_nodes()->set_in_absentia(true); }, "which was live"},
      {[](auto& r) { r.task->predictions[0].eta = 90s; }, "50 % off"},
      {[](auto& r) { r.task->predictions.clear(); }, "did not predict"},
      {[](auto& r) { r.doors.pop_back(); }, "1 of 2 nodes"},
      {[](auto& r) { r.doors[0].membership = "decommissioning"; }, "node 2 is decommissioning"},
      {[](auto& r) { r.doors[0].fenced_for_good = false; }, "not fenced"},
      {[](auto& r) { r.doors[0].sql_refused = false; }, "serves SQL"},
      {[](auto& r) { r.doors[1].ready_status = 200; }, "ready"},
      {[](auto& r) { r.doors[1].stopped_after_seconds.reset(); }, "did not stop in order"},
      {[](auto& r) { r.doors[1].start_code.reset(); }, "code ?"},
      {[](auto& r) { r.doors[1].start_code = 0; }, "code 0"},
      {[](auto& r) { r.doors[1].start_words = "no"; }, "does not say why"},
      {[](auto& r) { r.killed = false; }, "no third node"},
      {[](auto& r) { r.quiet.clear(); }, "not compared with a plain copy"},
      {[](auto& r) { r.quiet[1].copy_seconds = 30; }, "2.33 x"},
      {[](auto& r) { r.quiet[2].task.copied.reset(); }, "not compared with a plain copy"},
      {[](auto& r) { r.bulk.reset(); }, "not known"},
      {[](auto& r) { r.bulk->wrong = 3; }, "3 rows"}};
  for (const auto& [spoil, wanted] : all) {
    DecommissionReport report = good();
    spoil(report);
    const auto why = failures_of(report);
    ASSERT_EQ(why.size(), 1U) << wanted;
    EXPECT_NE(why[0].find(wanted), std::string::npos) << why[0];
  }
  EXPECT_EQ(failures_of(good(), 90, 1.6).size(), 1U);
}

TEST(DecommissionReport, DoesNotJudgeRatiosOfShortRuns) {
  DecommissionReport report = good();
  report.task->copied = 60s;
  report.task->predictions[0].eta = 400s;
  for (QuietMove& move : report.quiet) move.bytes = 512 * kMiB - 1, move.copy_seconds = 1;
  EXPECT_TRUE(failures_of(report, 30, 9).empty());
  boost::json::object json;
  add_decommission_fields(report, json);
  EXPECT_EQ(json.at("efficiency").to_number<double>(), 70);
  EXPECT_EQ(json.at("eta_error").to_number<double>(), 9);
  EXPECT_EQ(json.at("decommission").at("doors").as_array().size(), 2U);
  EXPECT_NE(decommission_summary(report).find("node 4"), std::string::npos);
}

}  // namespace
}  // namespace outlast::cli
