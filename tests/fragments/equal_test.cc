// Fragments give what one SQLite database with the same rows gives.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

#include "tests/fragments/queries.h"
#include "tests/fragments/world.h"

namespace outlast::fragments::test {
namespace {

constexpr int kQueriesOfAWorld = 40;

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

using Mistake = void (*)(SelectPlan& plan);

struct Count {
  int compared{0}, refused{0}, fragments{0}, pushed{0};
};

/// Runs the queries of one seed. Empty, or what differs.
std::string difference(std::uint64_t seed, Mistake mistake, Count& count) {
  SeededRandom random(seed);
  const World world(random);
  for (int i = 0; i < kQueriesOfAWorld; ++i) {
    const Query query = random_query(random);
    const Answer plain = world.plain(query.sql);
    if (!plain.error.empty()) {
      ++count.refused;
      if (std::getenv("FRAGMENTS_SHOW") != nullptr) std::fprintf(stderr, "%s\n", plain.error.c_str());
      continue;
    }
    Result<SelectPlan> plan = world.plan(query.sql);
    const std::string about = "seed " + std::to_string(seed) + ", query " + std::to_string(i) + ": " + query.sql + "\n";
    if (!plan.ok()) return about + plan.error().to_string();
    if (mistake != nullptr) mistake(*plan);
    const Answer planned = world.planned(query.sql, *plan);
    ++count.compared;
    count.fragments += !plan->fragments.empty();
    for (const Fragment& fragment : plan->fragments)
      count.pushed += fragment.sql.find("outlast_p") != std::string::npos;
    const auto expected = comparable(plain.rows, query.ordered), actual = comparable(planned.rows, query.ordered);
    if (planned.error.empty() && expected == actual) continue;
    std::string out = about + "expected\n" + to_text(expected) + "but was\n" + planned.error + to_text(actual);
    for (const std::string& line : explain(*plan, [](RangeId) { return std::string("here"); })) out += line + "\n";
    return out;
  }
  return "";
}

TEST(Fragments, GiveWhatOneDatabaseGives) {
  Count count;
  const char* one = std::getenv("FRAGMENTS_SEED");
  if (one != nullptr) {
    EXPECT_EQ(difference(std::strtoull(one, nullptr, 10), nullptr, count), "");
    return;
  }
  const bool holds = rc::check("any rows, any query", [&count] {
    const auto seed = *rc::gen::noShrink(rc::gen::arbitrary<std::uint32_t>());
    const std::string found = difference(seed, nullptr, count);
    if (!found.empty())
      RC_FAIL(found + "replay: FRAGMENTS_SEED=" + std::to_string(seed) + " build/release/fragments_equal_test");
  });
  EXPECT_TRUE(holds);
  // The test means something only while most queries are really spread.
  RecordProperty("compared", count.compared);
  EXPECT_GT(count.compared, count.refused * 15);
  EXPECT_GT(count.fragments * 2, count.compared);
  EXPECT_GT(count.pushed * 12, count.compared);
}

using Case = std::pair<const char*, Mistake>;
class Planted : public testing::TestWithParam<Case> {};

TEST_P(Planted, IsFound) {
  Count count;
  for (std::uint64_t seed = 1; seed <= 150; ++seed)
    if (!difference(seed, GetParam().second, count).empty()) return;
  FAIL() << "not found in " << count.compared << " queries";
}

void limit_below_distinct(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments) replace_all(fragment.sql, "SELECT DISTINCT", "SELECT");
}
void distinct_only_below(SelectPlan& plan) {
  replace_all(plan.final_sql, "SELECT DISTINCT", "SELECT");
}
void mean_of_means(SelectPlan& plan) {
  for (int p = 1; p < 5; ++p) {
    const std::string sum = "outlast_p" + std::to_string(p), count = "outlast_p" + std::to_string(p + 1);
    const std::string before = plan.final_sql;
    replace_all(plan.final_sql, "sum(" + sum + ") / (NULLIF(sum(" + count + "), 0))", "avg(" + sum + ")");
    if (before != plan.final_sql)
      for (Fragment& fragment : plan.fragments) replace_all(fragment.sql, "sum((", "avg((");
  }
}
void counts_counted(SelectPlan& plan) {
  replace_all(plan.final_sql, "COALESCE(sum(", "COALESCE(count(");
  replace_all(plan.final_sql, "coalesce(sum(", "coalesce(count(");
}
void partition_forgotten(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    if (fragment.partitions.size() > 1) fragment.partitions.pop_back();
}
void partition_read_twice(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    if (fragment.partitions.size() > 1) fragment.partitions.push_back(fragment.partitions.front());
}
void offset_below(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    if (fragment.sql.find(" LIMIT ") != std::string::npos) fragment.sql += " OFFSET 1";
}
void order_below_turned(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    if (fragment.sql.find(" LIMIT ") != std::string::npos) replace_all(fragment.sql, " DESC", "");
}
void collation_lost(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    for (FragmentColumn& column : fragment.columns) replace_all(column.declared, " COLLATE RTRIM", "");
}
void affinity_lost(SelectPlan& plan) {
  for (Fragment& fragment : plan.fragments)
    for (FragmentColumn& column : fragment.columns) column.declared.clear();
}

INSTANTIATE_TEST_SUITE_P(Fragments, Planted,
                         testing::Values(Case{"limit_below_distinct", limit_below_distinct},
                                         Case{"distinct_only_below", distinct_only_below},
                                         Case{"mean_of_means", mean_of_means}, Case{"counts_counted", counts_counted},
                                         Case{"partition_forgotten", partition_forgotten},
                                         Case{"partition_read_twice", partition_read_twice},
                                         Case{"offset_below", offset_below},
                                         Case{"order_below_turned", order_below_turned},
                                         Case{"collation_lost", collation_lost}, Case{"affinity_lost", affinity_lost}),
                         [](const auto& info) { return info.param.first; });

}  // namespace
}  // namespace outlast::fragments::test
