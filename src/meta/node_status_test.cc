#include "meta/node_status.h"

#include <gtest/gtest.h>

#include "meta/cas.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "meta/maintenance.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;

class NodeStatusTest : public testing_support::SimMetaTest {
 protected:
  Result<void> write(NodeStatusRecord record) {
    return wait<void>([&](auto done) { write_node_status(store_, record, std::move(done)); });
  }
  void put(std::string key, std::string value) {
    store_.txn({.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}}, 1s, [](auto) {});
    loop_.run_ready();
  }
  const NodeStatusRecord record_{
      .peer = {NodeId(2), Incarnation(5)},
      .disk = {.capacity_bytes = std::uint64_t{100} << 30, .used_bytes = 7, .available_bytes = 50U << 20},
      .inputs = 3,
      .inputs_open = 2,
      .buffer_bytes = 1000,
      .written_micros = -1};
};

TEST_F(NodeStatusTest, ARecordReadsBackAsWritten) {
  EXPECT_EQ(*decode_node_status(encode(record_)), record_);
  EXPECT_EQ(decode_node_status(R"({"node":"x"})").error().code, Errc::kCorrupt);
}

TEST_F(NodeStatusTest, TheLatestProcessSpeaksForTheNode) {
  const auto mirror = mirror_node_statuses(store_);
  ASSERT_TRUE(write(record_).ok());
  NodeStatusRecord later = record_;
  later.peer.incarnation = Incarnation(6);
  ASSERT_TRUE(write(later).ok());
  EXPECT_EQ(write(record_).error().code, Errc::kFenced);
  put(keys::fence(later.peer), "");
  later.buffer_bytes = 0;
  EXPECT_EQ(write(later).error().code, Errc::kFenced) << "a finished process says nothing more";
  loop_.run_ready();
  EXPECT_EQ(mirror->find(keys::status(NodeId(2)))->value.buffer_bytes, 1000U);
}

TEST_F(NodeStatusTest, SmallChangesAreNotWorthAWrite) {
  const auto notable = [&](auto change) {
    NodeStatusRecord now = record_;
    now.written_micros = 77;
    change(now);
    return is_notable(record_, now);
  };
  EXPECT_FALSE(notable([](auto&) {}));
  EXPECT_FALSE(notable([](auto& now) { now.buffer_bytes = 1900; }));
  EXPECT_TRUE(notable([](auto& now) { now.buffer_bytes = 2001; }));
  EXPECT_TRUE(notable([](auto& now) { now.buffer_bytes = 499; }));
  EXPECT_TRUE(notable([](auto& now) { now.buffer_bytes = 0; }));
  EXPECT_FALSE(notable([](auto& now) { now.disk.available_bytes += 60U << 20; }));
  EXPECT_TRUE(notable([](auto& now) { now.disk.available_bytes += 65U << 20; }));
  EXPECT_TRUE(notable([](auto& now) { now.disk.used_bytes += 65U << 20; }));
  EXPECT_TRUE(notable([](auto& now) { now.inputs_open = 0; }));
  EXPECT_TRUE(notable([](auto& now) { now.peer.incarnation = Incarnation(6); }));
}

TEST_F(NodeStatusTest, MaintenanceIsOfNodesThatMayComeBack) {
  const auto begin = [&](MaintenanceRecord record) {
    return wait<void>([&](auto done) { begin_maintenance(store_, record, 1, std::move(done)); });
  };
  EXPECT_EQ(begin({.node = NodeId(2), .until_micros = 5}).error().code, Errc::kNotFound);
  NodeRecord node{.node = NodeId(2), .store_uuid = "s"};
  put(keys::node(NodeId(2)), encode(node));
  const auto mirror = mirror_maintenance(store_);
  ASSERT_TRUE(begin({.node = NodeId(2), .until_micros = 5, .by = "me"}).ok());
  ASSERT_TRUE(begin({.node = NodeId(2), .until_micros = 5, .by = "me"}).ok());
  ASSERT_TRUE(begin({.node = NodeId(2), .until_micros = 9, .by = "me"}).ok()) << "replaced";
  loop_.run_ready();
  EXPECT_EQ(mirror->find(keys::maintenance(NodeId(2)))->value.until_micros, 9);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(wait<void>([&](auto done) { end_maintenance(store_, NodeId(2), "me", 2, std::move(done)); }).ok());
  loop_.run_ready();
  EXPECT_FALSE(mirror->find(keys::maintenance(NodeId(2))));
  std::size_t events = 0;
  read_events(store_, 9, [&](auto read) { events = read->size(); });
  loop_.run_ready();
  EXPECT_EQ(events, 3U) << "begun, changed, ended";
  node.membership = Membership::kDecommissioned;
  put(keys::node(NodeId(2)), encode(node));
  EXPECT_EQ(begin({.node = NodeId(2), .until_micros = 5}).error().code, Errc::kInvalidState);
}

}  // namespace
}  // namespace outlast::meta
