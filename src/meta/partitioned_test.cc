#include <gtest/gtest.h>

#include <set>

#include "meta/cas.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "meta/partition_ranges.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimStore;
using Fault = SimStore::Fault;

const Creator kOne{NodeId(1), Incarnation(3), "one"}, kTwo{NodeId(2), Incarnation(4), "two"};

class PartitionedTest : public testing_support::SimMetaTest {
 protected:
  PartitionedTest() {
    database_ = wait<DatabaseRecord>([&](auto done) { create_database(store_, "d", kOne, 1, std::move(done)); })->id;
  }
  Result<PartitionedRecord> create(std::size_t partitions, Creators creators = {kOne, kTwo}, std::string name = "t") {
    NewPartitioned table{database_, "d", name, "{}", {}, std::to_string(++requests_), {NodeId(1), Incarnation(3)}, 7};
    for (std::size_t i = 0; i < partitions; ++i) table.slots.push_back(static_cast<std::int64_t>(i));
    return wait<PartitionedRecord>([&](auto done) { create_partitioned(store_, table, creators, std::move(done)); });
  }
  Result<PartitionedRecord> change(PartitionedChange change) {
    return wait<PartitionedRecord>(
        [&](auto done) { change_partitioned(store_, database_, "t", change, std::nullopt, std::move(done)); });
  }
  Result<PartitionedRecord> ready(const PartitionedRecord& record) {
    return change([&](const PartitionedRecord& now) { return now_ready(now, record.request); });
  }
  Result<PartitionedRecord> add(std::int64_t slot, SimStore& store, Creators creators = {kOne}) {
    return wait<PartitionedRecord>(
        [&](auto done) { add_partition(store, database_, "t", slot, creators, std::move(done)); });
  }
  std::optional<placement::RangeConfig> range(RangeId id) {
    const auto found =
        wait<std::optional<KeyValue>>([&](auto done) { read(other_, keys::range(id), std::move(done)); });
    if (!*found) return std::nullopt;
    return *placement::decode_range_config((*found)->value);
  }
  void put(std::string key, std::string value) {
    other_.txn({.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}}, 1s, [](auto) {});
    loop_.advance(1s);
  }
  void lose_every(int nth) {
    store_.fault = [n = 0, nth](const Txn&) mutable {
      return ++n % nth != 0 ? Fault::kNone : n / nth % 2 == 0 ? Fault::kLoseAnswer : Fault::kLoseRequest;
    };
  }

  DatabaseId database_;
  int requests_{0};
};

TEST_F(PartitionedTest, CreatesManyRangesInTurnsAlthoughAnswersGetLost) {
  lose_every(2);
  const auto made = create(130);
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  EXPECT_EQ(made->state, PartitionedState::kCreating);
  ASSERT_EQ(made->partitions.size(), 130U);
  std::set<RangeId> ranges;
  std::map<NodeId, int> leads;
  for (std::size_t i = 0; i < made->partitions.size(); ++i) {
    EXPECT_EQ(made->partitions[i].slot, static_cast<std::int64_t>(i));
    ranges.insert(made->partitions[i].range);
    const auto config = range(made->partitions[i].range);
    ASSERT_TRUE(config) << i;
    EXPECT_EQ(config->database, database_);
    ++leads[config->leaseholder->node];
  }
  EXPECT_EQ(ranges.size(), 130U);
  EXPECT_EQ(leads[NodeId(1)], 65);
  EXPECT_EQ(leads[NodeId(2)], 65);
  EXPECT_EQ(decode_partitioned(encode(*made)).value(), *made);
  EXPECT_EQ(create(1).error().code, Errc::kObjectInUse);
  ASSERT_TRUE(ready(*made).ok());
  EXPECT_EQ(create(1).error().code, Errc::kDuplicateTable);
}

TEST_F(PartitionedTest, NobodyThatIsGoneGetsARange) {
  put(keys::fence({kTwo.node, kTwo.incarnation}), "{}");
  const auto made = create(4);
  ASSERT_TRUE(made.ok());
  for (const auto& each : made->partitions) EXPECT_EQ(range(each.range)->leaseholder->node, NodeId(1));
  put(keys::node(kOne.node), encode(NodeRecord{.node = kOne.node, .membership = Membership::kDecommissioned}));
  EXPECT_EQ(create(4, {kOne, kTwo}, "u").error().code, Errc::kFenced);
}

TEST_F(PartitionedTest, TheRecordOfANodeThatIsBeingDecommissionedChangesWithItsRanges) {
  put(keys::node(kOne.node), encode(NodeRecord{.node = kOne.node, .membership = Membership::kDecommissioning}));
  const auto before =
      wait<std::optional<KeyValue>>([&](auto done) { read(other_, keys::node(kOne.node), std::move(done)); });
  ASSERT_TRUE(create(2, {kOne}).ok());
  const auto after =
      wait<std::optional<KeyValue>>([&](auto done) { read(other_, keys::node(kOne.node), std::move(done)); });
  EXPECT_GT((*after)->mod_revision, (*before)->mod_revision);
}

TEST_F(PartitionedTest, TwoThatAddAPartitionAtOnceMakeOne) {
  ASSERT_TRUE(ready(*create(0)).ok());
  store_.request_delay = 3ms;
  other_.request_delay = 4ms;
  std::optional<PartitionedRecord> first, second;
  add_partition(store_, database_, "t", -5, {kOne}, [&](auto made) { first = *made; });
  add_partition(other_, database_, "t", -5, {kTwo}, [&](auto made) { second = *made; });
  ASSERT_TRUE(loop_.advance_until([&] { return first && second; }, 1min));
  ASSERT_EQ(first->partitions.size(), 1U);
  EXPECT_EQ(first->partitions, second->partitions);
  EXPECT_FALSE(first->partitions[0].ready);
}

TEST_F(PartitionedTest, APartitionIsReadyOnlyWithThePresentDefinition) {
  ASSERT_TRUE(ready(*create(0)).ok());
  const PartitionRecord added = add(3, store_)->partitions[0];
  const auto mark = [&](std::uint64_t applied) {
    return change([&](const PartitionedRecord& now) { return partition_ready(now, added, applied); });
  };
  const auto begun = change([](const PartitionedRecord& now) {
    return change_begun(now, {.tag = "ALTER TABLE", .sql = {"x"}, .request = "a", .problem = {}});
  });
  ASSERT_EQ(begun->pending->number, 1U);
  EXPECT_EQ(mark(0).error().code, Errc::kObjectInUse);
  ASSERT_TRUE(change([](const PartitionedRecord& now) { return change_decided(now, 1, 9); }).ok());
  ASSERT_TRUE(change([](const PartitionedRecord& now) { return change_finished(now, 1); }).ok());
  EXPECT_EQ(mark(0).error().code, Errc::kObjectInUse) << "it has the table as it was";
  EXPECT_TRUE(mark(1)->partitions[0].ready);
  EXPECT_TRUE(mark(0).ok()) << "ready it is";
}

TEST_F(PartitionedTest, AChangeIsDecidedOrCancelledNeverBoth) {
  ASSERT_TRUE(ready(*create(1)).ok());
  const auto begin = [&](std::string who) {
    return change([&](const PartitionedRecord& now) {
      return change_begun(now, {.tag = "TRUNCATE", .sql = {}, .request = who, .problem = {}});
    });
  };
  const auto decide = [&](std::uint64_t n) {
    return change([&](const PartitionedRecord& now) { return change_decided(now, n, 9); });
  };
  const auto cancel = [&](std::uint64_t n) {
    return change([&](const PartitionedRecord& now) { return change_cancelled(now, n); });
  };
  store_.fault = [n = 0](const Txn&) mutable { return ++n == 1 ? Fault::kLoseAnswer : Fault::kNone; };
  ASSERT_EQ(begin("a")->pending->number, 1U) << "its own success is known again";
  EXPECT_EQ(begin("b").error().code, Errc::kObjectInUse);
  ASSERT_FALSE(cancel(1)->pending);
  EXPECT_EQ(decide(1).error().code, Errc::kInvalidState);
  ASSERT_EQ(begin("b")->pending->number, 2U) << "no number is used twice";
  ASSERT_TRUE(decide(2)->pending->decided);
  EXPECT_EQ(cancel(2).error().code, Errc::kInvalidState);
  EXPECT_TRUE(cancel(1).ok());
}

TEST_F(PartitionedTest, ADroppedTableTakesItsRangesWithIt) {
  const auto made = create(120);
  ASSERT_TRUE(ready(*made).ok());
  const auto drop_ranges = [&] {
    return wait<void>([&](auto done) { drop_partition_ranges(store_, database_, "t", std::move(done)); });
  };
  const auto forget = [&] {
    return wait<void>([&](auto done) { forget_partitioned(store_, database_, "t", {.type = "x"}, std::move(done)); });
  };
  EXPECT_EQ(drop_ranges().error().code, Errc::kInvalidState);
  const auto dropping =
      change([](const PartitionedRecord& now) -> Result<PartitionedRecord> { return now_dropping(now); });
  ASSERT_TRUE(dropping.ok());
  EXPECT_EQ(forget().error().code, Errc::kInvalidState);
  lose_every(2);
  ASSERT_TRUE(drop_ranges().ok());
  for (const auto& each : made->partitions) EXPECT_FALSE(range(each.range));
  ASSERT_TRUE(forget().ok());
  EXPECT_TRUE(forget().ok());
  EXPECT_TRUE(create(1).ok());
}

TEST_F(PartitionedTest, OnePartitionGoesWithItsRange) {
  ASSERT_TRUE(ready(*create(0)).ok());
  const PartitionRecord old = add(1, store_)->partitions[0];
  const auto drop = [&](const PartitionRecord& which) {
    return wait<void>(
        [&](auto done) { drop_partition(store_, database_, "t", which, {.type = "drop_partition"}, std::move(done)); });
  };
  ASSERT_TRUE(drop(old).ok());
  EXPECT_FALSE(range(old.range));
  const PartitionRecord fresh = add(1, store_)->partitions[0];
  EXPECT_NE(fresh.range, old.range);
  ASSERT_TRUE(drop(old).ok()) << "of the one that is gone";
  EXPECT_TRUE(range(fresh.range));
}

TEST_F(PartitionedTest, NothingIsAddedToADatabaseThatIsGone) {
  ASSERT_TRUE(ready(*create(0)).ok());
  ASSERT_TRUE(wait<DatabaseRecord>([&](auto done) { drop_database(store_, "d", NodeId(1), 1, std::move(done)); }).ok());
  EXPECT_EQ(add(1, store_).error().code, Errc::kUndefinedDatabase);
  EXPECT_EQ(create(1, {kOne}, "u").error().code, Errc::kUndefinedDatabase);
}

}  // namespace
}  // namespace outlast::meta
