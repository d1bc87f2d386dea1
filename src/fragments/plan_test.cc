#include "fragments/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fragments/write.h"

namespace outlast::fragments {
namespace {
using executor::Null;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// t: HASH of k in four partitions (ranges 10 … 13); e: RANGE of ts, the days of 2000-01-03 to 05 (20 … 22); p:
/// ordinary.
class PlanTest : public testing::Test {
 protected:
  PlanTest() {
    t_.scheme = Scheme{.column = "k", .type = KeyType::kInteger, .partitions = 4};
    for (Slot slot = 0; slot < 4; ++slot)
      t_.partitions.push_back({slot, RangeId(10 + static_cast<std::uint64_t>(slot))});
    e_.scheme = Scheme{.kind = Scheme::Kind::kRange,
                       .column = "ts",
                       .type = KeyType::kTimestamp,
                       .interval = *parse_interval("1 day")};
    for (Slot slot = 0; slot < 3; ++slot)
      e_.partitions.push_back({slot, RangeId(20 + static_cast<std::uint64_t>(slot))});
  }
  RangeId range_of(std::int64_t key) const {
    return RangeId(10 + static_cast<std::uint64_t>(*t_.scheme->slot_of(key)));
  }
  SelectPlan plan(const std::string& sql, std::vector<Value> parameters = {}) {
    auto out = plan_select(sql, {.find = find_, .parameters = parameters, .now_micros = 947'030'400'000'000});
    EXPECT_TRUE(out.ok()) << out.error().message;
    return out.ok() ? std::move(*out) : SelectPlan{};
  }
  /// The ranges that a SELECT touches.
  std::vector<std::uint64_t> ranges(const std::string& sql, std::vector<Value> parameters = {}) {
    std::vector<std::uint64_t> out;
    for (const RangeId range : ranges_of(plan(sql, std::move(parameters)))) out.push_back(range.value);
    return out;
  }
  Result<WritePlan> write(const std::string& sql, std::vector<Value> parameters = {}, std::vector<Value> keys = {}) {
    return plan_write(sql, {.find = find_, .parameters = parameters}, keys);
  }
  std::string refusal(const std::string& sql) {
    const auto out = write(sql);
    return out.ok() ? "" : out.error().message;
  }

  Table t_{.name = "t", .columns = {{"k", "BIGINT"}, {"a", "INT"}, {"s", "TEXT"}}};
  Table e_{.name = "e", .columns = {{"ts", "TIMESTAMP TEXT"}, {"n", "INT"}}};
  Table p_{.name = "p", .columns = {{"a", "INT"}}, .partitions = {{0, RangeId(1)}}};
  TableLookup find_ = [this](std::string_view name) {
    return name == "t" ? &t_ : name == "e" ? &e_ : name == "p" ? &p_ : nullptr;
  };
};

TEST_F(PlanTest, LeavesStatementsWithoutPartitionedTablesAlone) {
  for (const char* sql : {"SELECT 1", "SELECT a FROM p", "SELECT relname FROM pg_catalog.pg_class", "SELECT * FROM v"})
    EXPECT_EQ(plan(sql).kind, SelectPlan::Kind::kHome) << sql;
}

TEST_F(PlanTest, SendsWhatOneRangeHoldsThereWhole) {
  for (const char* sql : {"SELECT * FROM t WHERE k = 5", "SELECT * FROM t x WHERE x.k IN (5) AND a > 1",
                          "SELECT a FROM t WHERE k = '5'", "SELECT a FROM t WHERE k = 5::bigint OR k = 5.0"}) {
    const SelectPlan out = plan(sql);
    EXPECT_EQ(out.kind, SelectPlan::Kind::kOneRange) << sql;
    EXPECT_EQ(out.range, range_of(5)) << sql;
  }
  EXPECT_EQ(plan("SELECT a FROM t WHERE k = $1", {std::int64_t{5}}).range, range_of(5));
  EXPECT_EQ(plan("SELECT a FROM t WHERE k = $1").kind, SelectPlan::Kind::kFragments);  // not bound yet
  EXPECT_EQ(plan("SELECT * FROM t WHERE k = 5 AND a IN (SELECT a FROM p)").kind, SelectPlan::Kind::kFragments);
}

TEST_F(PlanTest, ChoosesDaysByComparingTexts) {
  EXPECT_THAT(ranges("SELECT * FROM e WHERE ts >= '2000-01-04 12:00:00'"), ElementsAre(21, 22));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE ts < '2000-01-05'"), ElementsAre(20, 21));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE '2000-01-04 00:00:00' = ts"), ElementsAre(21));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE ts BETWEEN timestamp '2000-01-03' AND '2000-01-04 00:00:00'"),
              ElementsAre(20, 21));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE ts > now()"), ElementsAre(22));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE ts > '2000-01-05' OR n = 1"), ElementsAre(20, 21, 22));
  EXPECT_THAT(ranges("SELECT * FROM e WHERE NOT ts > '2000-01-05'"), ElementsAre(20, 21, 22));
}

TEST_F(PlanTest, ChoosesNoPartitionByAFilterThatTheJoinMayUndo) {
  EXPECT_THAT(ranges("SELECT * FROM p LEFT JOIN e ON p.a = e.n WHERE e.ts > '2000-01-05'"), ElementsAre(1, 20, 21, 22));
  EXPECT_THAT(ranges("SELECT * FROM p LEFT JOIN e ON p.a = e.n AND e.ts > '2000-01-05'"), ElementsAre(1, 22));
  EXPECT_THAT(ranges("SELECT * FROM p JOIN e ON p.a = e.n WHERE e.ts > '2000-01-05'"), ElementsAre(1, 22));
}

TEST_F(PlanTest, SendsOnlyNeededColumnsAndFilters) {
  const SelectPlan out =
      plan("SELECT x.a FROM t x JOIN p ON p.a = x.a WHERE x.a > 1 AND p.a + x.a < 9 AND random() < 1");
  ASSERT_EQ(out.fragments.size(), 2U);
  EXPECT_EQ(out.fragments[0].sql, R"(SELECT "x"."a" AS "a" FROM "t" AS "x" WHERE x.a > 1)");
  EXPECT_EQ(out.fragments[1].sql, R"(SELECT "p"."a" AS "a" FROM "p" AS "p")");
  EXPECT_EQ(rows_table(out.fragments[0]), R"(CREATE TABLE "fragment_1" ("a" INT))");
  EXPECT_THAT(out.final_sql, HasSubstr("fragment_1 x JOIN fragment_2 p"));
}

TEST_F(PlanTest, SplitsAggregates) {
  const SelectPlan out = plan("SELECT a, avg(k), count(*) FROM t GROUP BY a HAVING count(*) > 1");
  ASSERT_EQ(out.fragments.size(), 1U);
  EXPECT_EQ(out.fragments[0].sql,
            R"(SELECT "t"."a" AS "a", sum(("t"."k")::float8) AS "outlast_p1", count("t"."k") AS "outlast_p2", )"
            R"(count(*) AS "outlast_p3" FROM "t" AS "t" GROUP BY a)");
  EXPECT_THAT(plan("SELECT count(DISTINCT a) FROM t").fragments[0].sql, Not(HasSubstr("count")));
}

TEST_F(PlanTest, FinishesGroupsBelowThatCannotCrossAPartition) {
  const SelectPlan out =
      plan("SELECT k, count(DISTINCT a) FROM t GROUP BY k HAVING min(a) > 1 ORDER BY 2 DESC, 1 LIMIT 3");
  EXPECT_THAT(out.fragments[0].sql, HasSubstr("HAVING min(a) > 1 ORDER BY count(DISTINCT a) DESC, k LIMIT 3"));
  EXPECT_THAT(out.final_sql, Not(HasSubstr("GROUP BY")));
}

TEST_F(PlanTest, PushesLimitsOnlyWithTheirOrder) {
  EXPECT_THAT(plan("SELECT a FROM t WHERE s = 'x' ORDER BY a DESC LIMIT 3 OFFSET 2").fragments[0].sql,
              HasSubstr("ORDER BY a DESC LIMIT 5"));
  EXPECT_THAT(plan("SELECT DISTINCT a FROM t ORDER BY a LIMIT 3").fragments[0].sql,
              HasSubstr("SELECT DISTINCT \"t\".\"a\" AS \"a\" FROM \"t\" AS \"t\" ORDER BY a LIMIT 3"));
  for (const char* sql :
       {"SELECT a FROM t ORDER BY random() LIMIT 3", "SELECT t.a FROM t JOIN p ON t.a = p.a LIMIT 3",
        "SELECT row_number() OVER (ORDER BY a) FROM t LIMIT 3", "SELECT a FROM t UNION SELECT a FROM t LIMIT 3",
        "SELECT a, count(*) FROM t GROUP BY a LIMIT 3", "SELECT a FROM t WHERE random() < 1 LIMIT 3"})
    EXPECT_THAT(plan(sql).fragments[0].sql, Not(HasSubstr("LIMIT"))) << sql;
}

TEST_F(PlanTest, NeverTakesACommonTableForATable) {
  const SelectPlan out =
      plan("WITH t AS (SELECT a FROM p), fragment_1 AS (SELECT a FROM e, p) SELECT * FROM t, fragment_1");
  ASSERT_EQ(out.fragments.size(), 3U);
  for (const Fragment& fragment : out.fragments) {
    EXPECT_NE(fragment.table, "t");
    EXPECT_NE(fragment.name, "fragment_1");
  }
}

TEST_F(PlanTest, RefusesWhatItCannotDo) {
  const PlanContext context{.find = find_};
  EXPECT_EQ(plan_select("SELECT * FROM t, nothing", context).error().code, Errc::kUndefinedTable);
  EXPECT_EQ(plan_select("SELECT * FROM t FOR UPDATE", context).error().code, Errc::kSyntax);
  EXPECT_TRUE(plan_select("SELECT * FROM t WHERE k = 1 FOR UPDATE", context).ok());
}

TEST_F(PlanTest, ExplainsFragmentsAndPlaces) {
  const auto lines = explain(plan("SELECT count(*) FROM e WHERE ts >= '2000-01-04'"),
                             [](RangeId range) { return range == RangeId(21) ? "node 1" : "node 2"; });
  EXPECT_THAT(lines, ElementsAre(HasSubstr("Final statement at the gateway: SELECT"),
                                 "  -> fragment_1 of e: 2 of 3 partitions; filter, partial aggregates",
                                 HasSubstr("count(*) AS \"outlast_p1\""), "       range 21 at node 1",
                                 "       range 22 at node 2"));
}

TEST_F(PlanTest, SplitsInsertsByKey) {
  const auto out = write("INSERT INTO t (s, k) VALUES ('x', 1), ('y', $1), ('z', 1) ON CONFLICT DO NOTHING RETURNING k",
                         {std::int64_t{2}});
  ASSERT_TRUE(out.ok()) << out.error().message;
  ASSERT_EQ(out->parts.size(), 2U);
  for (const WritePlan::Part& part : out->parts) {
    const bool first = part.partition->range == range_of(1);
    EXPECT_EQ(part.sql, std::string("INSERT INTO t (s, k) VALUES ") + (first ? "('x', 1), ('z', 1)" : "('y', $1)") +
                            " ON CONFLICT DO NOTHING RETURNING k");
  }
}

TEST_F(PlanTest, AsksForCalculatedKeysFirst) {
  const std::string sql = "INSERT INTO e VALUES (now(), 1), ('2000-01-03 10:00:00', 2)";
  const auto first = write(sql);
  ASSERT_EQ(first->kind, WritePlan::Kind::kKeys);
  EXPECT_EQ(first->keys_sql, "VALUES (now())");
  const auto second = write(sql, {}, {std::string("2000-01-09 00:00:00")});
  ASSERT_EQ(second->parts.size(), 2U);
  EXPECT_EQ(second->parts[1].slot, 6);
  EXPECT_FALSE(second->parts[1].partition);  // to be created
  EXPECT_EQ(second->parts[1].sql, "INSERT INTO e VALUES ('2000-01-09 00:00:00', 1)");
}

TEST_F(PlanTest, RunsChangesWhereTheirRowsMayBe) {
  EXPECT_EQ(write("UPDATE t SET a = 1 WHERE k = 5")->parts.at(0).partition->range, range_of(5));
  EXPECT_EQ(write("UPDATE t SET a = 1 WHERE k = 5")->parts.size(), 1U);
  EXPECT_EQ(write("DELETE FROM t WHERE a = 5")->parts.size(), 4U);
  EXPECT_EQ(write("DELETE FROM p")->kind, WritePlan::Kind::kHome);
  EXPECT_EQ(write("INSERT INTO t SELECT a, a, s FROM t")->kind, WritePlan::Kind::kQuery);
}

TEST_F(PlanTest, RefusesWritesWithTheReason) {
  EXPECT_THAT(refusal("UPDATE t SET k = 1"), HasSubstr("have to move"));
  EXPECT_THAT(refusal("INSERT INTO t VALUES (1) ON CONFLICT (k) DO UPDATE SET k = 2"), HasSubstr("have to move"));
  EXPECT_THAT(refusal("INSERT INTO t (a) VALUES (1)"), HasSubstr("needs a value"));
  EXPECT_THAT(refusal("INSERT INTO t DEFAULT VALUES"), HasSubstr("names no value"));
  EXPECT_THAT(refusal("DELETE FROM t WHERE a IN (SELECT a FROM p)"), HasSubstr("cannot read other tables"));
  EXPECT_THAT(refusal("DELETE FROM p WHERE a IN (SELECT a FROM t)"), HasSubstr("lies in other ranges"));
  EXPECT_EQ(write("INSERT INTO e VALUES (NULL, 1)").error().code, Errc::kNotNullViolation);
}

TEST_F(PlanTest, KeepsATransactionInOneRange) {
  const RangeId one(10), other(11);
  EXPECT_TRUE(admit_in_transaction(std::nullopt, ranges_of(plan("SELECT 1 FROM t WHERE k = 5"))).ok());
  EXPECT_TRUE(admit_in_transaction(one, std::vector{one}).ok());
  EXPECT_EQ(admit_in_transaction(one, std::vector{other}).error().sqlstate(), "25001");
  EXPECT_EQ(admit_in_transaction(std::nullopt, ranges_of(*write("DELETE FROM t"))).error().sqlstate(), "25001");
  EXPECT_EQ(admit_in_transaction(std::nullopt, ranges_of(plan("SELECT a FROM t"))).error().sqlstate(), "25001");
}

TEST_F(PlanTest, RoutesRows) {
  const std::vector<std::string> columns{"a", "k"};
  const auto router = RowRouter::make(t_, columns);
  ASSERT_TRUE(router.ok());
  EXPECT_EQ(router->route(std::vector<Value>{Null{}, std::int64_t{5}})->partition->range, range_of(5));
  EXPECT_EQ(router->route(std::vector<Value>{Null{}}).error().code, Errc::kBadCopyFormat);
  EXPECT_FALSE(RowRouter::make(t_, std::vector<std::string>{"a"}).ok());
}

}  // namespace
}  // namespace outlast::fragments
