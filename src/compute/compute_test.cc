#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <thread>

#include "compute/messages.h"
#include "compute/served_channel.h"
#include "compute/session.h"
#include "compute/testing/fake_ranges.h"

namespace outlast::compute {
namespace {
namespace asio = boost::asio;
using executor::Value;
using test::FakeRanges;

class SteadyClock final : public Clock {
 public:
  Instant now() const override {
    return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }
  std::int64_t wall_micros() const override { return 0; }
};

/// Rows (from, text) … of `count` numbers.
std::string numbers(std::int64_t from, int count, const std::string& text = "x") {
  executor::RowWriter out;
  for (int i = 0; i < count; ++i) {
    out.integer(from + i);
    out.text(text);
  }
  return out.take();
}

Error moved() {
  return {Errc::kSerialization, "the rest of the result is gone because the database moved to another node"};
}

class ComputeTest : public testing::Test {
 protected:
  /// One fragment over `ranges` and a final statement.
  static Plan plan(std::vector<RangeId> ranges, std::string final_sql) {
    Plan out{.database = "d", .final_sql = std::move(final_sql), .memory_limit = 64 << 20};
    out.fragments.push_back({.name = "fragment_1",
                             .create = "CREATE TABLE fragment_1 (n BIGINT, s TEXT)",
                             .columns = {"n", "s"},
                             .sql = "SELECT n, s FROM t",
                             .ranges = std::move(ranges)});
    return out;
  }
  template <class T>
  T wait(asio::awaitable<T> work) {
    std::optional<T> out;
    asio::co_spawn(
        context_,
        [](asio::awaitable<T> inner, std::optional<T>* to) -> asio::awaitable<void> {
          *to = co_await std::move(inner);
        }(std::move(work), &out),
        asio::detached);
    context_.restart();
    context_.run();
    return *std::move(out);
  }
  std::vector<Value> values(std::string_view bytes) {
    executor::RowReader reader(bytes, 1);
    std::vector<Value> all, row;
    while (!reader.done() && reader.next(row).ok()) all.push_back(row.front());
    return all;
  }

  SteadyClock clock_;
  asio::io_context context_;
  FakeRanges ranges_;
  Engine engine_{{.open_session = [this] { return ranges_.open_session(); }, .dress = {}},
                 clock_,
                 {.threads = 2, .parallel = 3, .restarts = 3}};
  Session session_{ranges_.open_session(), engine_};
};

TEST_F(ComputeTest, TheFinalStatementReadsTheRowsOfAllFragments) {
  std::vector<RangeId> all;
  for (std::uint64_t r = 1; r <= 7; ++r) {
    all.push_back(RangeId(r));
    const auto from = static_cast<std::int64_t>(r) * 100;
    ranges_.ranges[RangeId(r)].pieces = {numbers(from, 10), numbers(from + 10, 10), numbers(from + 20, 5)};
  }
  Plan wanted = plan(all, "SELECT count(*) + ?1 FROM fragment_1 WHERE s = 'x'");
  wanted.parameters = {std::int64_t{1000}};
  wanted.fragments[0].parameters = {std::string("p")};
  const auto rows = wait(session_.run_plan(wanted, 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes), (std::vector<Value>{std::int64_t{1175}}));
  EXPECT_EQ(rows->portal, 0U);
  EXPECT_EQ(ranges_.running_most, 3) << "a bounded number at once";
  for (const gateway::Statement& statement : ranges_.statements) {
    EXPECT_TRUE(statement.fragment);
    EXPECT_EQ(statement.params, (std::vector<std::vector<Value>>{{std::string("p")}}));
  }
}

TEST_F(ComputeTest, NoFragmentAtAllIsACalculation) {
  const auto rows =
      wait(session_.run_plan({.database = "d", .final_sql = "VALUES (1), (2)", .memory_limit = 1 << 20}, 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes), (std::vector<Value>{std::int64_t{1}, std::int64_t{2}}));
}

TEST_F(ComputeTest, ResultsComeInPieces) {
  ranges_.ranges[RangeId(1)].pieces = {numbers(1, 5)};
  auto rows = wait(session_.run_plan(plan({RangeId(1)}, "SELECT n FROM fragment_1 ORDER BY n"), 2));
  ASSERT_TRUE(rows.ok());
  EXPECT_TRUE(rows->suspended);
  EXPECT_EQ(values(rows->bytes), (std::vector<Value>{std::int64_t{1}, std::int64_t{2}}));
  const std::uint64_t portal = rows->portal;
  rows = wait(session_.fetch(portal, 0));
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(values(rows->bytes), (std::vector<Value>{std::int64_t{3}, std::int64_t{4}, std::int64_t{5}}));
  EXPECT_EQ(rows->portal, 0U);
  EXPECT_EQ(wait(session_.fetch(portal, 0)).error().code, Errc::kUndefinedCursor);
}

TEST_F(ComputeTest, APartThatIsLostOnItsWayIsReadAgainAlone) {
  for (std::uint64_t r = 1; r <= 3; ++r)
    ranges_.ranges[RangeId(r)].pieces = {numbers(static_cast<std::int64_t>(r) * 10, 2),
                                         numbers(static_cast<std::int64_t>(r) * 10 + 2, 2)};
  ranges_.ranges[RangeId(2)].losses = {moved(), moved()};
  const auto rows =
      wait(session_.run_plan(plan({RangeId(1), RangeId(2), RangeId(3)}, "SELECT n FROM fragment_1 ORDER BY n"), 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes).size(), 12U) << "nothing twice";
  EXPECT_EQ(ranges_.runs, (std::map<RangeId, int>{{RangeId(1), 1}, {RangeId(2), 3}, {RangeId(3), 1}}));
}

TEST_F(ComputeTest, APartThatIsLostAgainAndAgainEndsTheQuery) {
  ranges_.ranges[RangeId(1)].pieces = {numbers(1, 2), numbers(3, 2)};
  ranges_.ranges[RangeId(1)].losses.assign(10, moved());
  const auto rows = wait(session_.run_plan(plan({RangeId(1)}, "SELECT 1"), 0));
  EXPECT_EQ(rows.error().code, Errc::kSerialization);
  EXPECT_EQ(ranges_.runs[RangeId(1)], 4);
}

TEST_F(ComputeTest, TheFirstErrorEndsTheOtherFragments) {
  ranges_.ranges[RangeId(1)].hangs = true;
  ranges_.ranges[RangeId(2)].refuses = Error(Errc::kNumericOutOfRange, "bigint out of range");
  ranges_.ranges[RangeId(3)].hangs = true;
  const auto rows = wait(session_.run_plan(plan({RangeId(1), RangeId(2), RangeId(3)}, "SELECT 1"), 0));
  EXPECT_EQ(rows.error().message, "bigint out of range");
  EXPECT_EQ(ranges_.running, 0);
}

TEST_F(ComputeTest, CancelReachesEveryFragment) {
  for (std::uint64_t r = 1; r <= 5; ++r) ranges_.ranges[RangeId(r)].hangs = true;
  ranges_.on_run = [this] {
    if (ranges_.statements.size() == 3) session_.interrupt();
  };
  const auto rows =
      wait(session_.run_plan(plan({RangeId(1), RangeId(2), RangeId(3), RangeId(4), RangeId(5)}, "SELECT 1"), 0));
  EXPECT_EQ(rows.error().code, Errc::kCancelled);
  EXPECT_EQ(ranges_.statements.size(), 3U) << "those that had not begun never do";
}

TEST_F(ComputeTest, CancelThatComesBeforeTheQueryHasBegunEndsIt) {
  ranges_.ranges[RangeId(1)].pieces = {numbers(1, 5)};
  const auto query = engine_.make(plan({RangeId(1)}, "SELECT n FROM fragment_1 ORDER BY n"));
  query->interrupt();
  EXPECT_EQ(wait(query->start({}, 2)).error().code, Errc::kCancelled);
  EXPECT_TRUE(ranges_.statements.empty());

  const auto read = engine_.make(plan({RangeId(1)}, "SELECT n FROM fragment_1 ORDER BY n"));
  EXPECT_TRUE(wait(read->start({}, 2)).ok());
  EXPECT_TRUE(wait(read->fetch({}, 1)).ok());
  read->interrupt();
  EXPECT_EQ(wait(read->fetch({}, 1)).error().code, Errc::kCancelled);
}

TEST_F(ComputeTest, CancelAndTimeoutEndTheFinalStatement) {
  const std::string endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c";
  session_.limits().statement_timeout = std::chrono::milliseconds(30);
  EXPECT_EQ(wait(session_.run_plan(plan({}, endless), 0)).error().code, Errc::kDeadline);
  session_.limits().statement_timeout = Duration(0);
  asio::steady_timer later(context_);
  later.expires_after(std::chrono::milliseconds(30));
  later.async_wait([this](auto) { session_.interrupt(); });
  EXPECT_EQ(wait(session_.run_plan(plan({}, endless), 0)).error().code, Errc::kCancelled);
}

TEST_F(ComputeTest, RowsBeyondTheLimitAreRefusedWithWhatToDo) {
  const std::string kilobyte(1000, 'y');
  ranges_.ranges[RangeId(1)].pieces.assign(100, numbers(1, 50, kilobyte));
  Plan wanted = plan({RangeId(1)}, "SELECT count(*) FROM fragment_1");
  wanted.memory_limit = 1 << 20;
  const auto rows = wait(session_.run_plan(wanted, 0));
  EXPECT_EQ(rows.error().code, Errc::kOutOfMemory);
  EXPECT_NE(rows.error().message.find("sql.query_memory_limit (1 MiB)"), std::string::npos) << rows.error().message;
  wanted.memory_limit = 64 << 20;
  EXPECT_TRUE(wait(session_.run_plan(wanted, 0)).ok());
}

TEST_F(ComputeTest, SortsBeyondTheCacheGoToFiles) {
  ranges_.ranges[RangeId(1)].pieces.assign(40, numbers(1, 100, std::string(1000, 'z')));
  const auto before = sqlite3_memory_highwater(1);
  Plan wanted =
      plan({RangeId(1)},
           "SELECT a.n FROM fragment_1 a, fragment_1 b WHERE b.rowid <= 4 ORDER BY a.s || b.n LIMIT 1 OFFSET 15000");
  const auto rows = wait(session_.run_plan(wanted, 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_LT(sqlite3_memory_highwater(0) - before, 24 << 20) << "16 MB were sorted, 4 MB were gathered";
}

TEST_F(ComputeTest, TheFinalStatementMayNotReachOutsideOfItsRows) {
  for (const char* sql : {"ATTACH '/tmp/x.db' AS x", "DELETE FROM fragment_1", "PRAGMA max_page_count=100000000"})
    EXPECT_FALSE(wait(session_.run_plan(plan({}, sql), 0)).ok()) << sql;
}

/// The executor of a node that has no use for it here, or one that is gone; with a portal: whatever is asked leaves it
/// open.
class OtherChannel final : public executor::Channel {
 public:
  explicit OtherChannel(bool alive, std::uint64_t portal = 0) : alive_(alive), portal_(portal) {}
  asio::awaitable<proto::ExecReply> call(proto::ExecRequest) override {
    proto::ExecReply open;
    open.set_portal(portal_);
    if (portal_ != 0) co_return open;
    co_return to_reply(Error(Errc::kUnavailable, "the node is gone"));
  }
  void interrupt() override {}
  bool alive() const override { return alive_; }

 private:
  bool alive_;
  std::uint64_t portal_;
};

class PlacedTest : public ComputeTest {
 protected:
  PlacedTest() {
    for (std::uint64_t r = 1; r <= 3; ++r)
      ranges_.ranges[RangeId(r)].pieces = {numbers(static_cast<std::int64_t>(r) * 10, 2)};
  }
  static Plan numbers_plan() {
    return plan({RangeId(1), RangeId(2), RangeId(3)}, "SELECT n FROM fragment_1 ORDER BY n");
  }
  std::uint64_t work(lifecycle::Outcome outcome) const {
    return gate_.ledger().of(lifecycle::WorkKind::kFragment).of(outcome);
  }
  lifecycle::Gate gate_;
  ServedChannels served_;
  bool dead_first_{false};
  Engine placing_{{.open_session = [this] { return ranges_.open_session(); },
                   .dress = {},
                   .places =
                       [this] {
                         std::vector<std::unique_ptr<executor::Channel>> places;
                         if (dead_first_) places.push_back(std::make_unique<OtherChannel>(false));
                         auto below = std::make_unique<OtherChannel>(true);
                         places.push_back(std::make_unique<ServedChannel>(std::move(below), engine_, gate_, served_));
                         return places;
                       }},
                  clock_,
                  {.threads = 1}};
  Session client_{ranges_.open_session(), placing_};
};

TEST_F(PlacedTest, AComputeNodeRunsTheQueryWhole) {
  dead_first_ = true;
  Plan wanted = numbers_plan();
  auto rows = wait(client_.run_plan(wanted, 4));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes).size(), 4U);
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 1U);
  rows = wait(client_.fetch(rows->portal, 0));
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(values(rows->bytes), (std::vector<Value>{std::int64_t{30}, std::int64_t{31}}));
  EXPECT_EQ(work(lifecycle::Outcome::kDone), 1U);
}

TEST_F(PlacedTest, ANodeThatLeavesIsPassedOverUnseen) {
  gate_.close(lifecycle::WorkKind::kFragment, Error(Errc::kNotReady, "INTERNAL_ERROR: node 4 is exiting"));
  const auto rows = wait(client_.run_plan(numbers_plan(), 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes).size(), 6U);
  EXPECT_EQ(work(lifecycle::Outcome::kDone), 0U);
}

TEST_F(PlacedTest, AQueryThatIsEndedBeforeItsFirstRowRunsElsewhere) {
  for (auto& [id, range] : ranges_.ranges) range.hangs = true;
  ranges_.on_run = [this] {
    if (ranges_.statements.size() != 3) return;
    for (auto& [id, range] : ranges_.ranges) range.hangs = false;
    served_.end_work(Instant::max());
  };
  const auto rows = wait(client_.run_plan(numbers_plan(), 0));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(values(rows->bytes).size(), 6U);
  EXPECT_EQ(work(lifecycle::Outcome::kCancelled), 1U);
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 0U);
}

TEST_F(PlacedTest, TimeThatPassedElsewhereCounts) {
  for (auto& [id, range] : ranges_.ranges) range.hangs = true;
  ranges_.on_run = [this] {
    if (ranges_.statements.size() != 3) return;
    for (auto& [id, range] : ranges_.ranges) range.hangs = false;
    std::this_thread::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(60));
    served_.end_work(Instant::max());
  };
  client_.limits().statement_timeout = std::chrono::milliseconds(50);
  EXPECT_EQ(wait(client_.run_plan(numbers_plan(), 0)).error().code, Errc::kDeadline);
}

TEST_F(PlacedTest, AResultThatIsHalfReadEndsWithItsNode) {
  auto rows = wait(client_.run_plan(numbers_plan(), 4));
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  served_.end_work(Instant{});
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 1U) << "it began later";
  served_.end_work(Instant::max());
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 0U);
  rows = wait(client_.fetch(rows->portal, 0));
  ASSERT_FALSE(rows.ok());
  EXPECT_EQ(rows.error().code, Errc::kSerialization);
}

TEST_F(PlacedTest, AFragmentWhoseGatewaySleepsHoldsNoNode) {
  ServedChannel channel(std::make_unique<OtherChannel>(true, 5), engine_, gate_, served_);
  proto::ExecRequest run;
  run.mutable_run()->set_fragment(true);
  EXPECT_EQ(wait(channel.call(run)).portal(), 5U);
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 1U);
  served_.end_work(Instant::max());
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 0U);
  proto::ExecRequest fetch;
  fetch.mutable_fetch()->set_portal(5);
  EXPECT_EQ(wait(channel.call(fetch)).portal(), 5U) << "the executor knows what has become of it";
  EXPECT_EQ(gate_.open_work(lifecycle::WorkKind::kFragment), 0U);
}

TEST_F(PlacedTest, AnErrorOfTheQueryIsNotRepeatedElsewhere) {
  ranges_.ranges[RangeId(2)].refuses = Error(Errc::kNumericOutOfRange, "bigint out of range");
  EXPECT_EQ(wait(client_.run_plan(numbers_plan(), 0)).error().message, "bigint out of range");
  EXPECT_EQ(ranges_.runs[RangeId(2)], 1);
  EXPECT_EQ(work(lifecycle::Outcome::kFailed), 1U);
}

TEST_F(PlacedTest, CancelReachesTheOtherNode) {
  for (std::uint64_t r = 1; r <= 3; ++r) ranges_.ranges[RangeId(r)].hangs = true;
  ranges_.on_run = [this] {
    if (ranges_.statements.size() == 3) client_.interrupt();
  };
  EXPECT_EQ(wait(client_.run_plan(numbers_plan(), 0)).error().code, Errc::kCancelled);
}

}  // namespace
}  // namespace outlast::compute
