#include "cli/workload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/workload_check.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

PgReply error(const char* sqlstate, bool broken = false) {
  return {.sqlstate = sqlstate, .broken = broken};
}

TEST(Judge, NamesEveryEndingAsTheReportDoes) {
  const StatementPlace single{}, retrying{.in_transaction = true, .may_retry = true};
  EXPECT_EQ(judge({.ok = true}, single), Ending::kOk);
  EXPECT_EQ(judge(error("40001"), retrying), Ending::kRetried);
  EXPECT_EQ(judge(error("40001"), single), Ending::kFailed);  // a client that never retries was failed by it
  EXPECT_EQ(judge(error("40003"), single), Ending::kUnknown);
  EXPECT_EQ(judge(error("08006", true), retrying), Ending::kUnknown);
  EXPECT_EQ(judge(error("", true), single), Ending::kBroken);
  EXPECT_EQ(judge(error("57P01", true), single), Ending::kClosedIdle);
  EXPECT_EQ(judge(error("57P03", true), single), Ending::kClosedIdle);
  EXPECT_EQ(judge(error("57P01", true), retrying), Ending::kFailed);  // a transaction was cut
  EXPECT_EQ(judge(error("57P03"), single), Ending::kFailed);          // the session goes on: this is no farewell
  EXPECT_EQ(judge(error("XX000"), single), Ending::kFailed);
  const StatementPlace naive{.naive = true};
  EXPECT_EQ(judge(error("57P01", true), naive), Ending::kFailed);  // it was sent: this client does not send it again
  EXPECT_EQ(judge(error("40001"), naive), Ending::kFailed);
  EXPECT_EQ(judge(error("", true), naive), Ending::kBroken);
  EXPECT_EQ(judge({.broken = true, .timed_out = true}, single), Ending::kFailed);
}

TEST(FateOfWrite, HoldsAnErrorWithACodeToItsPromise) {
  const auto fate = [](const PgReply& reply, StatementPlace place = {}) {
    return fate_of_write(reply, judge(reply, place));
  };
  EXPECT_EQ(fate({.ok = true}), RowFate::kAcked);
  EXPECT_EQ(fate(error("53000")), RowFate::kRefused);
  EXPECT_EQ(fate(error("40001"), {.may_retry = true}), RowFate::kRefused);
  EXPECT_EQ(fate(error("57P01", true)), RowFate::kRefused);
  EXPECT_EQ(fate(error("40003")), RowFate::kUnknown);
  EXPECT_EQ(fate(error("08006", true)), RowFate::kUnknown);
  EXPECT_EQ(fate(error("", true)), RowFate::kUnknown);
  EXPECT_EQ(fate({.broken = true, .timed_out = true}), RowFate::kUnknown);
}

TEST(LoadRecord, CountsEachEndingOnceAndNamesItsCode) {
  LoadRecord record;
  const auto now = LoadRecord::Clock::now();
  record.statement(Ending::kOk, {.ok = true}, now, now);
  record.statement(Ending::kRetried, error("40001"), now, now);
  record.statement(Ending::kUnknown, error("40003"), now, now);
  record.statement(Ending::kBroken, error("", true), now - 5s, now);
  record.statement(Ending::kClosedIdle, error("57P01", true), now, now);
  record.statement(Ending::kFailed, error("XX000"), now, now);
  record.statement(Ending::kFailed, {.broken = true, .timed_out = true}, now, now);
  record.wrong_answer("2 rows");
  record.opened();
  record.refused();
  record.retired();
  record.closed(Ending::kClosedIdle, false);
  record.closed(Ending::kBroken, false);
  record.closed(Ending::kFailed, true);
  const auto s = record.statements();
  EXPECT_EQ(s.ok, 1U);
  EXPECT_EQ(s.retried, 1U);
  EXPECT_EQ(s.unknown, 2U) << "a broken connection leaves its client as clueless as 40003";
  EXPECT_EQ(s.unknown_gateway_died, 0U) << "the client alone cannot know that";
  EXPECT_EQ(s.failed, 3U);
  EXPECT_EQ(s.unnamed, 2U);
  EXPECT_EQ(s.by_sqlstate,
            (std::map<std::string, std::uint64_t>{{"40001", 1}, {"40003", 1}, {"08006", 1}, {"XX000", 1}}));
  EXPECT_EQ(record.connections().opened, 1U);
  EXPECT_EQ(record.connections().closed_idle, 1U);
  EXPECT_EQ(record.connections().lost, 2U);
  EXPECT_EQ(record.connections().lost_in_transaction, 1U);
  EXPECT_EQ(record.connections().refused, 1U);
  EXPECT_EQ(record.connections().retired, 1U);
  EXPECT_GE(record.max_pause_ms(), 5000.0);  // a wait counts although no answer came
  EXPECT_LT(record.max_latency_ms(), 5000.0);
}

TEST(DiedWithGateway, CountsOnlyConnectionsThatWereOpenAtTheKillOfTheirOwnGateway) {
  const auto at = [](int s) { return std::chrono::steady_clock::time_point(std::chrono::seconds(s)); };
  const std::vector<GatewayKill> kills{{1, at(10), at(11)}, {2, at(20), at(21)}};
  const auto counts = [&](std::size_t url, int opened, int broke) {
    return died_with_gateway({{url, at(opened), at(broke)}}, kills) == 1;
  };
  EXPECT_TRUE(counts(1, 5, 11));
  EXPECT_TRUE(counts(1, 5, 12)) << "seen a little later";
  EXPECT_TRUE(counts(2, 5, 21));
  EXPECT_FALSE(counts(0, 5, 11)) << "another gateway was killed";
  EXPECT_FALSE(counts(1, 5, 9)) << "broke before the kill";
  EXPECT_FALSE(counts(1, 12, 21)) << "opened after it, to the next process";
  EXPECT_EQ(died_with_gateway({{1, at(5), at(11)}, {1, at(6), at(11)}, {0, at(5), at(11)}}, kills), 2U);
}

class CompareTest : public testing::Test {  // one client of each kind on one database, both of whose promises are kept
 protected:
  CheckResult check() const { return compare(journals_, contents_); }
  std::vector<ClientJournal> journals_{
      {0,
       RowKind::kAppended,
       "load_1",
       {{{0, 1}, RowFate::kAcked}, {{0, 2}, RowFate::kRefused}, {{0, 3}, RowFate::kUnknown}}},
      {1, RowKind::kTransfer, "load_1", {{{1, 1}, RowFate::kAcked}}}};
  DatabaseContents contents_{.database = "load_1",
                             .appended = {{0, 1}},
                             .transfers = {{1, 1}},
                             .balances = {990, 1010},
                             .balances_by_history = {990, 1010}};
};

TEST_F(CompareTest, PassesWhenEveryPromiseWasKept) {
  const auto result = check();
  EXPECT_TRUE(result.passed());
  EXPECT_EQ(result.acked, 2U);
  EXPECT_EQ(result.unknown, 1U);
  EXPECT_EQ(result.unknown_applied, 0U);
}

TEST_F(CompareTest, AllowsAnUnknownRowOnceButNotTwice) {
  contents_.appended.push_back({0, 3});
  EXPECT_TRUE(check().passed());
  EXPECT_EQ(check().unknown_applied, 1U);
  contents_.appended.push_back({0, 3});
  EXPECT_EQ(check().duplicated, 1U);
  EXPECT_FALSE(check().passed());
}

TEST_F(CompareTest, FindsAMissingRow) {
  contents_.appended.clear();
  EXPECT_EQ(check().missing, 1U);
  contents_.transfers.clear();
  EXPECT_EQ(check().missing, 2U);
  EXPECT_FALSE(check().passed());
}

TEST_F(CompareTest, FindsARowThatWasReportedAsNotApplied) {
  contents_.appended.push_back({0, 2});
  EXPECT_EQ(check().resurrected, 1U);
  EXPECT_FALSE(check().passed());
}

TEST_F(CompareTest, FindsARowThatNobodyWrote) {
  contents_.appended.push_back({0, 9});
  EXPECT_EQ(check().unasked, 1U);
  EXPECT_FALSE(check().passed());
}

TEST_F(CompareTest, FindsHalfATransfer) {
  contents_.balances[1] = 1000;
  EXPECT_EQ(check().broken_balances, 2U);  // the account and the total
  EXPECT_FALSE(check().passed());
}

TEST_F(CompareTest, LooksAtItsOwnDatabaseOnly) {
  journals_.push_back({2, RowKind::kAppended, "load_2", {{{2, 1}, RowFate::kAcked}}});
  EXPECT_TRUE(check().passed());
}

class JournalFileTest : public testing::Test {
 protected:
  JournalFileTest() {
    std::string pattern = testing::TempDir() + "/journal-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~JournalFileTest() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/run.txt"; }
  std::string dir_;
};

TEST_F(JournalFileTest, ReadsBackWhatItWrote) {
  const std::vector<ClientJournal> journals{
      {0, RowKind::kAppended, "load_1", {{{0, 1}, RowFate::kAcked}, {{0, 2}, RowFate::kUnknown}}},
      {1, RowKind::kTransfer, "load_2", {{{1, 1}, RowFate::kRefused}}}};
  ASSERT_TRUE(write_journals(path(), 77, journals).ok());
  const auto back = read_journals(path());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->run, 77);
  ASSERT_EQ(back->journals.size(), 2U);
  EXPECT_EQ(back->journals[0].rows[1].fate, RowFate::kUnknown);
  EXPECT_EQ(back->journals[1].kind, RowKind::kTransfer);
  EXPECT_EQ(back->journals[1].database, "load_2");
  EXPECT_EQ(back->journals[1].rows[0].key, (RowKey{1, 1}));
}

TEST_F(JournalFileTest, RefusesWhatIsNotAJournal) {
  EXPECT_EQ(read_journals(path()).error().code, Errc::kIo);
  std::ofstream(path()) << "1 load_1 appended 0 1 acked\nnonsense\n";
  EXPECT_EQ(read_journals(path()).error().code, Errc::kCorrupt);
  std::ofstream(path()) << "1 load_1 appended 0 1 perhaps\n";
  EXPECT_EQ(read_journals(path()).error().code, Errc::kInvalidArgument);
  std::ofstream(path()) << "1 load_1 appended 0 1 acked\n2 load_1 appended 0 2 acked\n";
  EXPECT_EQ(read_journals(path()).error().code, Errc::kInvalidArgument);
}

TEST(Latency, QuantilesAreRightWithinABucketsWidth) {
  LatencyHistogram h;
  EXPECT_EQ(h.quantile_ms(0.99), 0.0);
  for (int i = 1; i <= 1000; ++i) h.add(std::chrono::microseconds(i * 100));
  EXPECT_NEAR(h.quantile_ms(0.5), 50.0, 50.0 * 0.04);
  EXPECT_NEAR(h.quantile_ms(0.99), 99.0, 99.0 * 0.04);
  EXPECT_NEAR(h.quantile_ms(1.0), 100.0, 100.0 * 0.04);
  h.add(24h);  // beyond the last bucket: counted, not lost
  EXPECT_EQ(h.count(), 1001U);
  EXPECT_GT(h.quantile_ms(1.0), 1e6);
}

TEST(Latency, SeparatesTheTimeAroundEvents) {
  LatencyTimeline timeline;
  for (int second = 0; second < 20; ++second) timeline.add(std::chrono::seconds(second), second == 10 ? 900ms : 1ms);
  const auto [near, steady] = timeline.around({10s}, 2s);
  EXPECT_EQ(near.count() + steady.count(), 20U);
  EXPECT_GE(near.count(), 3U);
  EXPECT_LE(near.count(), 5U);
  EXPECT_GT(near.quantile_ms(0.99), 800.0);
  EXPECT_LT(steady.quantile_ms(0.99), 2.0);
  EXPECT_EQ(timeline.around({}, 2s).first.count(), 0U);
  EXPECT_EQ(timeline.split({{3s, 5s}, {4s, 6s}}).first.count(), 3U);  // where windows overlap nothing counts twice
}

}  // namespace
}  // namespace outlast::cli
