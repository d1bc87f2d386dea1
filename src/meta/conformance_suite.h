#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/store.h"
#include "tests/support/sim_loop.h"

/// What every implementation of meta::Store must pass. One .cc of a test program includes it and instantiates it:
///   INSTANTIATE_TEST_SUITE_P(Embedded, StoreConformance, testing::Values(ConformanceCase{…}),
///   ConformanceCase::name_of)
namespace outlast::meta {

/// One fresh set of metadata, to be opened by several clients.
class ConformanceWorld {
 public:
  virtual ~ConformanceWorld() = default;
  virtual std::unique_ptr<Store> open(Loop& loop) = 0;
  virtual std::size_t ops_max() const = 0;
};
struct ConformanceCase {
  std::string name;
  std::function<std::unique_ptr<ConformanceWorld>()> make_world;
  static std::string name_of(const testing::TestParamInfo<ConformanceCase>& info) { return info.param.name; }
};
inline void PrintTo(const ConformanceCase& one, std::ostream* out) {
  *out << one.name;
}

class StoreConformance : public testing::TestWithParam<ConformanceCase> {
 protected:
  using Clients = std::vector<std::unique_ptr<Store>>;

  void SetUp() override {
    world_ = GetParam().make_world();
    store_ = world_->open(loop_);
    other_ = world_->open(loop_);
  }
  void TearDown() override {
    store_.reset();
    other_.reset();
    loop_.run_ready();
  }

  Result<TxnReply> run(Store& store, Txn txn) {
    std::optional<Result<TxnReply>> reply;
    store.txn(std::move(txn), std::chrono::seconds(20), [&](Result<TxnReply> r) { reply = std::move(r); });
    if (!loop_.run_until([&] { return reply.has_value(); })) return Error(Errc::kDeadline, "no answer");
    return *std::move(reply);
  }
  TxnReply must(Txn txn) {
    auto reply = run(*store_, std::move(txn));
    EXPECT_TRUE(reply.ok()) << reply.error().to_string();
    return reply.ok() ? *std::move(reply) : TxnReply{};
  }
  TxnReply put(std::string key, std::string value) {
    return must({.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}});
  }
  TxnReply del(std::string key) { return must({.compares = {}, .then = {Op::del(std::move(key))}, .otherwise = {}}); }
  std::optional<KeyValue> get(std::string key) {
    auto reply = must({.compares = {}, .then = {Op::get(std::move(key))}, .otherwise = {}});
    if (reply.replies.empty() || reply.replies[0].kvs.empty()) return {};
    return reply.replies[0].kvs[0];
  }
  bool holds(Compare compare) {
    return must({.compares = {std::move(compare)}, .then = {}, .otherwise = {}}).succeeded;
  }

  testing_support::SimLoop loop_;
  std::unique_ptr<ConformanceWorld> world_;
  std::unique_ptr<Store> store_, other_;
};

/// Follows a prefix as a careful client would, and complains of everything that store.h does not allow.
class Follower {
 public:
  Follower(Store& store, std::string prefix) : store_(store), prefix_(std::move(prefix)) {
    id_ = store_.watch(prefix_, [this](const WatchBatch& batch) { take(batch); });
  }
  ~Follower() { store_.unwatch(id_); }
  std::map<std::string, std::string> state;
  std::vector<Revision> revisions;  ///< Of the kEvents batches.
  std::vector<Event> events;
  int resets{0};
  Revision revision;

 private:
  void take(const WatchBatch& batch) {
    if (batch.kind == WatchBatch::Kind::kReset) {
      ++resets;
      EXPECT_GE(batch.revision, revision);
      state.clear();
      for (const KeyValue& kv : batch.state) {
        EXPECT_LE(kv.mod_revision, batch.revision);
        state[kv.key] = kv.value;
      }
    } else {
      EXPECT_GT(resets, 0) << "the first message must be a reset";
      EXPECT_GT(batch.revision, revision) << "revisions must rise";
      EXPECT_FALSE(batch.events.empty());
      revisions.push_back(batch.revision);
      for (const Event& event : batch.events) {
        EXPECT_EQ(event.kv.mod_revision, batch.revision);
        EXPECT_TRUE(event.kv.key.starts_with(prefix_)) << event.kv.key;
        events.push_back(event);
        if (event.kind == Event::Kind::kPut)
          state[event.kv.key] = event.kv.value;
        else
          EXPECT_EQ(state.erase(event.kv.key), 1U) << "deletion of an unknown key";
      }
    }
    revision = batch.revision;
  }
  Store& store_;
  const std::string prefix_;
  Store::WatchId id_{0};
};

TEST_P(StoreConformance, GivesEveryChangingTransactionOneRevision) {
  const Revision first = put("/a", "1").revision;
  const TxnReply two = must({.compares = {}, .then = {Op::put("/a", "2"), Op::put("/b", "1")}, .otherwise = {}});
  EXPECT_TRUE(two.succeeded);
  EXPECT_EQ(two.revision.value, first.value + 1);
  const auto a = get("/a"), b = get("/b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->value, "2");
  EXPECT_EQ(a->create_revision, first);
  EXPECT_EQ(a->mod_revision, two.revision);
  EXPECT_EQ(b->mod_revision, two.revision);
  EXPECT_EQ(b->create_revision, two.revision);
  EXPECT_EQ(del("/absent").revision, two.revision) << "nothing changed";
  EXPECT_EQ(must({.compares = {}, .then = {Op::get("/a")}, .otherwise = {}}).revision, two.revision);
}

TEST_P(StoreConformance, StartsANewLifeForAKeyThatComesBack) {
  const Revision first = put("/a", "1").revision;
  del("/a");
  EXPECT_FALSE(get("/a"));
  const Revision again = put("/a", "1").revision;
  EXPECT_EQ(get("/a")->create_revision, again);
  EXPECT_FALSE(holds(Compare::exists_since("/a", first)));
  EXPECT_TRUE(holds(Compare::exists_since("/a", again)));
}

TEST_P(StoreConformance, KeepsBytesAsTheyAre) {
  const std::string key("/bytes/\x00\xff\x7f", 10), value("\x00\x01\xfe\xff", 4);
  put(key, value);
  put("/bytes/empty", "");
  EXPECT_EQ(get(key)->value, value);
  ASSERT_TRUE(get("/bytes/empty"));
  EXPECT_EQ(get("/bytes/empty")->value, "");
}

TEST_P(StoreConformance, ComparesRevisionsAndValues) {
  const Revision made = put("/a", "x").revision, changed = put("/a", "y").revision;
  EXPECT_TRUE(holds(Compare::unchanged("/a", changed)));
  EXPECT_FALSE(holds(Compare::unchanged("/a", made)));
  EXPECT_TRUE(holds(Compare::exists_since("/a", made)));
  EXPECT_FALSE(holds(Compare::exists_since("/a", changed)));
  EXPECT_TRUE(holds(Compare::value_is("/a", "y")));
  EXPECT_FALSE(holds(Compare::value_is("/a", "x")));
  EXPECT_TRUE(holds(Compare::present("/a")));
  EXPECT_FALSE(holds(Compare::present("/none")));
  EXPECT_TRUE(holds(Compare::absent("/none")));
  EXPECT_FALSE(holds(Compare::absent("/a")));
  EXPECT_FALSE(holds(Compare::value_is("/none", ""))) << "an absent key has no value";
  for (const bool there : {true, false}) {
    auto not_x = Compare::value_is(there ? "/a" : "/none", "x");
    not_x.negated = true;
    EXPECT_EQ(holds(not_x), there);
  }
  auto moved = Compare::unchanged("/a", made);
  moved.negated = true;
  EXPECT_TRUE(holds(moved));
}

TEST_P(StoreConformance, RunsTheOtherBranchWhenOneCompareFails) {
  put("/a", "x");
  const TxnReply reply = must({.compares = {Compare::present("/a"), Compare::value_is("/a", "no")},
                               .then = {Op::put("/then", "1")},
                               .otherwise = {Op::put("/otherwise", "1"), Op::get("/a")}});
  EXPECT_FALSE(reply.succeeded);
  ASSERT_EQ(reply.replies.size(), 2U);
  EXPECT_EQ(reply.replies[1].kvs.at(0).value, "x");
  EXPECT_FALSE(get("/then"));
  EXPECT_TRUE(get("/otherwise"));
}

TEST_P(StoreConformance, ReadsWhatTheTransactionItselfWrote) {
  put("/p/a", "1");
  put("/p/c", "1");
  const TxnReply reply =
      must({.compares = {},
            .then = {Op::get("/p/b"), Op::put("/p/b", "2"), Op::get("/p/b"), Op::del("/p/a"), Op::get_prefix("/p/")},
            .otherwise = {}});
  EXPECT_TRUE(reply.replies[0].kvs.empty());
  EXPECT_EQ(reply.replies[2].kvs.at(0).value, "2");
  EXPECT_EQ(reply.replies[2].kvs.at(0).mod_revision, reply.revision);
  ASSERT_EQ(reply.replies[4].kvs.size(), 2U);
  EXPECT_EQ(reply.replies[4].kvs[0].key, "/p/b");
  EXPECT_EQ(reply.replies[4].kvs[1].key, "/p/c");
}

TEST_P(StoreConformance, TakesAPrefixAsBytesInKeyOrder) {
  for (const char* key : {"/p/10", "/p/9", "/p/1", "/p", "/p0", "/p/\xff\xff", "/o/9"}) put(key, "v");
  const TxnReply reply = must({.compares = {}, .then = {Op::get_prefix("/p/")}, .otherwise = {}});
  std::vector<std::string> names;
  for (const KeyValue& kv : reply.replies[0].kvs) names.push_back(kv.key);
  EXPECT_EQ(names, (std::vector<std::string>{"/p/1", "/p/10", "/p/9", "/p/\xff\xff"}));
  must({.compares = {},
        .then = {Op{.kind = Op::Kind::kDeletePrefix, .key = "/p/", .value = {}, .nested = {}}},
        .otherwise = {}});
  EXPECT_FALSE(get("/p/9"));
  EXPECT_TRUE(get("/p"));
  EXPECT_TRUE(get("/p0"));
}

TEST_P(StoreConformance, NestedTransactionsDecideForThemselves) {
  put("/n/1", "x");
  Txn winner{.compares = {Compare::value_is("/n/1", "x")}, .then = {Op::put("/n/won", "1")}, .otherwise = {}};
  Txn loser{.compares = {Compare::absent("/n/1")},
            .then = {Op::put("/n/lost", "1")},
            .otherwise = {Op::get("/n/1"), Op::put("/n/loser", "1")}};
  const TxnReply reply =
      must({.compares = {}, .then = {Op::txn(winner), Op::txn(loser), Op::put("/n/2", "y")}, .otherwise = {}});
  EXPECT_TRUE(reply.succeeded);
  ASSERT_TRUE(reply.replies[0].txn && reply.replies[1].txn);
  EXPECT_TRUE(reply.replies[0].txn->succeeded);
  EXPECT_FALSE(reply.replies[1].txn->succeeded);
  EXPECT_EQ(reply.replies[1].txn->replies.at(0).kvs.at(0).value, "x");
  EXPECT_EQ(get("/n/won")->mod_revision, reply.revision);
  EXPECT_EQ(get("/n/loser")->mod_revision, reply.revision) << "one revision for the whole";
  EXPECT_FALSE(get("/n/lost"));
}

TEST_P(StoreConformance, NestedComparesSeeTheStateBeforeTheTransaction) {
  Txn nested{.compares = {Compare::present("/n/a")}, .then = {Op::put("/n/b", "1")}, .otherwise = {}};
  const TxnReply reply = must({.compares = {}, .then = {Op::put("/n/a", "1"), Op::txn(nested)}, .otherwise = {}});
  EXPECT_FALSE(reply.replies[1].txn->succeeded);
  EXPECT_FALSE(get("/n/b"));
}

TEST_P(StoreConformance, RefusesTooManyOperationsAndAcceptsTheMost) {
  Txn txn;
  for (std::size_t i = 0; i < world_->ops_max(); ++i) txn.then.push_back(Op::put("/m/" + std::to_string(i), "v"));
  EXPECT_TRUE(run(*store_, txn).ok());
  txn.then.push_back(Op::put("/m/more", "v"));
  EXPECT_EQ(run(*store_, txn).error().code, Errc::kMetaTooManyOps);
  Txn nested;
  nested.then.push_back(Op::txn(txn));
  EXPECT_EQ(run(*store_, nested).error().code, Errc::kMetaTooManyOps);
  EXPECT_FALSE(get("/m/more"));
}

TEST_P(StoreConformance, RefusesToWriteAKeyTwice) {
  Txn twice{.compares = {}, .then = {Op::put("/t", "1"), Op::put("/t", "2")}, .otherwise = {}};
  EXPECT_EQ(run(*store_, twice).error().code, Errc::kInvalidArgument);
  Txn inner{.compares = {}, .then = {Op::put("/t", "2")}, .otherwise = {}};
  Txn nested{.compares = {}, .then = {Op::put("/t", "1"), Op::txn(inner)}, .otherwise = {}};
  EXPECT_EQ(run(*store_, nested).error().code, Errc::kInvalidArgument);
  Txn gone{.compares = {}, .then = {Op::del("/t"), Op::put("/t", "2")}, .otherwise = {}};
  EXPECT_EQ(run(*store_, gone).error().code, Errc::kInvalidArgument);
  Txn either{.compares = {Compare::absent("/t")}, .then = {Op::put("/t", "1")}, .otherwise = {Op::put("/t", "2")}};
  EXPECT_TRUE(run(*store_, either).ok()) << "only one branch runs";
}

TEST_P(StoreConformance, RefusesWhatIsTooLargeOrNameless) {
  EXPECT_EQ(run(*store_, {.compares = {}, .then = {Op::put("/x", std::string(kTxnBytesMax + 1, 'x'))}, .otherwise = {}})
                .error()
                .code,
            Errc::kTooLarge);
  EXPECT_EQ(run(*store_, {.compares = {}, .then = {Op::put("", "x")}, .otherwise = {}}).error().code,
            Errc::kInvalidArgument);
}

TEST_P(StoreConformance, TwoClientsSeeEachOthersWritesAtOnce) {
  const Revision first = put("/shared", "1").revision;
  auto seen = run(*other_, {.compares = {Compare::unchanged("/shared", first)},
                            .then = {Op::put("/shared", "2"), Op::get("/shared")},
                            .otherwise = {}});
  ASSERT_TRUE(seen.ok());
  EXPECT_TRUE(seen->succeeded);
  EXPECT_EQ(get("/shared")->value, "2");
}

TEST_P(StoreConformance, OneOfManyWinsACompareAndSet) {
  Clients clients;
  for (int i = 0; i < 4; ++i) clients.push_back(world_->open(loop_));
  int answers = 0, winners = 0;
  for (int round = 0; round < 10; ++round) {
    const std::string key = "/cas/" + std::to_string(round);
    for (auto& client : clients)
      client->txn({.compares = {Compare::absent(key)}, .then = {Op::put(key, "mine")}, .otherwise = {}},
                  std::chrono::seconds(20), [&](Result<TxnReply> reply) {
                    ++answers;
                    ASSERT_TRUE(reply.ok()) << reply.error().to_string();
                    winners += reply->succeeded ? 1 : 0;
                  });
  }
  ASSERT_TRUE(loop_.run_until([&] { return answers == 40; }));
  EXPECT_EQ(winners, 10);
}

TEST_P(StoreConformance, AWatchBeginsWithTheWholeStateOfItsPrefix) {
  put("/w/a", "1");
  put("/w/b", "2");
  put("/v/c", "3");
  Follower follower(*other_, "/w/");
  ASSERT_TRUE(loop_.run_until([&] { return follower.resets > 0; }));
  EXPECT_EQ(follower.state, (std::map<std::string, std::string>{{"/w/a", "1"}, {"/w/b", "2"}}));
  EXPECT_GE(follower.revision, get("/v/c")->mod_revision);
}

TEST_P(StoreConformance, AWatchTellsEachRevisionOnceAndInOrder) {
  Follower near(*store_, "/w/"), far(*other_, "/w/");
  ASSERT_TRUE(loop_.run_until([&] { return near.resets > 0 && far.resets > 0; }));
  const Revision first = put("/w/a", "1").revision;
  put("/elsewhere", "1");
  const Revision both =
      must({.compares = {}, .then = {Op::put("/w/a", "2"), Op::put("/w/b", "1")}, .otherwise = {}}).revision;
  const Revision gone = del("/w/a").revision;
  for (Follower* follower : {&near, &far}) {
    ASSERT_TRUE(loop_.run_until([&] { return follower->revision >= gone; }));
    EXPECT_EQ(follower->revisions, (std::vector{first, both, gone}));
    ASSERT_EQ(follower->events.size(), 4U);
    EXPECT_EQ(follower->events[0].kv.create_revision, first);
    EXPECT_EQ(follower->events[3].kind, Event::Kind::kDelete);
    EXPECT_EQ(follower->resets, 1);
    EXPECT_EQ(follower->state, (std::map<std::string, std::string>{{"/w/b", "1"}}));
  }
}

TEST_P(StoreConformance, AWatchTellsNothingAfterUnwatch) {
  int calls = 0;
  const auto id = store_->watch("/w/", [&](const WatchBatch&) { ++calls; });
  ASSERT_TRUE(loop_.run_until([&] { return calls == 1; }));
  store_->unwatch(id);
  put("/w/a", "1");
  Follower later(*store_, "/w/");
  ASSERT_TRUE(loop_.run_until([&] { return later.resets > 0; }));
  EXPECT_EQ(calls, 1);
}

TEST_P(StoreConformance, AWatchMayEndItselfFromItsOwnSink) {
  int calls = 0;
  Store::WatchId id = 0;
  id = store_->watch("/w/", [&](const WatchBatch&) {
    ++calls;
    store_->unwatch(id);
  });
  ASSERT_TRUE(loop_.run_until([&] { return calls == 1; }));
  put("/w/a", "1");
  Follower later(*store_, "/w/");
  ASSERT_TRUE(loop_.run_until([&] { return later.resets > 0; }));
  EXPECT_EQ(calls, 1);
}

TEST_P(StoreConformance, ALateWatcherAfterCompactionStillHasTheWholeState) {
  for (int i = 0; i < 20; ++i) put("/w/" + std::to_string(i % 5), std::to_string(i));
  std::optional<Result<Revision>> compacted;
  store_->compact(3, [&](Result<Revision> r) { compacted = std::move(r); });
  ASSERT_TRUE(loop_.run_until([&] { return compacted.has_value(); }));
  ASSERT_TRUE(compacted->ok());
  EXPECT_EQ((*compacted)->value + 3, get("/w/4")->mod_revision.value);
  Follower follower(*other_, "/w/");
  put("/w/new", "1");
  ASSERT_TRUE(loop_.run_until([&] { return follower.state.contains("/w/new"); }));
  EXPECT_EQ(follower.state.size(), 6U);
  EXPECT_EQ(follower.state["/w/4"], "19");
}

TEST_P(StoreConformance, AWatcherThatKeptUpIsNotResetByCompaction) {
  Follower follower(*other_, "/w/");
  Revision last;
  for (int i = 0; i < 20; ++i) last = put("/w/a", std::to_string(i)).revision;
  ASSERT_TRUE(loop_.run_until([&] { return follower.revision >= last; }));
  const int resets = follower.resets;
  bool done = false;
  store_->compact(1, [&](Result<Revision>) { done = true; });
  ASSERT_TRUE(loop_.run_until([&] { return done; }));
  last = put("/w/a", "after").revision;
  ASSERT_TRUE(loop_.run_until([&] { return follower.revision >= last; }));
  EXPECT_EQ(follower.resets, resets);
}

TEST_P(StoreConformance, LosesNoEventUnderConcurrentWriters) {
  Clients clients;
  for (int i = 0; i < 3; ++i) clients.push_back(world_->open(loop_));
  std::vector<std::unique_ptr<Follower>> followers;
  for (auto& client : clients) followers.push_back(std::make_unique<Follower>(*client, "/log/"));
  int answers = 0;
  Revision last;
  constexpr int kWrites = 150;
  for (int i = 0; i < kWrites; ++i) {
    for (std::size_t c = 0; c < clients.size(); ++c) {
      Txn txn;
      txn.then.push_back(Op::put("/log/" + std::to_string(c) + "/" + std::to_string(i), "v"));
      txn.then.push_back(Op::put("/log/last", std::to_string(i)));
      clients[c]->txn(std::move(txn), std::chrono::seconds(20), [&](Result<TxnReply> reply) {
        ++answers;
        ASSERT_TRUE(reply.ok()) << reply.error().to_string();
        last = std::max(last, reply->revision);
      });
    }
    if (i % 10 == 0) loop_.run_until([&] { return answers > i; });
    if (i == kWrites / 2) followers.push_back(std::make_unique<Follower>(*store_, "/log/"));  // in the middle
  }
  ASSERT_TRUE(loop_.run_until([&] { return answers == 3 * kWrites; }));
  const TxnReply truth = must({.compares = {}, .then = {Op::get_prefix("/log/")}, .otherwise = {}});
  for (auto& follower : followers) {
    ASSERT_TRUE(loop_.run_until([&] { return follower->revision >= last; }));
    EXPECT_EQ(follower->state.size(), truth.replies[0].kvs.size());
    for (const KeyValue& kv : truth.replies[0].kvs) EXPECT_EQ(follower->state[kv.key], kv.value) << kv.key;
    for (std::size_t i = 1; i < follower->revisions.size(); ++i)  // every revision touches this prefix
      ASSERT_EQ(follower->revisions[i].value, follower->revisions[i - 1].value + 1) << "a revision is missing";
  }
  EXPECT_EQ(truth.replies[0].kvs.size(), 3U * kWrites + 1);
}

TEST_P(StoreConformance, DropsCallbacksThatHaveNotRunWhenDestroyed) {
  int calls = 0;
  for (int i = 0; i < 20; ++i)
    other_->txn({.compares = {}, .then = {Op::put("/d/" + std::to_string(i), "v")}, .otherwise = {}},
                std::chrono::seconds(20), [&](Result<TxnReply>) { ++calls; });
  other_->watch("/d/", [&](const WatchBatch&) { ++calls; });
  other_.reset();
  loop_.run_ready();
  EXPECT_EQ(calls, 0);
}

TEST_P(StoreConformance, SaysThatItIsConnected) {
  put("/a", "1");
  EXPECT_TRUE(store_->connected());
}

}  // namespace outlast::meta
