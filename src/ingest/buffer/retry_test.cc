#include "ingest/buffer/retry.h"

#include <gtest/gtest.h>

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

class RetryStateTest : public testing::Test {
 protected:
  Duration wait_after(Instant now) { return *state_.failed(now, random_) - now; }
  SeededRandom random_{1};
  Instant now_{1h};
  RetryState state_{{.randomize = false}};
};

TEST_F(RetryStateTest, DoublesItsWaitsFromOneSecond) {
  EXPECT_EQ(wait_after(now_), 1s);
  EXPECT_EQ(wait_after(now_), 2s);
  EXPECT_EQ(wait_after(now_), 4s);
  EXPECT_EQ(state_.failures(), 3U);
  state_.succeeded();
  EXPECT_FALSE(state_.next());
  EXPECT_EQ(wait_after(now_), 1s);
}

TEST_F(RetryStateTest, NeverWaitsLongerThanTheMaximum) {
  state_ = RetryState({.max_interval = 30s, .forever = true, .randomize = false});
  for (int i = 0; i < 2'000; ++i) EXPECT_LE(wait_after(now_), 30s);
}

TEST_F(RetryStateTest, TriesOnceMoreAtTheTimeoutAndThenGivesUp) {
  EXPECT_TRUE(state_.failed(now_, random_));
  const auto last = state_.failed(now_ + 71h + 59min, random_);
  ASSERT_TRUE(last);
  EXPECT_LE(*last, now_ + 72h);
  EXPECT_FALSE(state_.failed(now_ + 72h, random_));
  EXPECT_EQ(wait_after(now_ + 72h), 1s) << "a new outage";
}

TEST_F(RetryStateTest, GivesUpAfterSoManyRetries) {
  state_ = RetryState({.max_times = 2, .randomize = false});
  EXPECT_TRUE(state_.failed(now_, random_));
  EXPECT_TRUE(state_.failed(now_, random_));
  EXPECT_FALSE(state_.failed(now_, random_));
}

TEST_F(RetryStateTest, SpreadsItsWaitsByAnEighth) {
  state_ = RetryState({.wait = 8s, .base = 1, .forever = true});
  Duration shortest = 1h, longest = 0s;
  for (int i = 0; i < 1'000; ++i) {
    const Duration wait = wait_after(now_);
    shortest = std::min(shortest, wait);
    longest = std::max(longest, wait);
  }
  EXPECT_GE(shortest, 7s);
  EXPECT_LT(shortest, 7'100ms);
  EXPECT_LE(longest, 9s);
  EXPECT_GT(longest, 8'900ms);
}

}  // namespace
}  // namespace outlast::ingest
