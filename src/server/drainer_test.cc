#include "server/drainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tests/support/sim_loop.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
using lifecycle::DrainBlocker;
using lifecycle::DrainEnd;
using lifecycle::DrainPhase;

class DrainerTest : public testing::Test {
 protected:
  Drainer::Ports ports() {
    Drainer::Ports out;
    out.settings = [this] { return settings_; };
    out.load = [this] { return load_; };
    out.carry_out = [this](const lifecycle::DrainOrders& orders) {
      orders_ = orders;
      ++carried_out_;
    };
    out.record = [this](const DrainWish& wish, const std::string&, Callback<void> done) {
      if (!metadata_) return done(Error(Errc::kMetaUnavailable, "away"));
      recorded_.push_back(wish);
      loop_.post([done = std::move(done)]() mutable { done({}); });
    };
    out.report = [this](const std::string& event, const DrainView&) { events_.push_back(event); };
    out.drained = [this](const DrainView& view) { ends_.push_back(view.end); };
    return out;
  }
  DrainPhase phase() { return drainer_.view().phase; }
  void begin() { ASSERT_TRUE(drainer_.drain({}, "a test").ok()); }

  testing_support::SimLoop loop_;
  lifecycle::DrainSettings settings_;
  lifecycle::DrainLoad load_;
  lifecycle::DrainOrders orders_;
  int carried_out_{0};
  bool metadata_{true};
  std::vector<DrainWish> recorded_;
  std::vector<std::string> events_;
  std::vector<DrainEnd> ends_;
  Drainer drainer_{loop_, ports()};
};

TEST_F(DrainerTest, AnEmptyNodeIsDrainedAtOnceAndSaysSo) {
  begin();
  EXPECT_EQ(phase(), DrainPhase::kDrained);
  EXPECT_EQ(ends_, std::vector{DrainEnd::kComplete});
  loop_.advance(1s);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .drained = true}));
  EXPECT_EQ(events_.front(), "drain request received with doDrain = true");
  EXPECT_EQ(events_.back(), "drain complete");
  EXPECT_EQ(ends_.size(), 1u) << "one receipt";
}

TEST_F(DrainerTest, TheRecordOfANodeThatLeavesSaysDrainedOnlyWhenIngestHoldsNothing) {
  load_ = {.inputs = 1, .buffers = 1};
  ASSERT_TRUE(drainer_.drain({.leave = true}, "a task").ok());
  loop_.advance(1h);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = false, .drained = false, .leave = true}));
  load_ = {};
  loop_.advance(1s);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .drained = true, .leave = true}));
  EXPECT_EQ(ends_, std::vector{DrainEnd::kComplete});
}

TEST_F(DrainerTest, AnExitOfTheFrontendAloneIsNoDrainForOthers) {
  ASSERT_TRUE(drainer_.drain({.exit = {.frontend = true}, .frontend_only = true}, "SIGUSR1").ok());
  loop_.advance(1min);
  EXPECT_EQ(phase(), DrainPhase::kDrained);
  EXPECT_EQ(ends_, std::vector{DrainEnd::kComplete});
  EXPECT_TRUE(recorded_.empty()) << "leases and copies stay, and may come";
  EXPECT_EQ(events_.front(), "graceful exit begins");
  ASSERT_TRUE(drainer_.drain({.ends = true}, "SIGTERM").ok());
  loop_.advance(1s);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .drained = true}));
  EXPECT_EQ(ends_.size(), 2U);
}

TEST_F(DrainerTest, LeavingIsAddedToACompleteDrainWhichIsThenCompleteAgain) {
  load_ = {.inputs = 1};
  begin();
  loop_.advance(1s);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .drained = true}));
  ASSERT_TRUE(drainer_.drain({.leave = true}, "a task").ok());
  loop_.advance(1s);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .leave = true}));
  EXPECT_TRUE(orders_.close_inputs);
  EXPECT_EQ(drainer_.view().blocker, DrainBlocker::kInputs);
  load_ = {};
  loop_.advance(1s);
  EXPECT_EQ(ends_.size(), 2U);
  EXPECT_TRUE(recorded_.back().drained);
  EXPECT_EQ(drainer_.by(), "a test");
}

TEST_F(DrainerTest, WhoStaysAfterAllOpensItsInputsOnlyWhenTheRecordIsGone) {
  ASSERT_TRUE(drainer_.drain({.leave = true}, "a task").ok());
  loop_.advance(1s);
  EXPECT_TRUE(drainer_.is_recorded_to_leave());
  metadata_ = false;
  ASSERT_TRUE(drainer_.undrain().ok());
  loop_.advance(1min);
  EXPECT_TRUE(drainer_.is_recorded_to_leave());
  metadata_ = true;
  int carried_out = carried_out_;
  loop_.advance(1s);
  EXPECT_FALSE(drainer_.is_recorded_to_leave());
  EXPECT_EQ(carried_out_, carried_out + 1) << "now what was ordered can be done";
}

TEST_F(DrainerTest, AHandoverIsNeverRecordedAsDrained) {
  ASSERT_TRUE(drainer_.drain({.leave = true}, "a task").ok());
  loop_.advance(1s);
  EXPECT_TRUE(recorded_.back().drained);
  ASSERT_TRUE(drainer_.drain({.handover = true}, "restart").ok());
  loop_.advance(1s);
  EXPECT_EQ(phase(), DrainPhase::kDrained);
  EXPECT_EQ(recorded_.back(), (DrainWish{.draining = true, .step_out = true, .drained = false, .leave = true}));
}

TEST_F(DrainerTest, ANudgeDoesNotWaitForTheNextLook) {
  load_ = {.leases = 1};
  begin();
  load_ = {};
  EXPECT_TRUE(ends_.empty());
  drainer_.nudge();
  loop_.advance(1ms);
  EXPECT_EQ(ends_, std::vector{DrainEnd::kComplete});
}

TEST_F(DrainerTest, UndrainInEachPhaseTakesAllOrdersBack) {
  settings_ = {.drain_wait = 10s, .connection_wait = 10s, .query_wait = 10s};
  load_ = {.connections = 1, .transactions = 1, .foreign_transactions = 1, .leases = 1, .insync = 1};
  const std::function<void()> reach[] = {[] {},
                                         [&] { loop_.advance(11s); },
                                         [&] { loop_.advance(21s); },
                                         [&] {
                                           load_.connections = load_.transactions = 0;
                                           loop_.advance(12s);
                                         },
                                         [&] {
                                           load_ = {.leases = 1};
                                           loop_.advance(22s);
                                         },
                                         [&] {
                                           load_ = {.insync = 1};
                                           loop_.advance(22s);
                                         },
                                         [&] {
                                           load_ = {};
                                           loop_.advance(22s);
                                         }};
  std::set<DrainPhase> seen;
  for (const auto& there : reach) {
    load_ = {.connections = 1, .transactions = 1, .foreign_transactions = 1, .leases = 1, .insync = 1};
    begin();
    there();
    seen.insert(phase());
    EXPECT_FALSE(orders_.ready);
    ASSERT_TRUE(drainer_.undrain().ok());
    EXPECT_EQ(orders_, lifecycle::DrainOrders()) << to_string(*seen.rbegin());
    EXPECT_EQ(phase(), DrainPhase::kServing);
    loop_.advance(1s);
    EXPECT_FALSE(recorded_.back().draining);
  }
  EXPECT_EQ(seen.size(), 7u) << "every phase of a drain was undone once";
}

TEST_F(DrainerTest, SettingsCountFromTheInstantOfTheirChange) {
  settings_.drain_wait = 1h;
  begin();
  loop_.advance(10s);
  EXPECT_EQ(phase(), DrainPhase::kUnready);
  settings_.drain_wait = 5s;
  loop_.advance(50ms);
  EXPECT_EQ(phase(), DrainPhase::kDrained);
}

TEST_F(DrainerTest, WithoutMetadataItSaysWhatBlocksAndGoesOnWhenItIsBack) {
  metadata_ = false;
  load_ = {.leases = 3, .metadata = false};
  begin();
  loop_.advance(30s);
  EXPECT_EQ(phase(), DrainPhase::kLeaseTransfer) << "the phases before need no metadata";
  EXPECT_EQ(drainer_.view().blocker, DrainBlocker::kMetadata);
  EXPECT_TRUE(recorded_.empty());
  metadata_ = load_.metadata = true;
  loop_.advance(1s);
  EXPECT_FALSE(recorded_.empty());
  EXPECT_EQ(drainer_.view().blocker, DrainBlocker::kLeases);
  load_.leases = 0;
  loop_.advance(1s);
  EXPECT_EQ(ends_, std::vector{DrainEnd::kComplete});
}

TEST_F(DrainerTest, WhoWaitsForTheEndHearsOfItOnceAndNotAfterAnUndrain) {
  int undone = 0, final = 0;
  load_.leases = 1;
  begin();
  drainer_.when_drained([&] { ++undone; }, false);
  ASSERT_TRUE(drainer_.undrain().ok());
  begin();
  drainer_.when_drained([&] { ++final; }, true);
  EXPECT_EQ(drainer_.undrain().error().code, Errc::kInvalidState) << "the process ends in any case";
  load_.leases = 0;
  loop_.advance(1s);
  EXPECT_EQ(undone, 0);
  EXPECT_EQ(final, 1);
  drainer_.when_drained([&] { ++final; }, true);
  EXPECT_EQ(final, 2) << "at once when it is drained already";
}

TEST_F(DrainerTest, ForceComesInTheMiddleAndIsNeverCalledComplete) {
  load_ = {.leases = 2, .unmovable_leases = 2};
  begin();
  loop_.advance(1s);
  EXPECT_EQ(drainer_.view().blocker, DrainBlocker::kSingleReplica);
  ASSERT_TRUE(drainer_.drain({.force = true, .deadline = {}}, "another operator").ok());
  EXPECT_EQ(ends_, std::vector{DrainEnd::kForced});
  EXPECT_EQ(drainer_.view().by, "a test");
}

TEST_F(DrainerTest, SaysProgressAtTheSettingsPaceWithRateAndEta) {
  settings_.lease_transfer_wait = 1s;
  load_.leases = 100;
  begin();
  for (int i = 0; i < 5; ++i) {
    loop_.advance(1s + 20ms);
    load_.leases -= 10;
  }
  EXPECT_EQ(std::ranges::count(events_, "drain remaining"), 5);
  const DrainView view = drainer_.view();
  EXPECT_NEAR(view.per_second, 10, 1);
  ASSERT_TRUE(view.eta);
  EXPECT_NEAR(std::chrono::duration<double>(*view.eta).count(), 5, 0.5);
}

}  // namespace
}  // namespace outlast::server
