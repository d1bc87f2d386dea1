#include "server/partition_keeper.h"

#include <gtest/gtest.h>

#include "fragments/scheme.h"
#include "tests/support/sim_loop.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
using meta::PartitionedRecord;
using meta::PartitionedState;

class PartitionKeeperTest : public ::testing::Test {
 protected:
  PartitionKeeperTest() : keeper_(loop_, ports()) { keeper_.start(); }

  PartitionKeeper::Ports ports() {
    PartitionKeeper::Ports ports;
    ports.in_office = [this] { return in_office_; };
    ports.records = [this] {
      std::vector<meta::PartitionedMirror::EntryPtr> all;
      for (const auto& [key, record] : records_)
        all.push_back(std::make_shared<meta::PartitionedMirror::Entry>(
            meta::PartitionedMirror::Entry{key, record, Revision(1), Revision(1)}));
      return all;
    };
    ports.has_database = [this](const PartitionedRecord&) { return has_database_; };
    ports.is_gone = [this](liveness::Peer peer) { return peer == gone_; };
    ports.finish = [this](const PartitionedRecord& record, Callback<void> done) {
      did_.push_back("finish " + record.table);
      done(answer_);
    };
    ports.discard = [this](const PartitionedRecord& record, Callback<void> done) {
      did_.push_back("discard " + record.table);
      records_.clear();
      done({});
    };
    ports.drop_partition = [this](const PartitionedRecord& record, const meta::PartitionRecord& partition,
                                  Callback<void> done) {
      did_.push_back("drop " + record.table + " " + std::to_string(partition.slot));
      std::erase_if(records_.begin()->second.partitions, [&](const auto& each) { return each.slot == partition.slot; });
      done({});
    };
    ports.ttl_interval = [] { return Duration(10s); };
    return ports;
  }
  PartitionedRecord& record(PartitionedState state) {
    return records_["k"] = {.database = DatabaseId(1),
                            .database_name = "d",
                            .table = "t",
                            .state = state,
                            .scheme = {},
                            .partitions = {},
                            .pending = {},
                            .request = {},
                            .owner = kOwner};
  }
  std::vector<std::string> did(Duration within) {
    did_.clear();
    loop_.advance(within);
    return did_;
  }
  using List = std::vector<std::string>;
  static constexpr liveness::Peer kOwner{NodeId(2), Incarnation(7)};

  testing_support::SimLoop loop_;
  bool in_office_{true}, has_database_{true};
  liveness::Peer gone_;
  Result<void> answer_;
  std::map<std::string, PartitionedRecord> records_;
  std::vector<std::string> did_;
  PartitionKeeper keeper_;
};

TEST_F(PartitionKeeperTest, LeavesACreationToItsGatewayUntilThatIsGone) {
  record(PartitionedState::kCreating);
  EXPECT_EQ(did(5min), List());
  gone_ = kOwner;
  answer_ = Error(Errc::kNoLeaseholder, "not now");
  EXPECT_GE(did(3s).size(), 2U) << "again and again until it works";
  in_office_ = false;
  did(1s);
  EXPECT_EQ(did(1min), List());
}

TEST_F(PartitionKeeperTest, FinishesWhatIsDecidedWhenNobodyElseDoes) {
  PartitionedRecord& table = record(PartitionedState::kReady);
  EXPECT_EQ(did(1h), List());
  table.pending =
      meta::PendingChange{.number = 1, .tag = "TRUNCATE", .sql = {}, .request = {}, .owner = kOwner, .problem = {}};
  ++table.version;
  EXPECT_EQ(did(5min), List()) << "it may be building an index";
  table.pending->decided = true;
  ++table.version;
  EXPECT_EQ(did(4s), List()) << "its gateway comes first";
  EXPECT_EQ(did(4s), List{"finish t"});
  record(PartitionedState::kDropping).version = 9;
  EXPECT_EQ(did(8s), List{"finish t"});
}

TEST_F(PartitionKeeperTest, GivesUpAnUndecidedChangeOfAGatewayThatIsGone) {
  PartitionedRecord& table = record(PartitionedState::kReady);
  table.pending =
      meta::PendingChange{.number = 1, .tag = "TRUNCATE", .sql = {}, .request = {}, .owner = kOwner, .problem = {}};
  gone_ = kOwner;
  EXPECT_EQ(did(1500ms).front(), "finish t");
}

TEST_F(PartitionKeeperTest, TakesAwayWhatADroppedDatabaseLeft) {
  record(PartitionedState::kReady);
  has_database_ = false;
  EXPECT_EQ(did(10s), List{"discard t"});
}

TEST_F(PartitionKeeperTest, DropsPartitionsThatAreOlderThanTheTtlAndNoOthers) {
  PartitionedRecord& table = record(PartitionedState::kReady);
  fragments::Scheme scheme{.kind = fragments::Scheme::Kind::kRange, .column = "at"};
  scheme.type = fragments::KeyType::kTimestamp;
  scheme.interval = *fragments::parse_interval("1 hour");
  scheme.ttl = fragments::parse_interval("2 hours").value();
  table.scheme = fragments::encode(scheme);
  std::int64_t slot = 0;
  while (scheme.is_expired(slot, loop_.wall_micros())) ++slot;  // the first that is not
  table.partitions = {{slot - 2, RangeId(5), true}, {slot - 1, RangeId(6), false}, {slot, RangeId(7), true}};
  List expected{"drop t " + std::to_string(slot - 1), "drop t " + std::to_string(slot - 2)};
  EXPECT_EQ(did(11s), expected);
  EXPECT_EQ(did(1min), List());
  table.pending = meta::PendingChange{.number = 1, .tag = "x", .sql = {}, .request = {}, .owner = {}, .problem = {}};
  for (const std::string& each : did(62min)) EXPECT_EQ(each, "finish t") << "nothing goes while the table is changed";
  table.pending.reset();
  EXPECT_EQ(did(11s), List{"drop t " + std::to_string(slot)});
}

}  // namespace
}  // namespace outlast::server
