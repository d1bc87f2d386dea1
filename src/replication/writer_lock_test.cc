#include "replication/writer_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace outlast::replication {
namespace {
using namespace std::chrono_literals;
using Hold = WriterLock::Hold;

constexpr Instant kNow{1h};

class WriterLockTest : public testing::Test {
 protected:
  /// Asks and notes the order of the answers: "a" granted, "a!" failed.
  std::uint64_t ask(const std::string& name, bool first = false, Duration patience = 1s) {
    return lock_.acquire(kNow + patience, first, [this, name](Result<Hold> hold) {
      log_.push_back(name + (hold.ok() ? "" : "!"));
      if (hold.ok())
        hold_ = *std::move(hold);
      else
        error_ = hold.error().code;
    });
  }
  std::vector<Instant> wakes_;
  std::vector<std::string> log_;
  Errc error_{};
  Hold hold_;
  FifoWriterLock lock_{[this](Instant at) { wakes_.push_back(at); }};  // goes first: it answers those who still wait
};
using Log = std::vector<std::string>;

TEST_F(WriterLockTest, GrantsInTheOrderOfAsking) {
  for (const char* name : {"a", "b", "c"}) ask(name);
  EXPECT_EQ(log_, Log({"a"}));
  EXPECT_EQ(lock_.waiters(), 2u);
  hold_.release();
  EXPECT_EQ(log_, Log({"a", "b"}));
  hold_.release();
  hold_.release();
  EXPECT_EQ(log_, Log({"a", "b", "c"}));
}

TEST_F(WriterLockTest, LetsATransferGoBeforeWritersButBehindEarlierTransfers) {
  for (const char* name : {"a", "b"}) ask(name);
  ask("t1", true);
  ask("t2", true);
  for (int i = 0; i < 4; ++i) hold_.release();
  EXPECT_EQ(log_, Log({"a", "t1", "t2", "b"}));
}

TEST_F(WriterLockTest, FailsWaitersAtTheirDeadlineAndAsksForTheNextWake) {
  ask("a");
  ask("b", false, 5s);
  ask("c", false, 2s);
  EXPECT_EQ(wakes_.back(), kNow + 2s);
  lock_.expire(kNow + 1999ms);
  EXPECT_EQ(log_, Log({"a"}));
  lock_.expire(kNow + 2s);
  EXPECT_EQ(log_, Log({"a", "c!"}));
  EXPECT_EQ(error_, Errc::kLockTimeout);
  EXPECT_EQ(wakes_.back(), kNow + 5s);
}

TEST_F(WriterLockTest, WithdrawsAWaiterOnceAndNeverTheHolder) {
  const auto a = ask("a"), b = ask("b");
  lock_.withdraw(a);
  lock_.withdraw(b);
  lock_.withdraw(b);
  EXPECT_EQ(log_, Log({"a", "b!"}));
  EXPECT_EQ(error_, Errc::kCancelled);
}

TEST_F(WriterLockTest, ClosingFailsWaitersAndWhoeverAsksLater) {
  ask("a");
  ask("b");
  lock_.close({Errc::kNotLeaseholder, "over"});
  ask("c");
  EXPECT_EQ(log_, Log({"a", "b!", "c!"}));
  EXPECT_EQ(error_, Errc::kNotLeaseholder);
  hold_.release();  // harmless
}

TEST_F(WriterLockTest, DoesNotRecurseWhenEveryHolderLetsGoAtOnce) {
  ask("a");
  int granted = 0;
  for (int i = 0; i < 200'000; ++i)
    lock_.acquire(kNow + 1s, false, [&](Result<Hold> hold) { granted += hold.ok() ? 1 : 0; });
  hold_.release();
  EXPECT_EQ(granted, 200'000);
}

TEST_F(WriterLockTest, AHoldMayOutliveTheLock) {
  Hold held;
  {
    FifoWriterLock brief{[](Instant) {}};
    brief.acquire(kNow, false, [&](Result<Hold> hold) { held = *std::move(hold); });
    brief.acquire(kNow, false, [&](Result<Hold> hold) { EXPECT_FALSE(hold.ok()); });
  }
  held.release();
}

TEST(WriterLockThreads, HasOneHolderAtATimeAndLosesNobody) {
  FifoWriterLock lock{[](Instant) {}};
  std::atomic<int> inside{0}, granted{0}, overlaps{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2'000; ++i)
        lock.acquire(kNow, i % 10 == 0, [&](Result<Hold> hold) {
          if (inside.fetch_add(1) != 0) ++overlaps;
          ++granted;
          --inside;
          hold->release();
        });
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(granted, 8'000);
  EXPECT_EQ(overlaps, 0);
  EXPECT_EQ(lock.waiters(), 0u);
}

}  // namespace
}  // namespace outlast::replication
