#include "executor/script.h"

#include <gtest/gtest.h>

#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using testing::ExecutorTest;

TEST(Script, IsSplitAsItWasJoined) {
  const auto text = join_script({{"SELECT ';\n--then'"}, {"UPDATE t SET a = 1", true}, {"SELECT 2"}});
  ASSERT_TRUE(text);
  const auto steps = split_script(*text);
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[0].sql, "SELECT ';\n--then';");
  EXPECT_EQ(steps[1].sql, "UPDATE t SET a = 1;");
  EXPECT_EQ(steps[2].sql, "SELECT 2;");
  EXPECT_FALSE(steps[0].must_change);
  EXPECT_TRUE(steps[1].must_change);
}

TEST(Script, WhatCannotBeOneIsNone) {
  EXPECT_FALSE(join_script({{"SELECT '\n-- then\n'"}}));
  for (const std::string text :
       {"", "SELECT 1", "SELECT 1; SELECT 2", "-- outlast script\nSELECT 1", "-- outlast script\nSELECT 1\n-- else\n"})
    EXPECT_TRUE(split_script(text).empty()) << text;
}

class ScriptTest : public ExecutorTest {
 protected:
  void SetUp() override { ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")), ""); }
  /// No parameters but ?1 of the first step.
  static proto::ExecRequest script(const std::vector<ScriptStep>& steps, bool begin, std::int64_t first = 7) {
    proto::ExecRequest r = sql(*join_script(steps), begin);
    r.mutable_run()->set_internal(true);
    for (std::size_t i = 0; i < steps.size(); ++i) r.mutable_run()->add_params();
    if (!steps.empty()) r.mutable_run()->mutable_params(0)->add_values()->set_integer(first);
    return r;
  }
  using ExecutorTest::run;
};

TEST_F(ScriptTest, RunsAllStepsInTheTransaction) {
  const auto channel = open();
  const auto done = run(*channel, script({{"INSERT INTO t VALUES(?1, 'x')"},
                                          {"CREATE TABLE u(c INTEGER)"},
                                          {"INSERT INTO u SELECT a FROM t"},
                                          {"SELECT changes()"},
                                          {"SELECT c FROM u"},
                                          {"DROP TABLE u"}},
                                         true));
  ASSERT_EQ(code(done), "");
  EXPECT_EQ(rows(done), (std::vector<std::vector<Value>>{{Value(std::int64_t{1})}, {Value(std::int64_t{7})}}));
  EXPECT_EQ(done.changes(), 2);
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0) << "not visible to others yet";
  EXPECT_EQ(code(run(*channel, commit())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(ScriptTest, StopsWhereNothingChanged) {
  const auto channel = open();
  const auto done =
      run(*channel,
          script({{"UPDATE t SET b = 'y' WHERE a = ?1", true}, {"INSERT INTO t VALUES(1, 'x')"}, {"SELECT a FROM t"}},
                 true));
  EXPECT_EQ(code(done), "");
  EXPECT_TRUE(rows(done).empty());
  EXPECT_EQ(code(run(*channel, commit())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
}

TEST_F(ScriptTest, AnErrorFailsTheTransactionAndOutsideOfOneUndoesAll) {
  const std::vector<ScriptStep> steps{{"INSERT INTO t VALUES(?1, 'x')"}, {"INSERT INTO t SELECT * FROM t"}};
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, script(steps, true))), "unique_violation");
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "in_failed_transaction");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_EQ(code(run(*channel, script(steps, false))), "unique_violation");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
  EXPECT_EQ(code(run(*channel, script({steps.front()}, false))), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(ScriptTest, IsNotForClientsAndNeedsParametersForEachStep) {
  const auto channel = open();
  proto::ExecRequest clients = script({{"SELECT ?1"}, {"SELECT 2"}}, false);
  clients.mutable_run()->set_internal(false);
  clients.mutable_run()->clear_params();
  EXPECT_EQ(code(run(*channel, clients)), "syntax");
  proto::ExecRequest fewer = script({{"SELECT ?1"}, {"SELECT 2"}}, false);
  fewer.mutable_run()->mutable_params()->RemoveLast();
  EXPECT_EQ(code(run(*channel, fewer)), "protocol_violation");
}

}  // namespace
}  // namespace outlast::executor
