#include <gtest/gtest.h>

#include <set>

#include "meta/cas.h"
#include "meta/databases.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "meta/mirrors.h"
#include "meta/settings.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimStore;
using Fault = SimStore::Fault;

class RecordsTest : public testing_support::SimMetaTest {
 protected:
  Result<NodeRecord> registered(NodeRecord record) {
    return wait<NodeRecord>([&](auto done) { register_node(store_, record, std::move(done)); });
  }
  Result<DatabaseRecord> create(std::string name, Creator creator = {NodeId(1), Incarnation(3), "uuid"}) {
    return wait<DatabaseRecord>([&](auto done) { create_database(store_, name, creator, 17, std::move(done)); });
  }
  Result<DatabaseRecord> drop(std::string name) {
    return wait<DatabaseRecord>([&](auto done) { drop_database(store_, name, NodeId(1), 18, std::move(done)); });
  }
  Result<void> set(Settings& settings, std::string name, std::string value) {
    return wait<void>([&](auto done) { settings.set(name, value, std::move(done)); });
  }
  /// Loses the first `n` answers or requests of writing transactions.
  void lose(Fault what, int n) {
    store_.fault = [what, n](const Txn&) mutable { return n-- > 0 ? what : Fault::kNone; };
  }
};

TEST_F(RecordsTest, AClusterIsInitialisedOnce) {
  EXPECT_EQ(wait<ClusterRecord>([&](auto done) { read_cluster(store_, std::move(done)); }).error().code,
            Errc::kNotInitialised);
  lose(Fault::kLoseAnswer, 1);  // recognised by its own id
  EXPECT_TRUE(wait<void>([&](auto done) { init_cluster(store_, "one", 5, std::move(done)); }).ok());
  EXPECT_TRUE(wait<void>([&](auto done) { init_cluster(store_, "one", 6, std::move(done)); }).ok());
  EXPECT_EQ(wait<void>([&](auto done) { init_cluster(other_, "two", 7, std::move(done)); }).error().code,
            Errc::kAlreadyInitialised);
  const auto record = wait<ClusterRecord>([&](auto done) { read_cluster(other_, std::move(done)); });
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->id, "one");
  EXPECT_EQ(record->created_micros, 5);
}

TEST_F(RecordsTest, NumbersDrawnAtOnceDifferEvenWhenAnswersAreLost) {
  store_.answer_delay = 5ms;
  store_.request_delay = 3ms;
  other_.request_delay = 4ms;
  int calls = 0;
  store_.fault = [&](const Txn&) {
    constexpr Fault kFaults[] = {Fault::kNone, Fault::kLoseAnswer, Fault::kLoseRequest};
    return kFaults[calls++ % 3];
  };
  std::multiset<std::uint64_t> drawn;
  int answers = 0;
  for (int i = 0; i < 20; ++i)
    for (SimStore* store : {&store_, &other_})
      draw_incarnation(*store, NodeId(4), [&](Result<Incarnation> incarnation) {
        ++answers;
        ASSERT_TRUE(incarnation.ok()) << incarnation.error().to_string();
        drawn.insert(incarnation->value);
      });
  ASSERT_TRUE(loop_.advance_until([&] { return answers == 40; }, 10min));
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), 40U);
  EXPECT_EQ(wait<Incarnation>([&](auto done) { draw_incarnation(other_, NodeId(5), std::move(done)); })->value, 1U)
      << "a counter of its own for each node";
  EXPECT_EQ(wait<NodeId>([&](auto done) { allocate_node_id(other_, std::move(done)); })->value, 1U);
}

TEST_F(RecordsTest, ADamagedCounterGivesNoNumber) {
  store_.txn({.compares = {}, .then = {Op::put(std::string(keys::kNodeCounter), "7x")}, .otherwise = {}}, 1s,
             [](auto) {});
  EXPECT_EQ(wait<NodeId>([&](auto done) { allocate_node_id(store_, std::move(done)); }).error().code, Errc::kCorrupt);
}

TEST_F(RecordsTest, SaysInDoubtWhenAWriteWasInDoubtAndMetadataWentAway) {
  store_.fault = [&](const Txn&) {
    store_.set_connected(false);
    return Fault::kLoseAnswer;
  };
  EXPECT_EQ(wait<NodeId>([&](auto done) { allocate_node_id(store_, std::move(done)); }).error().code,
            Errc::kMetaInDoubt);
}

TEST_F(RecordsTest, ANodeKeepsItsMembershipAndItsStore) {
  NodeRecord record{.node = NodeId(3), .store_uuid = "s", .rpc_addr = "h:1", .build = "1", .started_micros = -4};
  EXPECT_EQ(*registered(record), record);
  NodeRecord leaving = record;
  leaving.membership = Membership::kDecommissioning;
  other_.txn({.compares = {}, .then = {Op::put(keys::node(NodeId(3)), encode(leaving))}, .otherwise = {}}, 1s,
             [](auto) {});
  record.rpc_addr = "h:2";
  const auto again = registered(record);
  EXPECT_EQ(again->membership, Membership::kDecommissioning);
  EXPECT_EQ(again->rpc_addr, "h:2");
  NodeRecord wiped = record;
  wiped.store_uuid = "t";
  EXPECT_EQ(registered(wiped).error().code, Errc::kWrongCluster);
  leaving.membership = Membership::kDecommissioned;
  other_.txn({.compares = {}, .then = {Op::put(keys::node(NodeId(3)), encode(leaving))}, .otherwise = {}}, 1s,
             [](auto) {});
  EXPECT_EQ(registered(record).error().code, Errc::kInvalidState);
}

TEST_F(RecordsTest, RefusesRecordsThatItCannotRead) {
  EXPECT_EQ(decode_node_record("[]").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_node_record(R"({"node":"three"})").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_node_record(R"({"node":3,"membership":"guest"})").error().code, Errc::kCorrupt);
  EXPECT_TRUE(decode_node_record(R"({"node":3,"from_the_future":{}})").ok());
  EXPECT_EQ(decode_database_record(R"({"name":"x"})").error().code, Errc::kCorrupt);
  EXPECT_FALSE(keys::parse_peer("/live/1", keys::kLive));
  EXPECT_FALSE(keys::parse_peer("/live/01/2", keys::kLive));
  EXPECT_FALSE(keys::parse_peer("/live/1/2/3", keys::kLive));
  EXPECT_FALSE(keys::parse_peer("/live/4294967296/1", keys::kLive));
  EXPECT_EQ(keys::parse_peer("/live/4/17", keys::kLive), (liveness::Peer{NodeId(4), Incarnation(17)}));
}

TEST_F(RecordsTest, ADatabaseIsMadeWithItsRangeAndItsFirstLeaseholder) {
  auto databases = mirror_databases(other_);
  auto ranges = mirror_ranges(other_);
  const auto made = create("shop");
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  loop_.run_ready();
  const auto record = databases->find(keys::database("shop"));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->value, *made);
  const auto range = ranges->find(keys::range(made->range));
  ASSERT_TRUE(range);
  EXPECT_EQ(range->mod_revision, record->mod_revision) << "one transaction";
  EXPECT_EQ(range->value.database, made->id);
  ASSERT_TRUE(range->value.leaseholder);
  EXPECT_EQ(range->value.leaseholder->incarnation, Incarnation(3));
  EXPECT_EQ(create("shop").error().code, Errc::kDuplicateDatabase);
  const auto second = create("other");
  EXPECT_NE(second->range, made->range);

  EXPECT_EQ(drop("shop")->range, made->range);
  loop_.run_ready();
  EXPECT_FALSE(databases->find(keys::database("shop")));
  EXPECT_FALSE(ranges->find(keys::range(made->range)));
  EXPECT_EQ(drop("shop").error().code, Errc::kUndefinedDatabase);
  EXPECT_GT(create("shop")->range, second->range) << "range ids are never used again";
}

TEST_F(RecordsTest, ADatabaseHasAReplicationFactorOfItsOwn) {
  const auto set = [&](std::string name, int replicas) {
    return wait<void>([&](Callback<void> done) {
             set_replication_factor(store_, std::move(name), replicas, NodeId(1), 5, std::move(done));
           })
        .ok();
  };
  auto databases = mirror_databases(other_);
  ASSERT_TRUE(create("shop").ok());
  ASSERT_TRUE(set("shop", 5));
  loop_.run_ready();
  EXPECT_EQ(databases->find(keys::database("shop"))->value.replication_factor, 5);
  ASSERT_TRUE(set("shop", 0));
  loop_.run_ready();
  EXPECT_EQ(databases->find(keys::database("shop"))->value.replication_factor, 0);
  for (const int wrong : {-1, 4, 6, 8}) EXPECT_FALSE(set("shop", wrong)) << wrong;
  EXPECT_FALSE(set("nowhere", 3));
}

TEST_F(RecordsTest, CreateAndDropKnowTheirOwnSuccessAgain) {
  lose(Fault::kLoseAnswer, 1);
  const auto made = create("shop");
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  lose(Fault::kLoseAnswer, 1);
  EXPECT_EQ(drop("shop")->id, made->id);
  lose(Fault::kLoseRequest, 1);
  EXPECT_TRUE(create("shop").ok());
}

TEST_F(RecordsTest, AFencedProcessCreatesNoDatabase) {
  other_.txn({.compares = {}, .then = {Op::put(keys::fence({NodeId(1), Incarnation(3)}), "{}")}, .otherwise = {}}, 1s,
             [](auto) {});
  loop_.run_ready();
  EXPECT_EQ(create("shop").error().code, Errc::kFenced);
}

TEST_F(RecordsTest, ADecommissionedNodeBeginsNothing) {
  const auto put = [&](Membership membership) {
    const NodeRecord node{.node = NodeId(1), .store_uuid = "uuid", .membership = membership};
    other_.txn({.compares = {}, .then = {Op::put(keys::node(NodeId(1)), encode(node))}, .otherwise = {}}, 1s,
               [](auto) {});
    loop_.run_ready();
  };
  const auto draw = [&] {
    return wait<Incarnation>([&](auto done) { draw_incarnation(store_, NodeId(1), std::move(done)); });
  };
  put(Membership::kDecommissioning);
  const auto nodes = mirror_nodes(other_);
  loop_.run_ready();
  const Revision before = nodes->find(keys::node(NodeId(1)))->mod_revision;
  const auto made = create("shop");
  ASSERT_TRUE(made.ok()) << "it serves its clients until it has drained";
  loop_.run_ready();
  EXPECT_GT(nodes->find(keys::node(NodeId(1)))->mod_revision, before)
      << "whoever had counted its replicas counts again";
  EXPECT_EQ(nodes->find(keys::node(NodeId(1)))->value.membership, Membership::kDecommissioning);
  EXPECT_TRUE(draw().ok());
  put(Membership::kDecommissioned);
  EXPECT_EQ(create("other").error().code, Errc::kFenced);
  EXPECT_EQ(draw().error().code, Errc::kInvalidState);
}

TEST_F(RecordsTest, ANodeSaysWhereItStands) {
  NodeRecord record{.node = NodeId(3), .store_uuid = "s"};
  record.locality = *placement::parse_locality("region=a,zone=b");
  record.roles = {.frontend = false, .backend = true, .compute = false};
  record.membership_by = NodeId(2);
  record.membership_since_micros = -4;
  EXPECT_EQ(*decode_node_record(encode(record)), record);
  EXPECT_TRUE(decode_node_record(R"({"node":3})")->roles.all()) << "records of earlier programs";
  const auto old = decode_node_record(R"({"node":3,"frontend":0})");
  EXPECT_TRUE(!old->roles.frontend && old->roles.backend && old->roles.compute);
  EXPECT_EQ(decode_node_record(R"({"node":3,"roles":"queen"})").error().code, Errc::kInvalidArgument);
  EXPECT_EQ(decode_node_record(R"({"node":3,"locality":"region"})").error().code, Errc::kInvalidArgument);
}

TEST_F(RecordsTest, OfTwoWhoCreateOneNameOneGetsADuplicate) {
  std::vector<Result<DatabaseRecord>> results;
  for (SimStore* store : {&store_, &other_})
    create_database(*store, "shop", {NodeId(1), Incarnation(1), "u"}, 1,
                    [&](Result<DatabaseRecord> r) { results.push_back(std::move(r)); });
  loop_.advance(1min);
  ASSERT_EQ(results.size(), 2U);
  EXPECT_NE(results[0].ok(), results[1].ok());
  EXPECT_EQ((results[0].ok() ? results[1] : results[0]).error().code, Errc::kDuplicateDatabase);
}

TEST_F(RecordsTest, RefusesNamesThatNobodyCouldType) {
  EXPECT_FALSE(create("").ok());
  EXPECT_FALSE(create(std::string(64, 'x')).ok());
  EXPECT_FALSE(create("a\nb").ok());
  EXPECT_TRUE(create("Ünïcode/with slash").ok());
}

TEST_F(RecordsTest, EventsComeNewestFirstAndAreCut) {
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(
        wait<void>([&](auto done) {
          append_event(
              store_,
              {.time_micros = 100 - i, .type = "t" + std::to_string(i), .node = NodeId(2), .details = {{"n", i}}},
              std::move(done));
        }).ok());
  auto newest = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(other_, 2, std::move(done)); });
  ASSERT_TRUE(newest.ok());
  ASSERT_EQ(newest->size(), 2U);
  EXPECT_EQ((*newest)[0].type, "t4") << "by commit, not by the writers' clocks";
  EXPECT_EQ((*newest)[0].time_micros, 96);
  EXPECT_EQ((*newest)[0].node, NodeId(2));
  EXPECT_EQ((*newest)[0].details.at("n").as_int64(), 4);
  EXPECT_EQ(*wait<std::size_t>([&](auto done) { prune_events(store_, 3, std::move(done)); }), 2U);
  newest = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(other_, 9, std::move(done)); });
  ASSERT_EQ(newest->size(), 3U);
  EXPECT_EQ(newest->back().type, "t2");
}

TEST_F(RecordsTest, AMirrorFollowsAndTellsDifferences) {
  auto nodes = mirror_nodes(other_);
  std::vector<std::string> told;
  nodes->on_change([&](const NodeMirror::Change& change) {
    told.push_back(std::string(change.before ? "1" : "0") + (change.after ? "1" : "0") + change.key);
  });
  EXPECT_FALSE(nodes->ready());
  loop_.run_ready();
  EXPECT_TRUE(nodes->ready());
  EXPECT_TRUE(registered({.node = NodeId(1), .store_uuid = "a"}).ok());
  EXPECT_TRUE(registered({.node = NodeId(2), .store_uuid = "b"}).ok());
  loop_.run_ready();
  EXPECT_EQ(nodes->snapshot().size(), 2U);
  other_.set_connected(false);
  EXPECT_TRUE(registered({.node = NodeId(1), .store_uuid = "a", .build = "2"}).ok());
  store_.txn({.compares = {}, .then = {Op::del(keys::node(NodeId(2)))}, .otherwise = {}}, 1s, [](auto) {});
  loop_.run_ready();
  data_->compact(0);  // while it was away
  other_.set_connected(true);
  loop_.run_ready();
  EXPECT_EQ(told, (std::vector<std::string>{"01/nodes/1", "01/nodes/2", "10/nodes/2", "11/nodes/1"}));
  EXPECT_EQ(nodes->revision(), data_->revision());
}

TEST_F(RecordsTest, AMirrorKeepsWhatItHadWhenARecordTurnsUnreadable) {
  auto nodes = mirror_nodes(other_);
  EXPECT_TRUE(registered({.node = NodeId(1), .store_uuid = "a"}).ok());
  store_.txn({.compares = {}, .then = {Op::put(keys::node(NodeId(1)), "garbage")}, .otherwise = {}}, 1s, [](auto) {});
  loop_.run_ready();
  ASSERT_TRUE(nodes->find("/nodes/1"));
  EXPECT_EQ(nodes->find("/nodes/1")->value.store_uuid, "a");
}

TEST_F(RecordsTest, SettingsHaveTypesLimitsAndDefaults) {
  Settings settings(other_);
  std::vector<std::string> changed;
  settings.on_change([&](std::string_view name) { changed.emplace_back(name); });
  EXPECT_EQ(settings.duration("server.time_until_store_dead"), 5min);
  EXPECT_EQ(settings.bytes("txn.max_bytes"), 256U << 20);
  EXPECT_EQ(settings.number("kv.replication_factor"), 3);
  EXPECT_DOUBLE_EQ(settings.real("liveness.drift"), 0.05);
  EXPECT_TRUE(set(settings, "server.time_until_store_dead", "90s").ok());
  EXPECT_TRUE(set(settings, "txn.max_bytes", "67108864").ok());
  EXPECT_EQ(*settings.text("server.time_until_store_dead"), "1m30s") << "in force here once it is acknowledged";
  EXPECT_EQ(*settings.text("txn.max_bytes"), "64MiB");
  EXPECT_EQ(settings.duration("server.time_until_store_dead"), 90s);
  EXPECT_TRUE(wait<void>([&](auto done) { settings.reset("txn.max_bytes", std::move(done)); }).ok());
  EXPECT_TRUE(wait<void>([&](auto done) { settings.reset("txn.max_bytes", std::move(done)); }).ok());
  loop_.run_ready();
  EXPECT_EQ(settings.bytes("txn.max_bytes"), 256U << 20);
  EXPECT_EQ(changed.size(), 3U);
  EXPECT_EQ(settings.lines().size(), setting_defs().size());
}

TEST_F(RecordsTest, SettingsRefuseWhatTheyCannotMean) {
  Settings settings(other_);
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"server.time_until_store_dead", "999ms"},
                                                        {"server.time_until_store_dead", "5"},
                                                        {"kv.replication_factor", "8"},
                                                        {"kv.replication_factor", "two"},
                                                        {"txn.max_bytes", "1kB"},
                                                        {"txn.max_bytes", "99999999TB"},
                                                        {"liveness.drift", "nan"},
                                                        {"liveness.drift", "0.5"}})
    EXPECT_EQ(set(settings, name, value).error().code, Errc::kInvalidArgument) << name << " = " << value;
  const auto unknown = set(settings, "server.time_untill_store_dead", "1m");
  EXPECT_EQ(unknown.error().code, Errc::kUndefinedObject);
  EXPECT_NE(unknown.error().hint.find("server.time_until_store_dead"), std::string::npos) << unknown.error().hint;
  EXPECT_FALSE(settings.text(std::string(100'000, 'x')).ok());
}

TEST_F(RecordsTest, RenewAndTtlAreCheckedTogether) {
  Settings settings(other_);
  EXPECT_EQ(set(settings, "liveness.ttl", "3s").error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(set(settings, "liveness.renew", "500ms").ok());
  EXPECT_TRUE(set(settings, "liveness.ttl", "2s").ok());
  EXPECT_EQ(set(settings, "liveness.renew", "1s").error().code, Errc::kInvalidArgument);
  EXPECT_EQ(wait<void>([&](auto done) { settings.reset("liveness.renew", std::move(done)); }).error().code,
            Errc::kInvalidArgument);
  loop_.run_ready();
  EXPECT_EQ(settings.liveness_params().ttl, Duration(2s));
  EXPECT_TRUE(settings.liveness_params().validate().ok());
}

TEST_F(RecordsTest, ASettingOfANewerVersionIsReadAsItsDefault) {
  Settings settings(other_);
  store_.txn({.compares = {}, .then = {Op::put(keys::setting("kv.replication_factor"), "9")}, .otherwise = {}}, 1s,
             [](auto) {});
  loop_.run_ready();
  EXPECT_EQ(settings.number("kv.replication_factor"), 3);
}

TEST(SettingDefs, EveryDefaultLiesWithinItsLimitsAndReadsBack) {
  for (const SettingDef& def : setting_defs()) {
    const auto value = parse_setting(def, def.default_text);
    ASSERT_TRUE(value.ok()) << def.name << ": " << value.error().message;
    const auto again = parse_setting(def, format_setting(def, *value));
    ASSERT_TRUE(again.ok()) << def.name;
    EXPECT_EQ(again->whole, value->whole) << def.name;
    EXPECT_FALSE(def.help.empty()) << def.name;
  }
}

TEST(SettingDefs, KnowsWordsAndTruth) {
  const SettingDef word{"w", SettingDef::Type::kEnum, "one", 0, 0, {"one", "two"}, "help"};
  EXPECT_EQ(format_setting(word, *parse_setting(word, "two")), "two");
  EXPECT_EQ(parse_setting(word, "three").error().code, Errc::kInvalidArgument);
  const SettingDef flag{"f", SettingDef::Type::kBool, "false", 0, 0, {}, "help"};
  EXPECT_EQ(format_setting(flag, *parse_setting(flag, "on")), "true");
}

}  // namespace
}  // namespace outlast::meta
