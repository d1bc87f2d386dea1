#include "placement/range_config.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

namespace outlast::placement {
namespace {

constexpr NodeId kN1{1}, kN2{2}, kN3{3}, kN4{4};

RangeConfig one_replica() {
  return create_range(RangeId(7), DatabaseId(3), kN1, "s1", Incarnation(11));
}

RangeConfig three_replicas() {
  RangeConfig config = one_replica();
  config = add_learner(config, kN2, "s2").value();
  config = promote_learner(config, kN2, "s2", 3).value();
  config = add_learner(config, kN3, "s3").value();
  return promote_learner(config, kN3, "s3", 3).value();
}

TEST(RangeConfig, RaisesReplicationOneStepWithEachPromotion) {
  RangeConfig config = one_replica();
  EXPECT_EQ(config.rf, 1);
  config = add_learner(config, kN2, "s2").value();
  EXPECT_EQ(config.rf, 1);  // a learner counts for nothing
  config = promote_learner(config, kN2, "s2", 3).value();
  EXPECT_EQ(config.rf, 2);
  EXPECT_EQ(config.min_insync, 2);
  config = add_learner(config, kN3, "s3").value();
  config = promote_learner(config, kN3, "s3", 3).value();
  EXPECT_EQ(config.rf, 3);
  EXPECT_EQ(config.min_insync, 2);
  config = add_learner(config, kN4, "s4").value();
  config = promote_learner(config, kN4, "s4", 3).value();
  EXPECT_EQ(config.rf, 3);  // a fourth member for a while (a move) does not raise it
}

TEST(RangeConfig, NeverShrinksBelowMinInsync) {
  RangeConfig config = three_replicas();
  config = remove_backup(config, kN3).value();
  EXPECT_EQ(config.insync.size(), 2u);
  EXPECT_NE(config.find_learner(kN3), nullptr);
  EXPECT_EQ(remove_backup(config, kN2).error().code, Errc::kInvalidState);
}

TEST(RangeConfig, RefusesToRemoveTheLeaseholder) {
  EXPECT_EQ(remove_backup(three_replicas(), kN1).error().code, Errc::kInvalidState);
}

TEST(RangeConfig, KeepsOneReplicaPerNode) {
  const RangeConfig config = three_replicas();
  EXPECT_FALSE(add_learner(config, kN2, "s2b").ok());
  EXPECT_FALSE(add_learner(remove_backup(config, kN2).value(), kN2, "s2b").ok());
}

TEST(RangeConfig, PromotesOnlyTheStoreThatWasAdded) {
  const RangeConfig config = add_learner(one_replica(), kN2, "s2").value();
  EXPECT_EQ(promote_learner(config, kN2, "wiped", 3).error().code, Errc::kInvalidState);
  EXPECT_EQ(promote_learner(config, kN3, "s3", 3).error().code, Errc::kInvalidState);
}

TEST(RangeConfig, TakeOverDropsTheOldLeaseholderWhereMinInsyncAllows) {
  RangeConfig config = take_over(three_replicas(), kN2, Incarnation(22)).value();
  EXPECT_EQ(config.epoch, Epoch(2));
  EXPECT_EQ(config.find_insync(kN1), nullptr);
  EXPECT_NE(config.find_learner(kN1), nullptr);
  config = take_over(config, kN3, Incarnation(33)).value();  // {2,3} with min_insync 2: node 2 must stay
  EXPECT_EQ(config.insync.size(), 2u);
  EXPECT_EQ(take_over(config, kN1, Incarnation(12)).error().code, Errc::kInvalidState);
}

TEST(RangeConfig, ARestartedNodeTakesItsOwnRangeOverAndStaysInSync) {
  const RangeConfig config = take_over(three_replicas(), kN1, Incarnation(12)).value();
  EXPECT_EQ(config.insync.size(), 3u);
  EXPECT_EQ(config.epoch, Epoch(2));
  EXPECT_EQ(config.leaseholder->incarnation, Incarnation(12));
}

TEST(RangeConfig, AReleasedLeaseCostsNobodyItsPlace) {
  const RangeConfig released = release_lease(three_replicas()).value();
  EXPECT_EQ(released.epoch, Epoch(1));
  EXPECT_EQ(take_over(released, kN3, Incarnation(33)).value().insync.size(), 3u);
  EXPECT_FALSE(transfer_lease(released, kN2, Incarnation(22)).ok());
  EXPECT_FALSE(release_lease(released).ok());
}

TEST(RangeConfig, TransferKeepsTheSet) {
  const RangeConfig config = transfer_lease(three_replicas(), kN2, Incarnation(22)).value();
  EXPECT_EQ(config.insync.size(), 3u);
  EXPECT_EQ(config.epoch, Epoch(2));
  EXPECT_EQ(config.leaseholder->node, kN2);
  EXPECT_FALSE(transfer_lease(config, kN2, Incarnation(22)).ok());
  EXPECT_FALSE(transfer_lease(config, kN4, Incarnation(44)).ok());
}

TEST(RangeConfig, ForgetsARemovedReplicaOnce) {
  RangeConfig config = remove_learner(remove_backup(three_replicas(), kN3).value(), kN3).value();
  ASSERT_EQ(config.removed.size(), 1u);
  const ReplicaId gone = config.removed[0].replica;
  config = forget_removed(config, gone).value();
  EXPECT_FALSE(forget_removed(config, gone).ok());
  EXPECT_GT(add_learner(config, kN3, "s3").value().find_learner(kN3)->replica, gone);  // never reused
}

TEST(RangeConfigJson, ReadsBackWhatItWrote) {
  RangeConfig config = remove_learner(remove_backup(three_replicas(), kN3).value(), kN3).value();
  config.range = RangeId(0xffff'ffff'ffff'fff0U);
  config.clean = false;
  EXPECT_EQ(decode_range_config(encode(config)).value(), config);
  config.leaseholder.reset();
  EXPECT_EQ(decode_range_config(encode(config)).value(), config);
}

TEST(RangeConfigJson, IgnoresFieldsOfANewerVersion) {
  std::string text = encode(three_replicas());
  text.insert(1, R"("colour":{"of":["the","sky"]},)");
  EXPECT_EQ(decode_range_config(text).value(), three_replicas());
}

TEST(RangeConfigJson, RefusesWhatIsMissingOrOfTheWrongKind) {
  const std::string good = encode(three_replicas());
  for (const char* field : {"range", "database", "epoch", "cfg", "leaseholder", "insync", "learners", "removed",
                            "next_replica", "rf", "min_insync", "clean"}) {
    std::string text = good;
    text.replace(text.find("\"" + std::string(field) + "\""), 2, "\"x");
    EXPECT_EQ(decode_range_config(text).error().code, Errc::kCorrupt) << field;
  }
  for (const char* text : {"", "{", "[]", "null", R"({"range":-1})", R"({"range":"7"})"})
    EXPECT_EQ(decode_range_config(text).error().code, Errc::kCorrupt) << text;
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(decode_range_config(good.substr(0, cut)).ok());
}

/// One random transition, whatever it may answer.
Result<RangeConfig> step(const RangeConfig& now, int kind, NodeId node) {
  const std::string store = "s" + node.to_string();
  switch (kind) {
    case 0:
      return remove_backup(now, node);
    case 1:
      return add_learner(now, node, store);
    case 2:
      return promote_learner(now, node, store, 3);
    case 3:
      return remove_learner(now, node);
    case 4:
      return take_over(now, node, Incarnation(node.value * 100));
    case 5:
      return transfer_lease(now, node, Incarnation(node.value * 100));
    case 6:
      return fall_back(now);
    case 7:
      return release_lease(now);
    default:
      return forget_removed(now, now.removed.empty() ? ReplicaId(999) : now.removed.front().replica);
  }
}

TEST(RangeConfigProperty, EveryHistoryKeepsTheInvariants) {
  EXPECT_TRUE(rc::check([] {
    RangeConfig now = one_replica();
    std::set<std::uint64_t> ids{1};
    for (int i = 0; i < 60; ++i) {
      const int kind = *rc::gen::inRange(0, 9);
      const NodeId node(*rc::gen::inRange<std::uint32_t>(1, 6));
      const auto next = step(now, kind, node);
      if (!next.ok()) continue;
      RC_ASSERT(next->cfg == now.cfg.next());
      RC_ASSERT(next->epoch == now.epoch || next->epoch == now.epoch.next());
      RC_ASSERT((next->epoch != now.epoch) == (kind == 4 || kind == 5 || kind == 6));
      RC_ASSERT(static_cast<int>(next->insync.size()) >= next->min_insync);
      RC_ASSERT(next->min_insync == min_insync_of(next->rf));
      RC_ASSERT(!next->leaseholder || next->find_insync(next->leaseholder->node) != nullptr);
      std::set<NodeId> nodes;
      for (const auto* refs : {&next->insync, &next->learners})
        for (const ReplicaRef& ref : *refs) RC_ASSERT(nodes.insert(ref.node).second);
      if (kind == 1) RC_ASSERT(ids.insert(next->find_learner(node)->replica.value).second);
      RC_ASSERT(decode_range_config(encode(*next)).value() == *next);
      now = *next;
    }
  }));
}

}  // namespace
}  // namespace outlast::placement
