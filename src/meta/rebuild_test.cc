#include "meta/rebuild.h"

#include <gtest/gtest.h>

#include "meta/databases.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::meta {
namespace {
using placement::RangeConfig;
using placement::ReplicaRef;
using Action = RebuildLine::Action;

constexpr NodeId kN1{1}, kN2{2}, kN3{3};

RangeConfig config(std::uint64_t range, std::uint64_t epoch, std::uint64_t cfg) {
  RangeConfig out = placement::create_range(RangeId(range), DatabaseId(range), kN1, "s1", Incarnation(4));
  out.epoch = Epoch(epoch);
  out.cfg = ConfigVersion(cfg);
  out.insync = {{kN1, "s1", ReplicaId(1)}, {kN2, "s2", ReplicaId(2)}};
  out.rf = 2;
  out.min_insync = 2;
  return out;
}
FoundReplica found(NodeId node, const RangeConfig& accepted) {
  return {accepted.range, {node, "s" + node.to_string(), ReplicaId(node.value)}, accepted, {}};
}
Findings stores_of_two() {
  return {{{"c", "s1", kN1, Incarnation(4)}, {"c", "s2", kN2, Incarnation(9)}}, {}};
}
MetaImage image_with(const RangeConfig& stored) {
  MetaImage image;
  image.cluster = "c";
  image.ranges[stored.range] = {stored, Revision(50)};
  image.database_of[stored.range] = "app";
  image.names = {"app"};
  image.counters = {{std::string(keys::kNodeCounter), 3},
                    {std::string(keys::kRangeCounter), stored.range.value},
                    {std::string(keys::kDatabaseCounter), stored.range.value},
                    {keys::incarnation(kN1), 4},
                    {keys::incarnation(kN2), 9}};
  return image;
}
RebuildLine only_line(const RebuildPlan& plan) {
  EXPECT_EQ(plan.lines.size(), 1u);
  return plan.lines.at(0);
}

TEST(Rebuild, LeavesWhatIsUpToDateAlone) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(5, 7, 20)), found(kN2, config(5, 7, 19))};
  const RebuildPlan plan = plan_rebuild(image_with(config(5, 7, 20)), all, false).value();
  EXPECT_EQ(only_line(plan).action, Action::kKeep);
  EXPECT_FALSE(plan.writes());
}

TEST(Rebuild, WritesTheHighestConfigurationAboveBothWhenAllOfItsMembersWereHeard) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(5, 7, 20)), found(kN2, config(5, 8, 21))};
  const RebuildLine line = only_line(plan_rebuild(image_with(config(5, 6, 18)), all, false).value());
  ASSERT_EQ(line.action, Action::kWrite) << line.why;
  EXPECT_EQ(line.database, "app");
  EXPECT_EQ(line.next.epoch, Epoch(9));
  EXPECT_EQ(line.next.cfg, ConfigVersion(22));
  EXPECT_FALSE(line.next.leaseholder);
  EXPECT_TRUE(line.next.clean);
  EXPECT_EQ(line.found_on, kN2);
  EXPECT_EQ(line.seen, Revision(50));
}

TEST(Rebuild, RefusesWhileAMemberWasNotHeardUnlessToldToGoOn) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(5, 8, 21))};
  const MetaImage image = image_with(config(5, 6, 18));
  const RebuildLine refused = only_line(plan_rebuild(image, all, false).value());
  EXPECT_EQ(refused.action, Action::kRefuse);
  EXPECT_NE(refused.why.find("node 2 (store s2) has lost its replica"), std::string::npos) << refused.why;
  const RebuildLine forced = only_line(plan_rebuild(image, all, true).value());
  EXPECT_EQ(forced.action, Action::kWrite);
  EXPECT_FALSE(forced.next.clean);
  all.stores.pop_back();
  const RebuildLine silent = only_line(plan_rebuild(image, all, false).value());
  EXPECT_NE(silent.why.find("did not answer"), std::string::npos) << silent.why;
  // An older configuration of the silent member's store does not count as heard when it is another replica.
  all.replicas.push_back({RangeId(5), {kN2, "s2", ReplicaId(77)}, config(5, 3, 3), {}});
  EXPECT_EQ(only_line(plan_rebuild(image, all, false).value()).action, Action::kRefuse);
}

TEST(Rebuild, RefusesTwoConfigurationsUnderOneNumber) {
  Findings all = stores_of_two();
  RangeConfig other = config(5, 8, 21);
  other.rf = 3;
  all.replicas = {found(kN1, config(5, 8, 21)), found(kN2, other)};
  const RebuildLine line = only_line(plan_rebuild(image_with(config(5, 6, 18)), all, true).value());
  EXPECT_EQ(line.action, Action::kRefuse);
  EXPECT_NE(line.why.find("different configurations"), std::string::npos);
}

TEST(Rebuild, TellsADroppedRangeFromALostRecord) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(4, 2, 5)), found(kN2, config(4, 2, 5)), found(kN1, config(6, 2, 5)),
                  found(kN2, config(6, 2, 5))};
  MetaImage image = image_with(config(5, 7, 20));  // range ids up to 5 were given out when this was copied
  image.names.insert("recovered_6");
  const RebuildPlan plan = plan_rebuild(image, all, false).value();
  ASSERT_EQ(plan.lines.size(), 3u);
  EXPECT_EQ(plan.lines[0].action, Action::kKeep);
  EXPECT_NE(plan.lines[0].why.find("dropped"), std::string::npos);
  EXPECT_EQ(plan.lines[1].action, Action::kKeep);  // of which nothing was found
  ASSERT_EQ(plan.lines[2].action, Action::kWrite);
  EXPECT_TRUE(plan.lines[2].new_database);
  EXPECT_EQ(plan.lines[2].database, "recovered_6_");
  EXPECT_EQ(plan.counters.at(std::string(keys::kRangeCounter)), 6u);
  EXPECT_EQ(plan.counters.at(std::string(keys::kDatabaseCounter)), 6u);
}

TEST(Rebuild, RaisesIncarnationsAndRefusesForeignStores) {
  Findings all = stores_of_two();
  all.stores[1].incarnation = Incarnation(12);
  const RebuildPlan plan = plan_rebuild(image_with(config(5, 7, 20)), all, false).value();
  EXPECT_EQ(plan.counters, (std::map<std::string, std::uint64_t>{{keys::incarnation(kN2), 12}}));
  EXPECT_TRUE(plan.writes());
  all.stores[1].cluster = "another";
  EXPECT_EQ(plan_rebuild(image_with(config(5, 7, 20)), all, false).error().code, Errc::kWrongCluster);
}

class RebuildStoreTest : public ::testing::Test {
 protected:
  template <class T>
  Result<T> wait(std::move_only_function<void(Callback<T>)> ask) {
    std::optional<Result<T>> answer;
    ask([&](Result<T> result) { answer = std::move(result); });
    loop_.run_until([&] { return answer.has_value(); });
    return answer ? *std::move(answer) : Result<T>(Error(Errc::kDeadline, "no answer"));
  }
  RebuildPlan plan(const Findings& all) {
    return plan_rebuild(wait<MetaImage>([&](auto done) { read_image(store_, std::move(done)); }).value(), all, false)
        .value();
  }

  testing_support::SimLoop loop_;
  std::shared_ptr<testing_support::SimMetadata> data_ = std::make_shared<testing_support::SimMetadata>();
  testing_support::SimStore store_{data_, loop_};
};

TEST_F(RebuildStoreTest, FillsAnEmptyStoreFromWhatReplicasAcceptedAndIsThenDone) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(6, 3, 8)), found(kN2, config(6, 3, 8))};
  const auto done =
      wait<RebuildPlan>([&](auto callback) { carry_out(store_, plan(all), kN3, 1'000, std::move(callback)); });
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(only_line(*done).outcome, "written");
  const auto cluster = wait<ClusterRecord>([&](auto callback) { read_cluster(store_, std::move(callback)); });
  EXPECT_EQ(cluster.value().id, "c");
  const auto incarnation =
      wait<Incarnation>([&](auto callback) { draw_incarnation(store_, kN2, std::move(callback)); });
  EXPECT_EQ(incarnation.value(), Incarnation(10));
  const auto events =
      wait<std::vector<ClusterEvent>>([&](auto callback) { read_events(store_, 10, std::move(callback)); });
  ASSERT_EQ(events.value().size(), 1u);
  EXPECT_EQ(events.value()[0].type, "range_record_rebuilt");
  const auto name = data_->get(keys::database("recovered_6")).value();
  ASSERT_TRUE(name);
  EXPECT_EQ(decode_database_record(name->value).value().range, RangeId(6));
  EXPECT_FALSE(plan(all).writes());
}

TEST_F(RebuildStoreTest, DoesNotOverwriteARecordThatChangedSinceThePlan) {
  Findings all = stores_of_two();
  all.replicas = {found(kN1, config(6, 3, 8)), found(kN2, config(6, 3, 8))};
  const RebuildPlan before = plan(all);
  Txn meanwhile;
  meanwhile.then = {Op::put(keys::range(RangeId(6)), placement::encode(config(6, 9, 30)))};
  (void)data_->apply(meanwhile);
  const auto done =
      wait<RebuildPlan>([&](auto callback) { carry_out(store_, before, kN3, 1'000, std::move(callback)); });
  ASSERT_TRUE(done.ok());
  EXPECT_NE(only_line(*done).outcome.find("changed meanwhile"), std::string::npos);
  EXPECT_EQ(data_->get(keys::range(RangeId(6))).value()->value, placement::encode(config(6, 9, 30)));
}

}  // namespace
}  // namespace outlast::meta
