#include "meta/office.h"

#include <gtest/gtest.h>

#include "meta/housekeeping.h"
#include "meta/keys.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using liveness::Peer;
using testing_support::SimLoop;
using testing_support::SimMetadata;
using testing_support::SimStore;
using Fault = SimStore::Fault;

struct Candidate {
  Candidate(std::shared_ptr<SimMetadata> data, SimLoop& loop, Peer self)
      : store(std::move(data), loop), fences(mirror_fences(store)), office(store, loop, self, *fences) {}
  SimStore store;
  std::unique_ptr<FenceMirror> fences;
  Office office;
};

class OfficeTest : public testing::Test {
 protected:
  void stand_all() {
    one_.office.stand();
    two_.office.stand();
    loop_.advance(1s);
  }
  int holders() { return (one_.office.holds() ? 1 : 0) + (two_.office.holds() ? 1 : 0); }
  void fence(Peer peer) {
    two_.store.txn({.compares = {}, .then = {Op::put(keys::fence(peer), "{}")}, .otherwise = {}}, 1s, [](auto) {});
  }
  /// Would a write in the name of the office under this guard pass now?
  bool passes(Compare guard) {
    std::optional<bool> passed;
    one_.store.txn({.compares = {std::move(guard)}, .then = {}, .otherwise = {}}, 1s,
                   [&](Result<TxnReply> reply) { passed = reply.ok() && reply->succeeded; });
    loop_.run_ready();
    return passed.value_or(false);
  }
  SimLoop loop_;
  std::shared_ptr<SimMetadata> data_ = std::make_shared<SimMetadata>();
  Peer first_{NodeId(1), Incarnation(1)}, second_{NodeId(2), Incarnation(1)};
  Candidate one_{data_, loop_, first_}, two_{data_, loop_, second_};
};

TEST_F(OfficeTest, ExactlyOneTakesIt) {
  loop_.advance(1s);
  EXPECT_FALSE(one_.office.leader()) << "nobody stands yet";
  int changes = 0;
  two_.office.on_change([&](std::optional<Peer> leader, bool is_self) {
    ++changes;
    EXPECT_EQ(is_self, leader == second_);
  });
  stand_all();
  EXPECT_EQ(holders(), 1);
  EXPECT_EQ(one_.office.leader(), two_.office.leader());
  EXPECT_EQ(changes, 1);
}

TEST_F(OfficeTest, PassesFromAFencedHolderWithANewGuard) {
  one_.office.stand();
  loop_.advance(1s);
  two_.office.stand();
  ASSERT_TRUE(one_.office.holds());
  EXPECT_FALSE(two_.office.guard());
  const Compare old = *one_.office.guard();
  EXPECT_TRUE(passes(old));
  loop_.advance(1min);
  EXPECT_TRUE(one_.office.holds()) << "silence alone takes nothing away";
  fence(first_);
  loop_.advance(2s);
  EXPECT_TRUE(two_.office.holds());
  EXPECT_FALSE(passes(old));
  EXPECT_TRUE(passes(*two_.office.guard()));
}

TEST_F(OfficeTest, AFencedCandidateTakesNothing) {
  fence(first_);
  loop_.run_ready();
  one_.office.stand();
  loop_.advance(5s);
  EXPECT_FALSE(one_.office.leader());
}

TEST_F(OfficeTest, ResigningHandsItOnAndStaysAway) {
  stand_all();
  Candidate& holder = one_.office.holds() ? one_ : two_;
  Candidate& other = one_.office.holds() ? two_ : one_;
  bool resigned = false;
  holder.office.resign([&](Result<void> result) { resigned = result.ok(); });
  loop_.advance(2s);
  EXPECT_TRUE(resigned);
  EXPECT_TRUE(other.office.holds());
  other.office.resign([](auto) {});
  loop_.advance(2s);
  EXPECT_EQ(holders(), 0);
  EXPECT_FALSE(one_.office.leader());
}

TEST_F(OfficeTest, ResigningWhileTakingItDoesNotKeepIt) {
  loop_.run_ready();
  one_.store.request_delay = 50ms;
  one_.office.stand();
  loop_.advance(10ms);
  one_.store.request_delay = 0ms;
  one_.office.resign([](auto) {});  // overtakes the request to take it
  loop_.advance(2s);
  EXPECT_FALSE(one_.office.leader());
}

TEST_F(OfficeTest, SurvivesLostAnswersAndAbsentMetadata) {
  int calls = 0;
  one_.store.fault = [&](const Txn&) {
    constexpr Fault kFaults[] = {Fault::kLoseRequest, Fault::kRefuse, Fault::kLoseAnswer};
    return kFaults[calls++ % 3];
  };
  one_.office.stand();
  loop_.advance(5s);
  EXPECT_TRUE(one_.office.holds());
  EXPECT_TRUE(passes(*one_.office.guard()));
}

TEST_F(OfficeTest, TheHolderCutsTheHistory) {
  Housekeeping keep_one(one_.store, loop_, one_.office), keep_two(two_.store, loop_, two_.office);
  stand_all();
  for (std::uint64_t i = 0; i < Housekeeping::kRevisionsKept + 5; ++i)
    one_.store.txn({.compares = {}, .then = {Op::put("/x", std::to_string(i))}, .otherwise = {}}, 1s, [](auto) {});
  loop_.run_ready();
  EXPECT_EQ(data_->compacted(), Revision{});
  loop_.advance(Housekeeping::kPause);
  EXPECT_EQ(data_->compacted().value, data_->revision().value - Housekeeping::kRevisionsKept);
}

}  // namespace
}  // namespace outlast::meta
