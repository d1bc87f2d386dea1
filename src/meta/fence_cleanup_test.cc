#include "meta/fence_cleanup.h"

#include <gtest/gtest.h>

#include "meta/fencing.h"
#include "meta/keys.h"
#include "meta/mirrors.h"
#include "meta/office.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::meta {
namespace {
using liveness::Peer;

constexpr Peer peer(std::uint32_t node, std::uint64_t incarnation) {
  return {NodeId(node), Incarnation(incarnation)};
}
placement::RangeConfig led_by(Peer holder) {
  return placement::create_range(RangeId(1), DatabaseId(1), holder.node, "s", holder.incarnation);
}

TEST(FinishedForGood, NeedsALiveSuccessorAndNobodyWhoNamesIt) {
  const std::set<Peer> fenced{peer(1, 1), peer(1, 2), peer(2, 1), peer(3, 1), peer(4, 1)};
  const std::set<Peer> live{peer(1, 3), peer(1, 1), peer(3, 2), peer(4, 2)};
  const auto finished = finished_for_good(fenced, live, {led_by(peer(1, 2))}, peer(4, 1));
  // 1/2 leads a range by its record, 2/1 has no successor, 4/1 holds the office.
  EXPECT_EQ(finished, (std::vector<Peer>{peer(1, 1), peer(3, 1)}));
  EXPECT_TRUE(finished_for_good({peer(1, 1), peer(1, 2)}, {peer(1, 2)}, {}, {}).empty()) << "the successor is fenced";
}

class FenceCleanupTest : public ::testing::Test {
 protected:
  void put(const std::string& key, const std::string& value) {
    Txn txn;
    txn.then = {Op::put(key, value)};
    ASSERT_TRUE(data_->apply(txn).ok());
  }
  bool exists(const std::string& key) { return data_->get(key).value().has_value(); }
  std::size_t run() {
    std::optional<Result<std::size_t>> out;
    cleanup_.run([&](Result<std::size_t> result) { out = std::move(result); });
    loop_.run_until([&] { return out.has_value(); });
    return out ? out->value() : 999;
  }
  void take_office() {
    office_.stand();
    ASSERT_TRUE(loop_.run_until([&] { return office_.holds(); }));
  }

  testing_support::SimLoop loop_;
  std::shared_ptr<testing_support::SimMetadata> data_ = std::make_shared<testing_support::SimMetadata>();
  testing_support::SimStore store_{data_, loop_};
  std::unique_ptr<FenceMirror> fences_ = mirror_fences(store_);
  Office office_{store_, loop_, peer(9, 1), *fences_};
  FenceCleanup cleanup_{store_, office_};
};

TEST_F(FenceCleanupTest, DeletesFenceAndRecordTogetherAtTheSecondLookAndOnlyInOffice) {
  const std::string alive = encode(LiveRecord{1, Phase::kLive, "a", std::chrono::seconds(5)});
  for (const Peer gone : {peer(1, 1), peer(2, 1)}) {
    put(keys::fence(gone), encode_fence("x", "y"));
    put(keys::live(gone), alive);
    put(keys::live(peer(gone.node.value, 2)), alive);
  }
  put(keys::range(RangeId(1)), placement::encode(led_by(peer(2, 1))));
  EXPECT_EQ(run(), 0u);
  EXPECT_EQ(run(), 0u) << "not in office";
  take_office();
  EXPECT_EQ(run(), 0u);
  EXPECT_TRUE(exists(keys::fence(peer(1, 1))));
  EXPECT_EQ(run(), 1u);
  EXPECT_FALSE(exists(keys::fence(peer(1, 1))));
  EXPECT_FALSE(exists(keys::live(peer(1, 1))));
  EXPECT_TRUE(exists(keys::live(peer(1, 2))));
  EXPECT_TRUE(exists(keys::fence(peer(2, 1)))) << "a range record names it";
  put(keys::range(RangeId(1)), placement::encode(led_by(peer(2, 2))));
  EXPECT_EQ(run(), 0u);
  EXPECT_EQ(run(), 1u);
  EXPECT_FALSE(exists(keys::fence(peer(2, 1))));
}

}  // namespace
}  // namespace outlast::meta
