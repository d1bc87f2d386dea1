// Metadata restored from an old copy (protocol A1, A4): ranges whose replicas know better are refused and named, and
// nothing is deleted. Replicas compared at one LSN while commits go on.
#include "replication/testing/fixture.h"

namespace outlast::replication::testing {
namespace {
using Role = ReplicaState::Role;

class MetadataLossTest : public ReplicasTest {
 protected:
  void SetUp() override {
    ReplicasTest::SetUp();
    grow();
  }
  void stop_all() {
    for (auto& node : cluster_.nodes()) cluster_.kill(*node);
    cluster_.step(200ms);
  }
  void start_all() {
    for (auto& node : cluster_.nodes()) cluster_.start(*node);
  }
  ReplicaState state(std::uint32_t node) {
    const auto states = cluster_.node(node).replicas->states({kRange});
    return states.empty() ? ReplicaState{} : states[0];
  }
  /// The cluster's own checks take the record for the truth, and a record that went back is none.
  void forget_what_the_old_record_broke() { cluster_.violation.clear(); }
  bool all_refuse() { return state(1).role == Role::kRefusing && state(2).role == Role::kRefusing; }
};

TEST_F(MetadataLossTest, ARecordOlderThanWhatReplicasAcceptedIsNotServed) {
  ASSERT_TRUE(write(kN1));
  const placement::RangeConfig old = record();
  cluster_.kill(cluster_.node(1));
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  ASSERT_TRUE(write(*leader()));
  const placement::RangeConfig newest = record();
  ASSERT_GT(newest.epoch, old.epoch);
  stop_all();
  cluster_.core->put(meta::keys::range(kRange), placement::encode(old));
  start_all();
  ASSERT_TRUE(until([&] { return state(2).role == Role::kRefusing && state(3).role == Role::kRefusing; }, 20s));
  EXPECT_FALSE(leader());
  EXPECT_NE(state(2).trouble.find("meta rebuild"), std::string::npos) << state(2).trouble;
  EXPECT_EQ(state(2).accepted->epoch, newest.epoch);
  forget_what_the_old_record_broke();
  // What an operator's rebuild writes lets it go on, with all that was acknowledged.
  placement::RangeConfig rebuilt = newest;
  rebuilt.epoch = newest.epoch.next();
  rebuilt.cfg = newest.cfg.next();
  rebuilt.leaseholder.reset();
  cluster_.core->put(meta::keys::range(kRange), placement::encode(rebuilt));
  ASSERT_TRUE(until([&] { return leader().has_value(); }, 10s));
  EXPECT_TRUE(write(*leader()));
  EXPECT_EQ(state(2).trouble, "");
  EXPECT_NE(state(3).role, Role::kRefusing);
}

TEST_F(MetadataLossTest, ARangeThatTheMetadataNeverHeardOfKeepsItsData) {
  ASSERT_TRUE(write(kN1));
  const std::string last = placement::encode(record());
  stop_all();
  cluster_.core->kvs.erase(meta::keys::range(kRange));
  cluster_.core->kvs.erase(std::string(meta::keys::kRangeCounter));
  start_all();
  ASSERT_TRUE(until([&] { return all_refuse(); }, 10s));
  cluster_.step(5s);
  for (auto& node : cluster_.nodes()) EXPECT_TRUE(node->disk->ranges.contains(kRange)) << node->id.value;
  cluster_.core->put(std::string(meta::keys::kRangeCounter), "1");
  cluster_.core->put(meta::keys::range(kRange), last);
  EXPECT_TRUE(until([&] { return leader().has_value(); }, 10s));
}

TEST_F(MetadataLossTest, AnOlderConfigurationOfOneEpochLetsNobodyTakeOver) {
  const placement::RangeConfig three = record();
  cluster_.kill(cluster_.node(3));  // S shrinks to {1, 2} within the epoch, and commits go on without node 3
  ASSERT_TRUE(write(kN1));
  ASSERT_TRUE(until([&] { return record().insync.size() == 2; }));
  ASSERT_EQ(record().epoch, three.epoch);
  cluster_.step(100ms);  // node 2 logs the new configuration
  stop_all();
  cluster_.core->put(meta::keys::range(kRange), placement::encode(three));
  start_all();
  ASSERT_TRUE(until([&] { return all_refuse(); }, 20s));
  EXPECT_FALSE(leader()) << "node 3 lacks acknowledged entries and must not lead";
  forget_what_the_old_record_broke();
}

TEST_F(MetadataLossTest, ReplicasAreComparedAtOneLsnWhileCommitsGoOn) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(write(kN1));
  for (const std::uint32_t id : {2U, 3U}) cluster_.node(id).replicas->hold_apply(kRange, 30s);
  std::optional<storage::Digest> first;
  cluster_.node(1).replicas->digest(kRange, [&](Result<storage::Digest> digest) { first = digest.value(); });
  ASSERT_TRUE(until([&] { return first.has_value(); }));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(write(kN1));
  cluster_.step(2s);  // several rounds of applying
  for (const std::uint32_t id : {2U, 3U}) {
    std::optional<Result<storage::Digest>> digest;
    cluster_.node(id).replicas->digest_at(kRange, first->at.lsn, [&](auto result) { digest = std::move(result); });
    ASSERT_TRUE(until([&] { return digest.has_value(); }));
    ASSERT_TRUE(digest->ok()) << digest->error().message;
    EXPECT_EQ((*digest)->at, first->at);
  }
  EXPECT_TRUE(until([&] { return state(2).applied == state(2).durable && state(2).durable > first->at.lsn; }));
  std::optional<Result<storage::Digest>> late;
  cluster_.node(2).replicas->digest_at(kRange, first->at.lsn, [&](auto result) { late = std::move(result); });
  ASSERT_TRUE(until([&] { return late.has_value(); }));
  EXPECT_EQ(late->error().code, Errc::kInvalidState);
}

TEST_F(MetadataLossTest, StatesSayWhoEveryReplicaIs) {
  ASSERT_TRUE(write(kN1));
  EXPECT_EQ(state(1).role, Role::kLeaseholder);
  EXPECT_EQ(state(2).role, Role::kInSync);
  EXPECT_TRUE(until([&] { return state(2).end.lsn == state(1).end.lsn && state(2).durable == state(1).durable; }));
  EXPECT_EQ(state(2).record_cfg, record().cfg);
  cluster_.node(3).disk->sync_fails = true;
  cluster_.write(cluster_.node(1), kRange);
  EXPECT_TRUE(until([&] { return state(3).role == Role::kDamaged && !state(3).trouble.empty(); }));
  EXPECT_TRUE(cluster_.node(1).replicas->states({RangeId(9)}).empty());
}

}  // namespace
}  // namespace outlast::replication::testing
