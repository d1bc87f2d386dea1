#pragma once
// Three simulated nodes and one range, driven step by step. Test support.
#include <gtest/gtest.h>

#include "replication/testing/sim_cluster.h"

namespace outlast::replication::testing {
using namespace std::chrono_literals;

inline constexpr RangeId kRange{1};
inline constexpr NodeId kN1{1}, kN2{2}, kN3{3};

class ReplicasTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.step(20ms);
    cluster_.create_range(kRange, kN1);
    ASSERT_TRUE(until([&] { return leader() == kN1; }));
  }
  void TearDown() override { EXPECT_EQ(cluster_.violation, ""); }

  bool until(const std::function<bool()>& done, Duration limit = 5s) {
    for (Duration passed{}; passed < limit; passed += 1ms) {
      if (done()) return true;
      cluster_.step(1ms);
    }
    return done();
  }
  std::optional<NodeId> leader() {
    SimNode* where = nullptr;
    if (!cluster_.leader(kRange, &where)) return std::nullopt;
    return where->id;
  }
  placement::RangeConfig record() { return *cluster_.record(kRange); }
  Result<void> place(placement::Step::Kind kind, NodeId node) {
    std::optional<Result<void>> out;
    cluster_.node_of(*leader()).replicas->place({kind, kRange, node, 3}, [&](Result<void> r) { out = std::move(r); });
    until([&] { return out.has_value(); });
    return out ? *out : Error(Errc::kDeadline, "no answer");
  }
  void grow() {
    for (const NodeId node : {kN2, kN3}) {
      ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, node).ok());
      ASSERT_TRUE(until([&] { return record().find_insync(node) != nullptr; }));
    }
  }
  bool write(NodeId node = kN1, Duration limit = 5s) {
    const auto before = cluster_.acknowledged;
    cluster_.write(cluster_.node_of(node), kRange);
    return until([&] { return cluster_.acknowledged > before; }, limit);
  }
  /// What a reader that has just taken its snapshot hears on `node`; none while it waits.
  std::shared_ptr<std::optional<Result<void>>> confirm(NodeId node = kN1) {
    auto out = std::make_shared<std::optional<Result<void>>>();
    cluster_.node_of(node).replicas->find(kRange, Epoch()).value()->confirm_reads([out](Result<void> r) {
      *out = std::move(r);
    });
    return out;
  }
  std::uint64_t questions() { return cluster_.sent[proto::RangeMessage::kConfirmEpoch]; }
  Duration now() { return cluster_.world.now().time_since_epoch(); }

  FakeDatabase& database(const LeasedRangePtr& lease) { return static_cast<FakeDatabase&>(lease->database()); }

  SimCluster cluster_{7, 3};
};

}  // namespace outlast::replication::testing
