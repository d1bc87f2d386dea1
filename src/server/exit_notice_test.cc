#include "server/exit_notice.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/sim_loop.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;

class ExitNoticeTest : public testing::Test {
 protected:
  void answer(Result<NodeId> with) {
    ASSERT_FALSE(asked_.empty());
    auto done = std::move(asked_.front());
    asked_.erase(asked_.begin());
    done(std::move(with));
  }
  testing_support::SimLoop loop_;
  std::vector<bool> phases_;
  std::vector<Callback<NodeId>> asked_;
  int acknowledged_{0};
  std::unique_ptr<ExitNotice> notice_ = std::make_unique<ExitNotice>(
      loop_, ExitNotice::Ports{.set_phase = [this](bool leaving) { phases_.push_back(leaving); },
                               .ask_leader = [this](Callback<NodeId> done) { asked_.push_back(std::move(done)); },
                               .acknowledged = [this] { ++acknowledged_; }});
};

TEST_F(ExitNoticeTest, AsksUntilTheLeaderFrontendKnows) {
  notice_->give(true);
  notice_->give(true);
  EXPECT_EQ(phases_, std::vector<bool>{true});
  ASSERT_EQ(asked_.size(), 1U);
  answer(Error(Errc::kUnavailable, "no leader frontend is in office"));
  EXPECT_EQ(notice_->not_acknowledged(), "no leader frontend is in office");
  EXPECT_FALSE(notice_->acknowledged_by());
  loop_.advance(1s);
  ASSERT_EQ(asked_.size(), 1U) << "asked again, one question at a time";
  answer(NodeId(2));
  EXPECT_EQ(notice_->acknowledged_by(), NodeId(2));
  EXPECT_EQ(acknowledged_, 1);
  EXPECT_EQ(notice_->not_acknowledged(), "");
  loop_.advance(1min);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(ExitNoticeTest, WhoStaysAfterAllIsLiveAgainAndOldAnswersCountForNothing) {
  notice_->give(true);
  notice_->give(false);
  EXPECT_EQ(phases_, (std::vector<bool>{true, false}));
  answer(NodeId(2));
  EXPECT_FALSE(notice_->acknowledged_by());
  EXPECT_EQ(acknowledged_, 0);
  notice_->give(true);
  answer(NodeId(3));
  EXPECT_EQ(notice_->acknowledged_by(), NodeId(3));
}

TEST_F(ExitNoticeTest, AnAnswerThatComesTooLateHitsNobody) {
  notice_->give(true);
  notice_.reset();
  answer(NodeId(2));
  EXPECT_EQ(acknowledged_, 0);
}

}  // namespace
}  // namespace outlast::server
