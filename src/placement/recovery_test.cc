#include "placement/recovery.h"

#include <gtest/gtest.h>

namespace outlast::placement {
namespace {
using Condition = ReplicaFacts::Condition;

constexpr NodeId kN1{1}, kN2{2}, kN3{3}, kN4{4};

/// S = {1, 2} led by 1 with min_insync 2, a learner on 3.
RangeConfig record() {
  RangeConfig config = create_range(RangeId(7), DatabaseId(3), kN1, "s1", Incarnation(11));
  for (const auto& [node, store] : {std::pair(kN2, "s2"), std::pair(kN3, "s3")}) {
    config = add_learner(config, node, store).value();
    config = promote_learner(config, node, store, 3).value();
  }
  return remove_backup(config, kN3).value();
}

std::vector<ReplicaFacts> facts(Condition one, Condition two, Condition three) {
  std::vector<ReplicaFacts> out;
  for (const auto& [ref, condition] :
       {std::pair(record().insync[0], one), std::pair(record().insync[1], two), std::pair(record().learners[0], three)})
    out.push_back({ref, condition, false, Lsn(100), Lsn(90), Epoch(4)});
  return out;
}

TEST(UnsafeRecovery, IsRefusedWhileTheInSyncSetCanGoOn) {
  const auto alive = facts(Condition::kHealthy, Condition::kHealthy, Condition::kHealthy);
  const auto judged = judge_recovery(record(), kN3, alive, true);
  EXPECT_NE(judged.refused.find("nodes 1, 2"), std::string::npos) << judged.refused;
  auto serving = facts(Condition::kHealthy, Condition::kSilent, Condition::kSilent);
  auto whole = alive;
  whole[0].serving = true;
  EXPECT_NE(judge_recovery(record(), kN1, whole, false).refused.find("nothing is to be done"), std::string::npos);
  // Reads are served, and writes wait for a member that may never come back.
  serving[0].serving = true;
  EXPECT_EQ(judge_recovery(record(), kN1, serving, false).refused, "");
  EXPECT_NE(judge_recovery(record(), kN3, serving, false).refused.find("recover from that node"), std::string::npos);
}

TEST(UnsafeRecovery, IsRefusedForALearnerWhileAMemberLives) {
  const auto one = facts(Condition::kSilent, Condition::kHealthy, Condition::kHealthy);
  const auto judged = judge_recovery(record(), kN3, one, true);
  EXPECT_NE(judged.refused.find("recover from node 2"), std::string::npos) << judged.refused;
  const auto from_member = judge_recovery(record(), kN2, one, true);
  EXPECT_EQ(from_member.refused, "");
  EXPECT_NE(from_member.losses[0].find("no acknowledged write is lost"), std::string::npos);
}

TEST(UnsafeRecovery, NamesWhatIsLostWhenOnlyALearnerIsLeft) {
  auto left = facts(Condition::kSilent, Condition::kDamaged, Condition::kHealthy);
  left[1].durable = Lsn(140);  // the damaged one still knows what was acknowledged
  const auto judged = judge_recovery(record(), kN3, left, true);
  ASSERT_EQ(judged.refused, "");
  ASSERT_GE(judged.losses.size(), 4u);
  EXPECT_NE(judged.losses[0].find("LSN 100 (epoch 4)"), std::string::npos) << judged.losses[0];
  EXPECT_NE(judged.losses[1].find("at least 40 transactions"), std::string::npos) << judged.losses[1];
  EXPECT_NE(judged.losses[2].find("node 1"), std::string::npos);
}

TEST(UnsafeRecovery, NeedsAReplicaThatAnswersAndIsWhole) {
  const auto left = facts(Condition::kSilent, Condition::kDamaged, Condition::kRefusing);
  EXPECT_NE(judge_recovery(record(), kN1, left, true).refused.find("start that node"), std::string::npos);
  EXPECT_NE(judge_recovery(record(), kN2, left, true).refused.find("damaged"), std::string::npos);
  EXPECT_NE(judge_recovery(record(), kN3, left, true).refused.find("meta rebuild"), std::string::npos);
  EXPECT_NE(judge_recovery(record(), kN4, left, true).refused.find("nodes 1, 2, 3 have"), std::string::npos);
}

TEST(UnsafeRecovery, WaitsForTheFenceOfALeaseholderThatMightServe) {
  const auto left = facts(Condition::kSilent, Condition::kSilent, Condition::kHealthy);
  EXPECT_NE(judge_recovery(record(), kN3, left, false).refused.find("not fenced"), std::string::npos);
  EXPECT_EQ(judge_recovery(record(), kN3, left, true).refused, "");
  // The leaseholder itself, alone and stuck: its own new epoch ends the old one.
  const auto stuck = facts(Condition::kHealthy, Condition::kSilent, Condition::kHealthy);
  EXPECT_EQ(judge_recovery(record(), kN1, stuck, false).refused, "");
}

TEST(UnsafeRecovery, StartsANewEpochWithOneMemberAndIsNeverCleanAgain) {
  const RangeConfig before = record();
  const RangeConfig next = unsafe_recovery(before, kN3, Incarnation(33)).value();
  EXPECT_EQ(next.epoch, before.epoch.next());
  EXPECT_EQ(next.cfg, before.cfg.next());
  EXPECT_EQ(next.leaseholder, (Leaseholder{kN3, Incarnation(33)}));
  ASSERT_EQ(next.insync.size(), 1u);
  EXPECT_EQ(next.insync[0], before.learners[0]);
  EXPECT_EQ(next.learners.size(), 2u);
  EXPECT_EQ(next.find_learner(kN3), nullptr);
  EXPECT_EQ(next.rf, 1);
  EXPECT_EQ(next.min_insync, 1);
  EXPECT_FALSE(next.clean);
  EXPECT_EQ(next.next_replica, before.next_replica);
  EXPECT_FALSE(unsafe_recovery(before, kN4, Incarnation(44)).ok());
  const RangeConfig grown = promote_learner(next, kN1, "s1", 3).value();
  EXPECT_EQ(grown.min_insync, 2);
  EXPECT_FALSE(grown.clean);
}

TEST(RebuiltRecord, LiesAboveEverythingKnownAndIsLedByNobody) {
  RangeConfig found = record(), stored = record();
  found.epoch = Epoch(9);
  stored.cfg = ConfigVersion(90);
  const RangeConfig next = rebuilt_record(found, &stored, true);
  EXPECT_EQ(next.epoch, Epoch(10));
  EXPECT_EQ(next.cfg, ConfigVersion(91));
  EXPECT_FALSE(next.leaseholder);
  EXPECT_TRUE(next.clean);
  EXPECT_EQ(next.insync, found.insync);
  EXPECT_FALSE(rebuilt_record(found, nullptr, false).clean);
}

}  // namespace
}  // namespace outlast::placement
