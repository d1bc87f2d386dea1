// Changes of many records in few metadata transactions, and what each of them is told.
#include "replication/record_writer.h"

#include <gtest/gtest.h>

#include "replication/testing/sim_cluster.h"

namespace outlast::replication::testing {
namespace {
using namespace std::chrono_literals;

class RecordWriterTest : public ::testing::Test {
 protected:
  RecordWriterTest() {
    for (std::uint64_t i = 1; i <= 300; ++i) {
      const auto config = placement::create_range(RangeId(i), DatabaseId(1), NodeId(1), "s1", Incarnation(1));
      core_->put(meta::keys::range(config.range), placement::encode(config));
    }
    core_->transactions = 0;
  }
  /// Asks for the first `count` ranges' next record; `outcomes_` gets what came of it.
  void change(std::uint64_t count) {
    for (std::uint64_t i = 1; i <= count; ++i) {
      const auto& kv = core_->kvs.at(meta::keys::range(RangeId(i)));
      auto next = placement::decode_range_config(kv.value).value();
      next.cfg = next.cfg.next();
      writer_.change(next, kv.mod_revision, {}, [this, i](Result<Revision> result) {
        EXPECT_FALSE(outcomes_.contains(i)) << "told once";
        outcomes_.emplace(i, std::move(result));
      });
    }
  }
  std::uint64_t cfg(std::uint64_t range) {
    return placement::decode_range_config(core_->kvs.at(meta::keys::range(RangeId(range))).value).value().cfg.value;
  }

  SimLoop loop_;
  SeededRandom random_{1};
  std::shared_ptr<MetaCore> core_ = std::make_shared<MetaCore>();
  std::shared_ptr<MetaWeather> weather_ = std::make_shared<MetaWeather>();
  FakeMeta meta_{core_, loop_, loop_, random_, weather_};
  Parameters parameters_;
  RecordWriter writer_{loop_, meta_, Identity{NodeId(1), "s1", Incarnation(1)}, parameters_};
  std::map<std::uint64_t, Result<Revision>> outcomes_;
};

TEST_F(RecordWriterTest, ChangesOfOneInstantShareATransaction) {
  change(300);
  loop_.advance(100ms);
  EXPECT_EQ(core_->transactions, 3U);
  ASSERT_EQ(outcomes_.size(), 300U);
  for (const auto& [range, outcome] : outcomes_) {
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(*outcome, core_->kvs.at(meta::keys::range(RangeId(range))).mod_revision);
    EXPECT_EQ(cfg(range), 2U);
  }
}

TEST_F(RecordWriterTest, OneLoserDoesNotFailTheOthers) {
  change(10);
  core_->put(meta::keys::range(RangeId(4)), core_->kvs.at(meta::keys::range(RangeId(4))).value);  // somebody was faster
  loop_.advance(100ms);
  ASSERT_EQ(outcomes_.size(), 10U);
  for (const auto& [range, outcome] : outcomes_) {
    EXPECT_EQ(outcome.ok(), range != 4) << range;
    EXPECT_EQ(cfg(range), range == 4 ? 1U : 2U);
  }
  EXPECT_EQ(outcomes_.at(4).error().code, Errc::kMetaConflict);
}

TEST_F(RecordWriterTest, AFencedProcessChangesNothing) {
  core_->put(meta::keys::fence({NodeId(1), Incarnation(1)}), "x");
  change(10);
  loop_.advance(100ms);
  ASSERT_EQ(outcomes_.size(), 10U);
  for (const auto& [range, outcome] : outcomes_) EXPECT_EQ(outcome.error().code, Errc::kMetaConflict);
}

TEST_F(RecordWriterTest, HalvesTheBatchesThatTheStoreRefuses) {
  weather_->ops_max = 128;  // etcd's default: a change counts twice in it
  change(300);
  loop_.advance(1s);
  ASSERT_EQ(outcomes_.size(), 300U);
  for (const auto& [range, outcome] : outcomes_) EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(core_->transactions, 6U) << "50 in each";
}

TEST_F(RecordWriterTest, TellsTheTruthThoughAnswersAreLost) {
  weather_->doubt_percent = 60;
  for (int round = 0; round < 20; ++round) {
    const std::uint64_t before = cfg(1);
    outcomes_.clear();
    change(50);
    loop_.advance(20s);
    ASSERT_EQ(outcomes_.size(), 50U) << "round " << round;
    for (const auto& [range, outcome] : outcomes_) {
      ASSERT_TRUE(outcome.ok());  // nobody else changes them
      EXPECT_EQ(cfg(range), before + 1) << "applied once";
    }
  }
}

TEST_F(RecordWriterTest, SaysThatNothingHappenedWhenTheStoreCannotBeReached) {
  weather_->cut = true;
  change(10);
  loop_.advance(1s);
  ASSERT_EQ(outcomes_.size(), 10U);
  for (const auto& [range, outcome] : outcomes_) EXPECT_EQ(outcome.error().code, Errc::kMetaUnavailable);
}

}  // namespace
}  // namespace outlast::replication::testing
