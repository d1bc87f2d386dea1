#include "meta/liveness_driver.h"

#include <gtest/gtest.h>

#include "meta/events.h"
#include "meta/fencing.h"
#include "meta/keys.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"
#include "tests/support/test_dir.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using liveness::Peer;
using liveness::State;
using testing_support::SimLoop;
using testing_support::SimMetadata;
using testing_support::SimStore;
using Fault = SimStore::Fault;

constexpr Peer kOne{NodeId(1), Incarnation(1)}, kTwo{NodeId(2), Incarnation(4)};
const liveness::Params kParams{.renew = 1s, .ttl = 5s};

/// A node: its session with the shared metadata and its driver.
struct Member {
  Member(std::shared_ptr<SimMetadata> data, SimLoop& loop, Peer self, DeathWatch* deaths = nullptr)
      : store(std::move(data), loop),
        driver(std::make_unique<LivenessDriver>(
            store, loop, LivenessDriver::Options{self, "host:" + self.to_string(), kParams, self.node.value, deaths})) {
    driver->on_fenced([this] { ++fenced; });
  }
  void start(Phase phase = Phase::kLive) {
    driver->start(phase, [this](Result<void> result) { ready.push_back(result.ok() ? "ok" : "fenced"); });
  }
  SimStore store;
  std::unique_ptr<LivenessDriver> driver;
  std::vector<std::string> ready;
  int fenced{0};
};

class DriverTest : public testing::Test {
 protected:
  void start_both() {
    one_.start();
    two_.start();
    loop_.advance(7s);  // sessions are older than the ttl
    ASSERT_EQ(one_.ready, std::vector<std::string>{"ok"});
    ASSERT_EQ(two_.ready, std::vector<std::string>{"ok"});
  }
  State state(Member& member, Peer peer) {
    for (const PeerView& view : member.driver->peers())
      if (view.peer == peer) return view.state;
    return State::kUnknown;
  }
  bool has(const std::string& key) { return (*data_->get(key)).has_value(); }
  void put(const std::string& key, const std::string& value) { write(Op::put(key, value)); }
  void write(Op op) {
    SimStore store(data_, loop_);
    store.txn({.compares = {}, .then = {std::move(op)}, .otherwise = {}}, 1s, [](auto) {});
    loop_.run_ready();
  }
  SimLoop loop_;
  std::shared_ptr<SimMetadata> data_ = std::make_shared<SimMetadata>();
  Member one_{data_, loop_, kOne}, two_{data_, loop_, kTwo};
};

TEST_F(DriverTest, RenewsAndSeesTheOthers) {
  start_both();
  EXPECT_TRUE(one_.driver->reads_allowed(loop_.now()));
  EXPECT_EQ(state(one_, kTwo), State::kLive);
  EXPECT_EQ(one_.driver->current(NodeId(2))->addr, "host:2/4");
  EXPECT_EQ(one_.driver->current(NodeId(2))->phase, Phase::kLive);
  EXPECT_FALSE(one_.driver->current(NodeId(9)));
  for (int i = 0; i < 100; ++i) {
    loop_.advance(1s);
    ASSERT_TRUE(one_.driver->reads_allowed(loop_.now() + 3s)) << "a renewal each second keeps at least 3.5 s";
  }
  EXPECT_EQ(one_.fenced + two_.fenced, 0);
}

TEST_F(DriverTest, CountsTheLeaseFromTheSend) {
  one_.store.answer_delay = 800ms;
  const Instant sent = loop_.now();
  one_.start();
  loop_.advance(799ms);
  EXPECT_FALSE(one_.driver->reads_allowed(loop_.now()));
  loop_.advance(1ms);
  EXPECT_EQ(one_.driver->lease_deadline(), sent + kParams.lease());
}

TEST_F(DriverTest, FencesASilentPeerAfterItsLeaseEnded) {
  start_both();
  two_.store.fault = [](const Txn&) { return Fault::kRefuse; };  // its renewals no longer arrive
  loop_.advance(2500ms);
  EXPECT_EQ(state(one_, kTwo), State::kSuspect);
  ASSERT_TRUE(loop_.advance_until([&] { return has(keys::fence(kTwo)); }, 10s));
  EXPECT_FALSE(two_.driver->reads_allowed(loop_.now()));
  loop_.advance(1s);
  EXPECT_EQ(state(one_, kTwo), State::kFenced);
  EXPECT_FALSE(one_.driver->current(NodeId(2)));
  EXPECT_EQ(two_.fenced, 1) << "the watch tells the victim itself";
  EXPECT_TRUE(two_.driver->is_fenced());
  EXPECT_EQ(one_.fenced, 0);
}

TEST_F(DriverTest, TheLeaderFrontendFencesFirst) {
  start_both();
  Member three(data_, loop_, {NodeId(3), Incarnation(1)});
  three.start();
  loop_.advance(7s);
  three.driver->set_leader_frontend(true);
  one_.store.fault = [](const Txn& txn) {
    EXPECT_NE(txn.then.at(0).key, keys::fence(kTwo)) << "only when the leader frontend did not act";
    return Fault::kNone;
  };
  two_.driver.reset();
  ASSERT_TRUE(loop_.advance_until([&] { return has(keys::fence(kTwo)); }, 10s));
}

TEST_F(DriverTest, IsFinishedForEverOnceFenced) {
  start_both();
  one_.store.watch_delay = 1h;  // it does not hear of it, it is refused
  one_.driver->on_fenced([&] { EXPECT_FALSE(one_.driver->reads_allowed(loop_.now())); });
  put(keys::fence(kOne), "{}");
  loop_.advance(2s);
  EXPECT_EQ(one_.fenced, 1);
  EXPECT_EQ(one_.driver->lease_deadline(), Instant{});
  const Revision last = (*data_->get(keys::live(kOne)))->mod_revision;
  loop_.advance(1min);
  EXPECT_EQ((*data_->get(keys::live(kOne)))->mod_revision, last);
  EXPECT_EQ(one_.fenced, 1);
}

TEST_F(DriverTest, DoesNotStartUnderAFence) {
  put(keys::fence(kOne), "{}");
  one_.start();
  loop_.advance(1s);
  EXPECT_EQ(one_.ready, std::vector<std::string>{"fenced"});
  EXPECT_FALSE(has(keys::live(kOne)));
}

TEST_F(DriverTest, LostAnswersAndLostRequestsFenceNobody) {
  int calls = 0;
  const auto faults = [&](const Txn&) {
    constexpr Fault kFaults[] = {Fault::kLoseAnswer, Fault::kLoseRequest, Fault::kRefuse, Fault::kNone};
    return kFaults[calls++ % 4];
  };
  one_.store.fault = faults;
  two_.store.fault = faults;
  start_both();
  for (int i = 0; i < 120; ++i) {
    loop_.advance(1s);
    ASSERT_TRUE(one_.driver->reads_allowed(loop_.now()));
    ASSERT_TRUE(two_.driver->reads_allowed(loop_.now()));
  }
  EXPECT_FALSE(has(keys::fence(kOne)) || has(keys::fence(kTwo)));
}

TEST_F(DriverTest, AConfirmationByReadingBackCountsFromTheSend) {
  one_.store.answer_delay = 300ms;
  one_.store.fault = [](const Txn&) { return Fault::kLoseAnswer; };
  const Instant sent = loop_.now();
  one_.start();
  loop_.advance(600ms);  // the lost answer, then the read
  EXPECT_EQ(one_.driver->lease_deadline(), sent + kParams.lease());
}

TEST_F(DriverTest, FindsItsFirstRecordWhenBothAnswersWereLost) {
  bool first = true;
  one_.store.fault = [&](const Txn&) {
    if (!std::exchange(first, false)) return Fault::kNone;
    one_.store.set_connected(false);  // so that it cannot read back either
    return Fault::kLoseAnswer;
  };
  one_.start();
  loop_.advance(10s);
  one_.store.set_connected(true);
  loop_.advance(5s);
  EXPECT_EQ(one_.ready, std::vector<std::string>{"ok"});
  EXPECT_EQ(one_.fenced, 0);
  EXPECT_TRUE(one_.driver->reads_allowed(loop_.now()));
}

TEST_F(DriverTest, NobodyIsFencedWhenMetadataReturns) {
  start_both();
  one_.store.set_connected(false);
  two_.store.set_connected(false);
  loop_.advance(1min);
  EXPECT_FALSE(one_.driver->reads_allowed(loop_.now()));
  one_.store.set_connected(true);
  loop_.advance(500ms);
  two_.store.set_connected(true);
  loop_.advance(1min);
  EXPECT_FALSE(has(keys::fence(kOne)) || has(keys::fence(kTwo)));
  EXPECT_TRUE(one_.driver->reads_allowed(loop_.now()));
  EXPECT_TRUE(two_.driver->reads_allowed(loop_.now()));
}

TEST_F(DriverTest, NobodyIsFencedWhileTheStoreIsSlowForAll) {
  start_both();
  one_.store.request_delay = two_.store.request_delay = 20s;  // a stalled disk under the store
  loop_.advance(15s);
  one_.store.request_delay = two_.store.request_delay = 1ms;
  loop_.advance(1min);
  EXPECT_FALSE(has(keys::fence(kOne)) || has(keys::fence(kTwo)));
}

TEST_F(DriverTest, NobodyIsFencedAfterAPauseOfTheWholeMachine) {
  start_both();
  loop_.jump(10min);  // suspended: the boot clock went on
  loop_.advance(1min);
  EXPECT_FALSE(has(keys::fence(kOne)) || has(keys::fence(kTwo)));
  EXPECT_TRUE(one_.driver->reads_allowed(loop_.now()));
}

TEST_F(DriverTest, AWakingProcessCannotReadBeforeItKnowsWhetherItWasFenced) {
  start_both();
  two_.store.set_connected(false);  // stopped: neither sends nor hears
  ASSERT_TRUE(loop_.advance_until([&] { return has(keys::fence(kTwo)); }, 10s));
  EXPECT_FALSE(two_.driver->reads_allowed(loop_.now()));
  two_.store.set_connected(true);
  loop_.advance(2s);
  EXPECT_EQ(two_.fenced, 1);
}

TEST_F(DriverTest, ChangesItsPhaseAtOnce) {
  one_.start(Phase::kStandby);
  two_.start();
  loop_.advance(200ms);
  EXPECT_EQ(two_.driver->current(NodeId(1))->phase, Phase::kStandby);
  std::vector<Phase> seen;
  two_.driver->on_peer([&](const PeerView& view) {
    if (view.peer == kOne) seen.push_back(view.phase);
  });
  one_.driver->set_phase(Phase::kLive);
  loop_.advance(1ms);
  EXPECT_EQ(seen, std::vector<Phase>{Phase::kLive});
}

TEST_F(DriverTest, ChangesThePhaseAfterTheRenewalUnderWay) {
  one_.store.request_delay = 100ms;
  one_.start(Phase::kStandby);
  two_.start();
  one_.driver->set_phase(Phase::kLeaving);
  loop_.advance(500ms);
  EXPECT_EQ(two_.driver->current(NodeId(1))->phase, Phase::kLeaving);
}

TEST_F(DriverTest, FencesItselfAsItsLastAct) {
  start_both();
  one_.store.set_connected(false);
  std::optional<bool> done;
  one_.driver->fence_self("stop", [&](Result<void> result) { done = result.ok(); });
  EXPECT_FALSE(one_.driver->reads_allowed(loop_.now()));
  loop_.advance(1s);
  EXPECT_FALSE(done) << "tries until metadata answers";
  one_.store.set_connected(true);
  loop_.advance(1s);
  EXPECT_EQ(done, true);
  EXPECT_TRUE(has(keys::fence(kOne)));
  EXPECT_EQ(one_.fenced, 0);
  EXPECT_EQ(state(two_, kOne), State::kFenced);
}

TEST_F(DriverTest, AnIncarnationThatWasCleanedUpDoesNotComeBackToLife) {
  start_both();
  two_.store.set_connected(false);
  loop_.advance(10s);
  write(Op::del(keys::fence(kTwo)));
  write(Op::del(keys::live(kTwo)));
  two_.store.set_connected(true);
  loop_.advance(5s);
  EXPECT_EQ(two_.fenced, 1);
  EXPECT_FALSE(has(keys::live(kTwo)));
}

TEST_F(DriverTest, AShorterTtlNeverLetsAPeerBeFencedWhileItReads) {
  start_both();
  const liveness::Params quick{.renew = 250ms, .ttl = 1s};
  one_.driver->set_params(quick);  // the other one has not heard of it, and falls silent
  two_.store.fault = [](const Txn&) { return Fault::kRefuse; };
  while (!has(keys::fence(kTwo))) {
    loop_.advance(10ms);
    if (has(keys::fence(kTwo))) break;
    ASSERT_LT(loop_.now(), Instant(2h));
  }
  EXPECT_FALSE(two_.driver->reads_allowed(loop_.now()));
}

class FakeDeaths final : public DeathWatch {
 public:
  bool is_gone(Peer peer) override { return gone.contains(peer); }
  void forget(Peer peer) override { forgotten.insert(peer); }
  std::set<Peer> gone, forgotten;
};

TEST_F(DriverTest, FencesAProvenDeathAtOnce) {
  FakeDeaths deaths;
  Member three(data_, loop_, {NodeId(3), Incarnation(1)}, &deaths);
  start_both();
  three.start();
  loop_.advance(100ms);
  two_.driver.reset();
  deaths.gone.insert(kTwo);
  const Instant died = loop_.now();
  ASSERT_TRUE(loop_.advance_until([&] { return has(keys::fence(kTwo)); }, 10s));
  EXPECT_LE(loop_.now() - died, Duration(60ms));
  loop_.advance(1s);
  EXPECT_TRUE(deaths.forgotten.contains(kTwo));
  int fence_events = 0;
  read_events(one_.store, 100, [&](Result<std::vector<ClusterEvent>> events) {
    for (const auto& event : *events) fence_events += event.type == "node_fenced" ? 1 : 0;
  });
  loop_.run_ready();
  EXPECT_EQ(fence_events, 1);
}

TEST_F(DriverTest, TheSupervisorsFenceIsRepeatedUntilItIsThere) {
  one_.store.set_connected(false);
  int done = 0;
  fence_now(one_.store, loop_, kTwo, "supervisor", "exited", [&](Result<void> result) { done += result.ok() ? 1 : 0; });
  loop_.advance(3s);
  EXPECT_EQ(done, 0);
  one_.store.set_connected(true);
  one_.store.fault = [n = 0](const Txn&) mutable { return n++ == 0 ? Fault::kLoseAnswer : Fault::kNone; };
  loop_.advance(1s);
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(has(keys::fence(kTwo)));
}

TEST(LifeLocksTest, AreFreedByTheKernelAndNotBefore) {
  testing_support::TestDir dir;
  auto mine = LifeLocks::open(dir.path()), theirs = LifeLocks::open(dir.path());
  ASSERT_TRUE(mine.ok() && theirs.ok());
  EXPECT_FALSE((*mine)->is_gone(kTwo)) << "without a file nothing is known";
  ASSERT_TRUE((*theirs)->hold(kTwo).ok());
  EXPECT_FALSE((*mine)->is_gone(kTwo));
  EXPECT_FALSE((*theirs)->is_gone(kTwo)) << "nobody declares itself dead";
  EXPECT_EQ((*mine)->hold(kTwo).error().code, Errc::kStoreLocked);
  EXPECT_FALSE((*mine)->is_gone(kTwo));
  theirs->reset();
  EXPECT_TRUE((*mine)->is_gone(kTwo));
  (*mine)->forget(kTwo);
  EXPECT_FALSE((*mine)->is_gone(kTwo));
  EXPECT_EQ(LifeLocks::open(dir.path() / "absent").error().code, Errc::kIo);
}

}  // namespace
}  // namespace outlast::meta
