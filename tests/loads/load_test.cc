// Loads over real SQLite files: whoever dies wherever, all rows are in once or none is.
#include "loads/load.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <set>

#include "fragments/scheme.h"
#include "loads/keeper.h"
#include "tests/support/crash_cluster.h"

namespace outlast::loads {
namespace {
namespace asio = boost::asio;
using executor::Value;
using outlast::testing::CrashCluster;
using outlast::testing::FakeCluster;
using namespace std::chrono_literals;

constexpr int kPartitions = 3;

class LoadTest : public ::testing::Test {
 protected:
  LoadTest() {
    EXPECT_TRUE(wait(cluster_.create_database("d")).ok());
    must("CREATE TABLE plain(k INTEGER NOT NULL, v TEXT, PRIMARY KEY(k), CHECK (v <> 'bad'))");
    fragments::Scheme scheme{.column = "k", .partitions = kPartitions};
    gateway::NewPartitionedTable table{"parts", fragments::encode(scheme), {}, {}};
    for (int i = 0; i < kPartitions; ++i) table.slots.push_back(i);
    table.sql = {"CREATE TABLE parts(k BIGINT NOT NULL, v TEXT, PRIMARY KEY(k), CHECK (v <> 'bad'))"};
    EXPECT_TRUE(wait(cluster_.create_partitioned("d", table)).ok());
  }
  /// Runs a coroutine to its end on this thread.
  template <class T>
  T wait(asio::awaitable<T> work) {
    asio::io_context context;
    std::optional<T> out;
    asio::co_spawn(
        context,
        [](asio::awaitable<T> what, std::optional<T>& into) -> asio::awaitable<void> {
          into.emplace(co_await std::move(what));
        }(std::move(work), out),
        [](const std::exception_ptr& failed) {
          if (failed) std::rethrow_exception(failed);
        });
    context.run();
    return std::move(*out);
  }
  Result<Rows> run(std::string sql, std::optional<RangeId> range = std::nullopt) {
    auto session = cluster_.open_session();
    EXPECT_TRUE(wait(session->use_database("d")).ok());
    gateway::Statement statement;
    statement.sql = std::move(sql);
    statement.range = range;
    return wait(read_rows(*session, std::move(statement)));
  }
  void must(const std::string& sql, std::optional<RangeId> range = std::nullopt) {
    const auto done = run(sql, range);
    EXPECT_TRUE(done.ok()) << sql << ": " << done.error().message;
  }
  void empty(const std::string& table) {
    if (table == "plain") return must("DELETE FROM plain");
    for (const RangeId range : ranges()) must("DELETE FROM parts", range);
  }
  std::vector<RangeId> ranges() {
    std::vector<RangeId> out;
    for (const auto& part : cluster_.partitioned("d")->at("parts").partitions) out.push_back(part.range);
    return out;
  }
  /// Keys that are in the table, over all partitions; fails for one that is there twice.
  std::set<std::int64_t> keys(const std::string& table) {
    std::set<std::int64_t> out;
    std::vector<std::optional<RangeId>> where{std::nullopt};
    if (table == "parts") {
      where.clear();
      for (const RangeId range : ranges()) where.emplace_back(range);
    }
    for (const auto& range : where) {
      auto rows = run("SELECT k FROM " + table, range);
      EXPECT_TRUE(rows.ok());
      for (const Row& row : *rows) EXPECT_TRUE(out.insert(number_of(row[0])).second) << number_of(row[0]);
    }
    return out;
  }
  static Rows rows(std::int64_t from, std::int64_t to) {
    Rows out;
    for (; from < to; ++from) out.push_back({Value(from), Value("v" + std::to_string(from))});
    return out;
  }
  /// Loads rows 0 … 29 in three portions; the label's end, or the error.
  Result<Label> load(gateway::Cluster& cluster, const std::string& table, const std::string& label,
                     bool two_steps = false) {
    auto opened = wait(Load::open(cluster, {.database = "d",
                                            .table = table,
                                            .label = label,
                                            .timeout = 5s,
                                            .two_steps = two_steps,
                                            .batch_bytes = batch_}));
    if (!opened.ok()) return std::move(opened).error();
    if (!opened->load) return *opened->existing;
    for (int i = 0; i < 3; ++i)
      if (auto added = wait(opened->load->add(rows(10 * i, 10 * i + 10))); !added.ok()) {
        wait_void(opened->load->abort(added.error().message));
        return std::move(added).error();
      }
    return wait(opened->load->finish());
  }
  void wait_void(asio::awaitable<void> work) {
    const auto done = wait([](asio::awaitable<void> what) -> asio::awaitable<Result<void>> {
      co_await std::move(what);
      co_return Result<void>();
    }(std::move(work)));
    EXPECT_TRUE(done.ok());
  }
  /// Nothing of any load but ended labels is left.
  void expect_clean() {
    std::vector<std::optional<RangeId>> where{std::nullopt};
    for (const RangeId range : ranges()) where.emplace_back(range);
    for (const auto& range : where) {
      auto left = run("SELECT name FROM sqlite_schema WHERE name GLOB 'outlast_stage_*'", range);
      EXPECT_TRUE(left.ok() && left->empty());
    }
  }
  FakeCluster cluster_;
  std::size_t batch_{30};  ///< Bytes: the rows come in several.
};

/// Of an ordinary table, rows that come in one batch bring their label with them.
struct Case {
  std::string table;
  std::size_t batch;
};
const Case kCases[] = {{"plain", 30}, {"plain", 1 << 20}, {"parts", 30}};

TEST_F(LoadTest, BringsRowsInOncePerLabel) {
  for (const std::string table : {"plain", "parts"}) {
    auto first = load(cluster_, table, "a" + table);
    ASSERT_TRUE(first.ok()) << first.error().message;
    EXPECT_EQ(first->state, State::kDone);
    EXPECT_EQ(first->counts.loaded, 30);
    auto second = load(cluster_, table, "a" + table);
    ASSERT_TRUE(second.ok()) << second.error().message;
    EXPECT_EQ(second->txn, first->txn);
    EXPECT_EQ(second->counts.loaded, 30);
    EXPECT_EQ(keys(table).size(), 30U);
  }
  expect_clean();
}

TEST_F(LoadTest, AnOlderLeaseholderTakesTheRowsOneByOne) {
  cluster_.older = true;
  for (const std::string table : {"plain", "parts"}) {
    auto done = load(cluster_, table, "o" + table);
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(done->state, State::kDone);
    EXPECT_EQ(done->counts.loaded, 30);
    EXPECT_EQ(keys(table).size(), 30U);
  }
  expect_clean();
}

TEST_F(LoadTest, WhateverStepTheOwnerDiesAtAllRowsAreInOnceOrNone) {
  for (const auto& [table, batch] : kCases)
    for (const bool applied : {false, true})
      for (int steps = 0;; ++steps) {
        SCOPED_TRACE(table + " dies after " + std::to_string(steps) + (applied ? ", applied" : ""));
        batch_ = batch;
        const std::string label = table + std::to_string(batch) + "-" + std::to_string(steps) + (applied ? "a" : "b");
        CrashCluster dying(cluster_, "1/1"), next(cluster_, "1/2");
        dying.die_after(steps, applied);
        auto dead = load(dying, table, label);
        auto kept = wait(look_after(next, "d", 72h));
        ASSERT_TRUE(kept.ok()) << kept.error().message;
        const std::size_t after = keys(table).size();
        EXPECT_TRUE(after == 0 || after == 30) << after;
        auto found = wait(find_label(next, "d", label));
        ASSERT_TRUE(found.ok());
        EXPECT_EQ(after == 30, found->has_value() && (*found)->state == State::kDone);
        expect_clean();
        auto again = load(next, table, label);
        ASSERT_TRUE(again.ok()) << again.error().message;
        EXPECT_EQ(again->state, State::kDone);
        EXPECT_EQ(keys(table).size(), 30U);
        empty(table);
        if (!dying.dead()) break;  // it came to its end
        ASSERT_LT(steps, 500);
      }
}

TEST_F(LoadTest, LostAnswersDoubleNothing) {
  for (const int n : {5, 11, 17}) {
    for (const auto& [table, batch] : kCases) {
      batch_ = batch;
      SCOPED_TRACE(table + " every " + std::to_string(n));
      CrashCluster losing(cluster_, "1/1");
      losing.lose_answers(n);
      auto done = load(losing, table, table + std::to_string(batch) + "-" + std::to_string(n));
      CrashCluster calm(cluster_, "1/2");
      ASSERT_TRUE(wait(look_after(calm, "d", 72h)).ok());
      const std::size_t after = keys(table).size();
      if (done.ok() && done->state == State::kDone) {
        EXPECT_EQ(after, 30U);
      }
      EXPECT_TRUE(after == 0 || after == 30) << after;
      empty(table);
    }
  }
  expect_clean();
}

TEST_F(LoadTest, OfTwoLoadsThatComeWithOneLabelOneIsIn) {
  const LoadOptions options{.database = "d", .table = "plain", .label = "same"};
  auto first = wait(Load::open(cluster_, options)), second = wait(Load::open(cluster_, options));
  ASSERT_TRUE(first.ok() && first->load && second.ok() && second->load);
  ASSERT_TRUE(wait(first->load->add(rows(0, 10))).ok());
  ASSERT_TRUE(wait(second->load->add(rows(10, 20))).ok());
  auto done = wait(first->load->finish());
  ASSERT_TRUE(done.ok()) << done.error().message;
  const auto refused = wait(second->load->finish());
  ASSERT_FALSE(refused.ok());
  ASSERT_TRUE(second->load->taken_by()) << refused.error().message;
  EXPECT_EQ(second->load->taken_by()->txn, done->txn);
  EXPECT_EQ(keys("plain").size(), 10U);
}

TEST_F(LoadTest, AShortLoadThatFailsLeavesItsReasonAndItsLabelFree) {
  const LoadOptions options{.database = "d", .table = "plain", .label = "short"};
  auto opened = wait(Load::open(cluster_, options));
  ASSERT_TRUE(opened.ok() && opened->load);
  ASSERT_TRUE(wait(opened->load->add({{Value(std::int64_t{1}), Value(std::string("bad"))}})).ok());
  const auto failed = wait(opened->load->finish());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Errc::kCheckViolation);
  wait_void(opened->load->abort(failed.error().message));
  const auto label = wait(find_label(cluster_, "d", "short"));
  ASSERT_TRUE(label.ok() && label->has_value());
  EXPECT_EQ((*label)->state, State::kAborted);
  EXPECT_EQ((*label)->error, failed.error().message);
  EXPECT_TRUE((*label)->swept);
  auto again = load(cluster_, "plain", "short");
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->state, State::kDone);
}

TEST_F(LoadTest, ARowThatDoesNotFitEndsTheLoadAndNothingIsSeen) {
  for (const std::string table : {"plain", "parts"}) {
    auto opened = wait(Load::open(cluster_, {.database = "d", .table = table, .label = "x" + table, .batch_bytes = 1}));
    ASSERT_TRUE(opened.ok() && opened->load) << opened.error().message;
    ASSERT_TRUE(wait(opened->load->add(rows(0, 5))).ok());
    Rows bad = rows(5, 9);
    bad[2][1] = Value(std::string("bad"));
    auto added = wait(opened->load->add(bad));
    if (added.ok()) added = wait(opened->load->settle());
    ASSERT_FALSE(added.ok());
    EXPECT_EQ(added.error().code, Errc::kCheckViolation);
    wait_void(opened->load->abort("a row does not fit"));
    EXPECT_TRUE(keys(table).empty());
    auto again = load(cluster_, table, "x" + table);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(keys(table).size(), 30U);
  }
  expect_clean();
}

TEST_F(LoadTest, FilteredRowsAreLeftOutUpToTheRatio) {
  for (const std::string table : {"plain", "parts"}) {
    for (const double ratio : {0.5, 0.1}) {
      auto opened = wait(
          Load::open(cluster_, {.database = "d", .table = table, .label = "f" + table, .max_filter_ratio = ratio}));
      ASSERT_TRUE(opened.ok() && (opened->load || ratio < 0.5));
      if (!opened->load) continue;
      Rows some = rows(0, 10);
      some[2][1] = some[3][1] = Value(std::string("bad"));
      some[5][0] = some[4][0];
      ASSERT_TRUE(wait(opened->load->add(some)).ok());
      auto done = wait(opened->load->finish());
      ASSERT_TRUE(done.ok()) << done.error().message;
      EXPECT_EQ(done->counts, (Counts{10, 7, 3, 0}));
      EXPECT_EQ(keys(table).size(), 7U);
    }
  }
}

TEST_F(LoadTest, TooManyFilteredRowsEndTheLoad) {
  auto opened = wait(Load::open(cluster_, {.database = "d", .table = "parts", .label = "m", .max_filter_ratio = 0.2}));
  ASSERT_TRUE(opened.ok() && opened->load);
  Rows some = rows(0, 4);
  some[0][1] = Value(std::string("bad"));
  ASSERT_TRUE(wait(opened->load->add(some)).ok());
  EXPECT_EQ(wait(opened->load->finish()).error().code, Errc::kInvalidArgument);
  wait_void(opened->load->abort("too many"));
  EXPECT_TRUE(keys("parts").empty());
  expect_clean();
}

TEST_F(LoadTest, APreparedLoadReservesItsKeysAndAnybodyMayCommitIt) {
  CrashCluster first(cluster_, "1/1"), second(cluster_, "2/1");
  auto opened =
      wait(Load::open(first, {.database = "d", .table = "plain", .label = "p", .timeout = 60s, .two_steps = true}));
  ASSERT_TRUE(opened.ok() && opened->load) << opened.error().message;
  ASSERT_TRUE(wait(opened->load->add(rows(0, 30))).ok());
  EXPECT_EQ(wait(commit_label(second, "d", "p")).error().code, Errc::kInvalidState);
  ASSERT_TRUE(wait(opened->load->prepare()).ok());
  const auto taken = run("INSERT INTO plain VALUES (7, 'mine')");
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Errc::kTransactionLost) << taken.error().message;  // 40001: try again
  EXPECT_TRUE(run("INSERT INTO plain VALUES (77, 'mine')").ok());
  opened->load.reset();  // its process is gone
  ASSERT_TRUE(wait(look_after(second, "d", 72h)).ok());
  EXPECT_EQ(keys("plain").size(), 1U);
  auto done = wait(commit_label(second, "d", "p"));
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->state, State::kDone);
  EXPECT_EQ(keys("plain").size(), 31U);
  EXPECT_EQ(wait(abort_label(second, "d", "p", "late")).error().code, Errc::kInvalidState);
  expect_clean();
}

TEST_F(LoadTest, OldLabelsAreForgotten) {
  ASSERT_TRUE(load(cluster_, "parts", "old").ok());
  ASSERT_TRUE(wait(look_after(cluster_, "d", 0s)).ok());
  auto found = wait(find_label(cluster_, "d", "old"));
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->has_value());
  for (const RangeId range : ranges()) {
    auto left = run("SELECT count(*) FROM outlast_load_txn", range);
    EXPECT_TRUE(!left.ok() || number_of(left->front().front()) == 0);
  }
}

}  // namespace
}  // namespace outlast::loads
