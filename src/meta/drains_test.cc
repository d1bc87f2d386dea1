#include "meta/drains.h"

#include <gtest/gtest.h>

#include "meta/cas.h"
#include "meta/events.h"
#include "meta/keys.h"
#include "meta/settings.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimStore;
using Fault = SimStore::Fault;

class DrainsTest : public testing_support::SimMetaTest {
 protected:
  Result<void> record(DrainRecord record) {
    return wait<void>([&](auto done) { record_drain(store_, record, std::move(done)); });
  }
  Result<void> erase(liveness::Peer peer) {
    return wait<void>([&](auto done) { erase_drain(store_, peer, 7, std::move(done)); });
  }
  std::vector<std::string> events() {
    const auto read = wait<std::vector<ClusterEvent>>([&](auto done) { read_events(store_, 9, std::move(done)); });
    std::vector<std::string> out;
    if (read.ok())
      for (const ClusterEvent& event : *read) out.push_back(event.type);
    return out;
  }
  void settle() { loop_.advance(100ms); }
  const liveness::Peer first_{NodeId(2), Incarnation(1)}, second_{NodeId(2), Incarnation(2)};
};

TEST_F(DrainsTest, ARecordReadsBackAsWritten) {
  const DrainRecord record{.peer = first_,
                           .since_micros = -5,
                           .by = "an \"operator\"",
                           .force = true,
                           .step_out = true,
                           .drained = true,
                           .leave = true};
  const auto back = decode_drain_record(encode(record));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, record);
  EXPECT_FALSE(decode_drain_record("{").ok());
  EXPECT_FALSE(decode_drain_record("{\"node\": \"two\"}").ok());
}

TEST_F(DrainsTest, BelongsToOneIncarnation) {
  const auto mirror = mirror_drains(other_);
  ASSERT_TRUE(record({.peer = first_, .by = "a"}).ok());
  settle();
  EXPECT_TRUE(drain_of(*mirror, first_));
  EXPECT_FALSE(drain_of(*mirror, second_)) << "the next process is not draining";
  ASSERT_TRUE(erase(second_).ok());
  settle();
  EXPECT_TRUE(drain_of(*mirror, first_)) << "another process's undrain changes nothing";
  ASSERT_TRUE(record({.peer = second_, .by = "b"}).ok());
  settle();
  EXPECT_TRUE(drain_of(*mirror, second_)) << "replaces what the earlier one left behind";
  ASSERT_TRUE(erase(second_).ok());
  ASSERT_TRUE(erase(second_).ok()) << "twice is once";
  settle();
  EXPECT_FALSE(drain_of(*mirror, second_));
  EXPECT_EQ(events(), (std::vector<std::string>{"node_undrained", "node_draining", "node_draining"}));
}

TEST_F(DrainsTest, OneEventHoweverOftenItIsWritten) {
  store_.fault = [n = 2](const Txn&) mutable { return n-- > 0 ? Fault::kLoseAnswer : Fault::kNone; };
  ASSERT_TRUE(record({.peer = first_, .by = "a"}).ok());
  ASSERT_TRUE(record({.peer = first_, .by = "a", .force = true}).ok());
  ASSERT_TRUE(record({.peer = first_, .by = "a", .force = true, .step_out = true}).ok());
  EXPECT_EQ(events(), std::vector<std::string>{"node_draining"});
}

TEST_F(DrainsTest, AFencedProcessIsNotDrained) {
  ASSERT_TRUE(wait<TxnReply>([&](auto done) {
                other_.txn({.compares = {}, .then = {Op::put(keys::fence(first_), "")}, .otherwise = {}}, 1s,
                           std::move(done));
              }).ok());
  EXPECT_EQ(record({.peer = first_}).error().code, Errc::kFenced);
}

TEST_F(DrainsTest, SettingsAreKnownByTheirNewerNamesToo) {
  Settings settings(store_);
  settle();
  ASSERT_TRUE(wait<void>([&](auto done) { settings.set("server.shutdown.initial_wait", "8s", std::move(done)); }).ok());
  settle();
  EXPECT_EQ(settings.duration("server.shutdown.drain_wait"), 8s);
  EXPECT_EQ(settings.text("server.shutdown.initial_wait").value(), "8s");
  EXPECT_EQ(settings.duration("server.shutdown.query_wait"), 10s);
  EXPECT_EQ(wait<void>([&](auto done) { settings.set("server.shutdown.lease_transfer_wait", "0s", std::move(done)); })
                .error()
                .code,
            Errc::kInvalidArgument)
      << "0 would be a progress line without end";
}

}  // namespace
}  // namespace outlast::meta
