#include "meta/decommissions.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <random>

#include "meta/cas.h"
#include "meta/databases.h"
#include "meta/drains.h"
#include "meta/events.h"
#include "meta/keys.h"
#include "meta/mirrors.h"
#include "meta/node_status.h"
#include "meta/tasks.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimMetadata;
using testing_support::SimStore;
using Fault = SimStore::Fault;

constexpr NodeId kNode{4};

class DecommissionsTest : public testing_support::SimMetaTest {
 protected:
  DecommissionsTest() {
    EXPECT_TRUE(registered({.node = kNode, .store_uuid = "s4", .incarnation = Incarnation(1)}).ok());
    for (int i = 0; i < 2; ++i)
      EXPECT_TRUE(wait<Incarnation>([&](auto done) { draw_incarnation(other_, kNode, std::move(done)); }).ok());
    write({Op::put(keys::fence({kNode, Incarnation(1)}), "{}"), Op::put(keys::live({kNode, Incarnation(2)}), "{}")});
  }
  void write(std::vector<Op> ops) {
    EXPECT_TRUE(wait<TxnReply>([&](auto done) {
                  other_.txn({.compares = {}, .then = std::move(ops), .otherwise = {}}, 1s, std::move(done));
                }).ok());
  }
  bool exists(std::string key) {
    return wait<std::optional<KeyValue>>([&](auto done) { read(other_, key, std::move(done)); })->has_value();
  }
  Result<NodeRecord> registered(NodeRecord record) {
    return wait<NodeRecord>([&](auto done) { register_node(other_, record, std::move(done)); });
  }
  NodeRecord record() {
    const auto kv = wait<std::optional<KeyValue>>([&](auto done) { read(other_, keys::node(kNode), std::move(done)); });
    return *decode_node_record((*kv)->value);
  }
  Result<void> mark(Warrant warrant = {}, NodeId node = kNode) {
    return wait<void>([&](auto done) { mark_decommissioning(store_, {node, NodeId(1), 7}, warrant, std::move(done)); });
  }
  Result<void> unmark() {
    return wait<void>([&](auto done) { unmark_decommissioning(store_, {kNode, NodeId(2), 8}, {}, std::move(done)); });
  }
  Result<void> finish(bool in_absentia = false, Warrant warrant = {}) {
    return wait<void>(
        [&](auto done) { finish_decommission(store_, {kNode, NodeId(1), 9}, in_absentia, warrant, std::move(done)); });
  }
  void drain(Incarnation incarnation = Incarnation(2)) {
    write(
        {Op::put(keys::drain(kNode), encode(DrainRecord{.peer = {kNode, incarnation}, .drained = true, .leave = true})),
         Op::put(keys::status(kNode), encode(NodeStatusRecord{.peer = {kNode, incarnation}}))});
  }
  void hold_range() {
    write({Op::put(keys::range(RangeId(6)), placement::encode(placement::create_range(RangeId(6), DatabaseId(1), kNode,
                                                                                      "s4", Incarnation(2))))});
  }
  std::vector<std::string> events() {
    const auto read = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(other_, 9, std::move(done)); });
    std::vector<std::string> out;
    for (const ClusterEvent& event : *read) out.push_back(event.type);
    return out;
  }
};

TEST_F(DecommissionsTest, IsMarkedOnceAndLetBackOnce) {
  store_.fault = [n = 1](const Txn&) mutable { return n-- > 0 ? Fault::kLoseAnswer : Fault::kNone; };
  EXPECT_TRUE(mark().ok());
  EXPECT_TRUE(mark().ok());
  EXPECT_EQ(record().membership, Membership::kDecommissioning);
  EXPECT_EQ(record().membership_by, NodeId(1));
  EXPECT_TRUE(unmark().ok());
  EXPECT_TRUE(unmark().ok());
  EXPECT_EQ(record().membership, Membership::kActive);
  EXPECT_EQ(events(), (std::vector<std::string>{"node_recommissioned", "node_decommissioning"}));
  EXPECT_EQ(mark({}, NodeId(9)).error().code, Errc::kNotFound);
}

TEST_F(DecommissionsTest, TheEventHasSeedThreesFields) {
  ASSERT_TRUE(mark().ok());
  const auto read = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(other_, 1, std::move(done)); });
  const auto& details = read->at(0).details;
  EXPECT_EQ(boost::json::serialize(details),
            R"({"Timestamp":7000,"EventType":"node_decommissioning","RequestingNodeID":1,"TargetNodeID":4})");
}

TEST_F(DecommissionsTest, OnlyInTheNameOfTheOfficeAndOfTheTaskAsItWasRead) {
  const Compare office = Compare::present(std::string(keys::kOffice));
  EXPECT_EQ(mark({.office = office}).error().code, Errc::kMetaConflict);
  EXPECT_EQ(mark({.task = 3, .task_mod = Revision(1)}).error().code, Errc::kMetaConflict);
  EXPECT_EQ(record().membership, Membership::kActive);
  ASSERT_TRUE(mark().ok());
  drain();
  EXPECT_EQ(finish(false, {.office = office}).error().code, Errc::kMetaConflict);
  EXPECT_EQ(finish(false, {.task = 3, .task_mod = Revision(1)}).error().code, Errc::kMetaConflict);
  EXPECT_EQ(record().membership, Membership::kDecommissioning);
}

TEST_F(DecommissionsTest, IsFinalOnlyWhenNothingIsLeft) {
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "not marked";
  ASSERT_TRUE(mark().ok());
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "not drained";
  drain(Incarnation(1));
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "an earlier process drained";
  drain();
  hold_range();
  EXPECT_NE(finish().error().message.find("replicas of 1 ranges: 6"), std::string::npos) << finish().error().message;
  write({Op::del(keys::range(RangeId(6))),
         Op::put(keys::status(kNode), encode(NodeStatusRecord{.peer = {kNode, Incarnation(2)}, .buffer_bytes = 5}))});
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "buffers";
  drain();
  write({Op::put(std::string(keys::kOffice), R"({"node":4,"incarnation":2})")});
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "the office";
  write({Op::del(std::string(keys::kOffice)), Op::put(keys::live({kNode, Incarnation(3)}), "{}")});
  EXPECT_EQ(finish().error().code, Errc::kInvalidState) << "a later process";
  write({Op::del(keys::live({kNode, Incarnation(3)}))});
  EXPECT_TRUE(finish().ok());
  EXPECT_EQ(record().membership, Membership::kDecommissioned);
}

TEST_F(DecommissionsTest, ARemovedReplicaCountsUntilItsDataIsGone) {
  ASSERT_TRUE(mark().ok());
  drain();
  auto config = placement::create_range(RangeId(6), DatabaseId(1), NodeId(1), "s1", Incarnation(1));
  config.removed.push_back({kNode, "s4", ReplicaId(2)});
  write({Op::put(keys::range(RangeId(6)), placement::encode(config))});
  EXPECT_EQ(finish().error().code, Errc::kInvalidState);
  write({Op::put(keys::fence({kNode, Incarnation(2)}), "{}")});
  EXPECT_TRUE(finish(true).ok()) << "nobody is there to delete it";
}

TEST_F(DecommissionsTest, FinalIsFinal) {
  ASSERT_TRUE(mark().ok());
  drain();
  ASSERT_TRUE(wait<Incarnation>([&](auto done) { draw_incarnation(other_, kNode, std::move(done)); }).ok());
  store_.fault = [n = 1](const Txn&) mutable { return n-- > 0 ? Fault::kLoseAnswer : Fault::kNone; };
  ASSERT_TRUE(finish().ok());
  EXPECT_TRUE(finish().ok()) << "twice is once";
  EXPECT_TRUE(exists(keys::fence({kNode, Incarnation(3)}))) << "was drawn and could have begun";
  EXPECT_FALSE(exists(keys::fence({kNode, Incarnation(2)}))) << "the drained process writes its own";
  EXPECT_EQ(events(), (std::vector<std::string>{"node_decommissioned", "node_decommissioning"}));
  EXPECT_EQ(mark().error().code, Errc::kInvalidState);
  EXPECT_EQ(unmark().error().code, Errc::kInvalidState);
  EXPECT_EQ(registered({.node = kNode, .store_uuid = "s4"}).error().code, Errc::kInvalidState);
}

TEST_F(DecommissionsTest, InAbsentiaOnceEveryProcessIsFenced) {
  ASSERT_TRUE(mark().ok());
  EXPECT_EQ(finish(true).error().code, Errc::kInvalidState) << "process 2 may still run";
  write({Op::put(keys::fence({kNode, Incarnation(2)}), "{}"),
         Op::put(keys::status(kNode), encode(NodeStatusRecord{.peer = {kNode, Incarnation(2)}, .buffer_bytes = 99}))});
  hold_range();
  EXPECT_EQ(finish(true).error().code, Errc::kInvalidState);
  write({Op::del(keys::range(RangeId(6)))});
  ASSERT_TRUE(finish(true).ok());
  const auto read = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(other_, 1, std::move(done)); });
  EXPECT_EQ(read->at(0).details.at("PossibleLossBytes").to_number<int>(), 99);
}

/// Whatever happens between the look and the write, the final step is not taken on what is no longer true.
TEST_F(DecommissionsTest, NothingSlipsBetweenTheLookAndTheWrite) {
  const std::vector<std::pair<const char*, std::function<void()>>> races{
      {"recommissioned", [&] { unmark_decommissioning(other_, {kNode, NodeId(2), 8}, {}, [](auto) {}); }},
      {"recommissioned and decommissioned again",
       [&] {
         unmark_decommissioning(other_, {kNode, NodeId(2), 8}, {},
                                [&](auto) { mark_decommissioning(other_, {kNode, NodeId(2), 8}, {}, [](auto) {}); });
       }},
      {"a new process is drawn", [&] { draw_incarnation(other_, kNode, [](auto) {}); }},
      {"undrained", [&] { erase_drain(other_, {kNode, Incarnation(2)}, 1, [](auto) {}); }},
      {"a record came into its buffers",
       [&] { write_node_status(other_, {.peer = {kNode, Incarnation(2)}, .buffer_bytes = 1}, [](auto) {}); }},
      {"a database is created there",
       [&] { create_database(other_, "late", {kNode, Incarnation(2), "s4"}, 1, [](auto) {}); }},
      {"another leader frontend",
       [&] {
         other_.txn({.compares = {},
                     .then = {Op::put(std::string(keys::kOffice), R"({"node":2,"incarnation":1})")},
                     .otherwise = {}},
                    1s, [](auto) {});
       }},
  };
  for (const auto& [name, race] : races) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(mark().ok());
    drain();
    store_.request_delay = 5ms;
    std::optional<Result<void>> result;
    finish_decommission(store_, {kNode, NodeId(1), 9}, false, {}, [&](Result<void> r) { result = std::move(r); });
    loop_.advance(8ms);  // it has looked, its write is on its way
    race();
    loop_.advance_until([&] { return result.has_value(); }, 1min);
    store_.request_delay = 0ms;
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->ok());
    EXPECT_NE(record().membership, Membership::kDecommissioned);
  }
}

/// Leaseholders, operators, two leader frontends and the node itself at once, in any order: after the final step no
/// range has it, and none ever gets it.
TEST_F(DecommissionsTest, InAnyOrderNothingIsLeftBehindAndNothingComesAfter) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  constexpr int kHistories = 60, kSteps = 120;
  int finished = 0;
  for (int history = 0; history < kHistories; ++history) {
    const auto data = std::make_shared<SimMetadata>();
    SimStore one(data, loop_), two(data, loop_), leaders(data, loop_);
    for (SimStore* store : {&one, &two, &leaders}) {
      store->request_delay = std::chrono::milliseconds(1 + below(3));
      store->answer_delay = std::chrono::milliseconds(1 + below(3));
      store->fault = [&](const Txn&) {
        const auto dice = below(20);
        return dice == 0 ? Fault::kLoseAnswer : dice == 1 ? Fault::kLoseRequest : Fault::kNone;
      };
    }
    leaders.request_delay = 15ms;  // time for the others between its look and its write
    const auto nodes = mirror_nodes(one);
    const std::string range_key = keys::range(RangeId(6));
    auto config = placement::create_range(RangeId(6), DatabaseId(1), NodeId(1), "s1", Incarnation(1));
    const auto put = [&](std::string key, std::string value) {
      (void)data->apply({.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}});
    };
    put(range_key, placement::encode(config));
    put(keys::node(kNode), encode(NodeRecord{.node = kNode, .store_uuid = "s4"}));
    put(keys::live({kNode, Incarnation(1)}), "{}");
    put(keys::incarnation(kNode), "1");
    const auto membership = [&] { return decode_node_record((*data->get(keys::node(kNode)))->value)->membership; };
    const auto names_it = [&] {
      return placement::decode_range_config((*data->get(range_key))->value)->find(kNode) != nullptr;
    };
    bool gone = false;
    data->listeners.push_back([&] {
      const bool now = membership() == Membership::kDecommissioned;
      EXPECT_FALSE(gone && !now) << "it came back";
      gone = gone || now;
      EXPECT_FALSE(gone && names_it()) << "a range has it";
    });
    const liveness::Peer self{kNode, Incarnation(1)};
    for (int step = 0; step < kSteps; ++step) {
      SimStore& store = below(2) == 0 ? one : two;
      const MembershipChange change{kNode, NodeId(1), step};
      switch (below(8)) {
        case 0:
        case 1:
          mark_decommissioning(store, change, {}, [](auto) {});
          break;
        case 2:
          if (below(2) == 0) unmark_decommissioning(store, change, {}, [](auto) {});
          break;
        case 3: {  // a leaseholder, by what it knows
          const auto known = nodes->find(keys::node(kNode));
          const auto record = *data->get(range_key);
          auto next = placement::add_learner(*placement::decode_range_config(record->value), kNode, "s4");
          if (!known || known->value.membership != Membership::kActive || !next.ok()) break;
          store.txn({.compares = {Compare::unchanged(range_key, record->mod_revision),
                                  Compare::unchanged(known->key, known->mod_revision)},
                     .then = {Op::put(range_key, placement::encode(*next))},
                     .otherwise = {}},
                    1s, [](auto) {});
          break;
        }
        case 4: {
          const auto record = *data->get(range_key);
          auto next = placement::remove_learner(*placement::decode_range_config(record->value), kNode);
          if (!next.ok()) break;
          next->removed.clear();
          store.txn({.compares = {Compare::unchanged(range_key, record->mod_revision)},
                     .then = {Op::put(range_key, placement::encode(*next))},
                     .otherwise = {}},
                    1s, [](auto) {});
          break;
        }
        case 5:
          record_drain(store, {.peer = self, .drained = true, .leave = true}, [](auto) {});
          write_node_status(store, {.peer = self, .buffer_bytes = below(3) == 0 ? 1U : 0U}, [](auto) {});
          break;
        case 6:
          if (below(4) == 0) erase_drain(store, self, step, [](auto) {});
          break;
        default:
          finish_decommission(leaders, change, false, {}, [](auto) {});
      }
      loop_.advance(std::chrono::milliseconds(below(5)));
    }
    loop_.advance(1s);
    finished += gone ? 1 : 0;
    data->listeners.pop_back();
    ASSERT_FALSE(HasFailure()) << "history " << history;
  }
  EXPECT_GT(finished, kHistories / 4) << "the test tests something";
}

}  // namespace
}  // namespace outlast::meta
