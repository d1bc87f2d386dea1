#include "meta/store_health.h"

#include <gtest/gtest.h>

#include "meta/events.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimLoop;
using testing_support::SimMetadata;
using testing_support::SimStore;

constexpr NodeId kNode{3};
const Error kFailure(Errc::kIo, "cannot sync log.1");

class StoreHealthTest : public testing::Test {
 protected:
  void SetUp() override {
    register_node(store_, {.node = kNode, .store_uuid = "s"}, [](const Result<NodeRecord>&) {});
    loop_.advance(1s);
    begin();
  }
  /// The next process of the node.
  void begin() {
    ended_ = 0;
    health_ = std::make_unique<StoreHealth>(store_, loop_, *nodes_, liveness::Peer{kNode, Incarnation(7)},
                                            [this] { ++ended_; });
  }
  StoreReport stored() { return nodes_->find(keys::node(kNode))->value.store; }
  std::size_t events(std::string_view type) {
    std::size_t n = 0;
    read_events(store_, 100, [&](const Result<std::vector<ClusterEvent>>& all) {
      for (const ClusterEvent& event : *all) n += event.type == type ? 1 : 0;
    });
    loop_.advance(1s);
    return n;
  }
  SimLoop loop_;
  std::shared_ptr<SimMetadata> data_ = std::make_shared<SimMetadata>();
  SimStore store_{data_, loop_};
  std::unique_ptr<NodeMirror> nodes_ = mirror_nodes(store_);
  int ended_{0};
  std::unique_ptr<StoreHealth> health_;
};

TEST_F(StoreHealthTest, AFailureIsPutOnRecordAndEndsTheProcess) {
  health_->failed(RangeId(5), kFailure, true);
  EXPECT_EQ(ended_, 0);
  loop_.advance(1s);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(stored(), (StoreReport{kFailure.message, false}));
  health_->failed(RangeId(6), kFailure, true);
  loop_.advance(10s);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(events("store_failed"), 1U);
  NodeRecord again{.node = kNode, .store_uuid = "s"};
  register_node(store_, again, [](const Result<NodeRecord>& record) {
    EXPECT_EQ(record->store.failure, kFailure.message) << "the next process inherits it";
  });
  loop_.advance(1s);
}

TEST_F(StoreHealthTest, WithTheMarkInTheStoreItDoesNotWaitForLostMetadata) {
  store_.set_connected(false);
  health_->failed(RangeId(5), kFailure, true);
  loop_.advance(2s);
  EXPECT_EQ(ended_, 0);
  loop_.advance(2s);
  EXPECT_EQ(ended_, 1);
}

TEST_F(StoreHealthTest, WithoutTheMarkItEndsOnlyOnceTheMetadataKnows) {
  store_.set_connected(false);
  health_->failed(RangeId(5), kFailure, true);
  health_->failed(RangeId(6), kFailure, false);
  loop_.advance(60s);
  EXPECT_EQ(ended_, 0) << "nobody else knows that its replicas must not be trusted";
  store_.set_connected(true);
  loop_.advance(10s);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(stored(), (StoreReport{kFailure.message, true}));
}

TEST_F(StoreHealthTest, TheNextProcessIsOnProbation) {
  EXPECT_FALSE(health_->on_probation());
  health_->failed(RangeId(5), kFailure, true);
  loop_.advance(1s);
  EXPECT_FALSE(health_->on_probation()) << "this one is finished";
  begin();
  const auto try_disk = [this](const Result<void>& result, int times) {
    for (int i = 0; i < times; ++i) {
      health_->tried(result);
      loop_.advance(1s);
    }
  };
  try_disk({}, StoreHealth::kGoodSyncs - 1);
  try_disk(kFailure, 1);
  try_disk({}, StoreHealth::kGoodSyncs - 1);
  EXPECT_TRUE(health_->on_probation()) << "they count from the last failure on";
  try_disk({}, 1);
  EXPECT_FALSE(health_->on_probation());
  EXPECT_EQ(stored(), StoreReport());
  EXPECT_EQ(events("store_recovered"), 1U);
  EXPECT_EQ(ended_, 0);
}

}  // namespace
}  // namespace outlast::meta
