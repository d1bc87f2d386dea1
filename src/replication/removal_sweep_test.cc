#include "replication/removal_sweep.h"

#include <gtest/gtest.h>

#include "../tests/support/sim_loop.h"

namespace outlast::replication {
namespace {
using namespace std::chrono_literals;

class RemovalSweepTest : public ::testing::Test {
 protected:
  testing_support::SimLoop loop_;
  Parameters parameters_{.removal_idle = 60s, .removals_per_second = 500};
  std::vector<RangeId> removed_;
  RemovalSweep sweep_{loop_, parameters_, [this](RangeId range) { removed_.push_back(range); }};
};

TEST_F(RemovalSweepTest, GivesEachRangeItsTurnAfterTheIdleTime) {
  sweep_.note(RangeId(1));
  loop_.advance(30s);
  sweep_.note(RangeId(2));
  sweep_.note(RangeId(1));  // again: its turn stays
  loop_.advance(30s);
  EXPECT_EQ(removed_, std::vector{RangeId(1)});
  loop_.advance(30s);
  EXPECT_EQ(removed_, (std::vector{RangeId(1), RangeId(2)}));
}

TEST_F(RemovalSweepTest, KeepsThePaceWhenANodeWithThousandsOfRangesDied) {
  for (std::uint64_t i = 1; i <= 3000; ++i) sweep_.note(RangeId(i));
  EXPECT_EQ(loop_.timer_count(), 1U) << "one timer for all ranges";
  loop_.advance(60s);
  for (int second = 1; second <= 6; ++second) {
    loop_.advance(1s);
    EXPECT_LE(removed_.size(), 500U * second + 50);
    EXPECT_GE(removed_.size(), 500U * second - 50);
  }
  EXPECT_EQ(removed_.size(), 3000U);
  EXPECT_EQ(loop_.timer_count(), 0U) << "and none when nothing is left";
}

TEST_F(RemovalSweepTest, ARangeMayBeNotedAgainDuringItsTurn) {
  int turns = 0;
  RemovalSweep* self = nullptr;
  RemovalSweep sweep(loop_, parameters_, [&](RangeId range) {
    if (++turns < 3) self->note(range);
  });
  self = &sweep;
  sweep.note(RangeId(1));
  loop_.advance(200s);
  EXPECT_EQ(turns, 3);
  EXPECT_EQ(sweep.waiting(), 0U);
}

}  // namespace
}  // namespace outlast::replication
