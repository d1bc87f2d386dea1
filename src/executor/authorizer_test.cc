#include "executor/authorizer.h"

#include <gtest/gtest.h>

#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using testing::ExecutorTest;

class AuthorizerTest : public ExecutorTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")), "");
    ASSERT_EQ(code(run("INSERT INTO t VALUES(1,'x')")), "");
  }
  std::string internal(std::string text) {
    const auto channel = open();
    proto::ExecRequest r = sql(std::move(text));
    r.mutable_run()->set_internal(true);
    return code(run(*channel, r));
  }
  using ExecutorTest::run;
};

TEST_F(AuthorizerTest, AllowsWhatTravelsAsFrames) {
  for (const char* text : {"INSERT INTO t VALUES(2,'y')",
                           "UPDATE t SET b='z'",
                           "CREATE INDEX i ON t(b)",
                           "REINDEX",
                           "ANALYZE",
                           "ALTER TABLE t ADD COLUMN c INTEGER",
                           "ALTER TABLE t ADD COLUMN d INTEGER CHECK (d > 0)",
                           "ALTER TABLE t RENAME COLUMN d TO e",
                           "ALTER TABLE t DROP COLUMN e",
                           "ALTER TABLE t RENAME TO u",
                           "ALTER TABLE u RENAME TO t",
                           "CREATE VIRTUAL TABLE f USING fts5(x)",
                           "INSERT INTO f VALUES('hello')",
                           "CREATE VIRTUAL TABLE g USING rtree(id,a,b)",
                           "CREATE VIEW v AS SELECT * FROM t",
                           "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET b='w'; END",
                           "PRAGMA user_version=5",
                           "PRAGMA application_id=9",
                           "DELETE FROM t",
                           "SELECT * FROM f WHERE f MATCH 'hello'",
                           "DROP VIEW v",
                           "DROP TABLE f"})
    EXPECT_EQ(code(run(text)), "") << text;
}

TEST_F(AuthorizerTest, RefusesWhatWouldBreakReplication) {
  for (const char* text : {"ATTACH '/tmp/outlast-should-not-exist' AS x",
                           "ATTACH '' AS x",
                           "ATTACH 'a' || 'b' AS x",
                           "DETACH main",
                           "PRAGMA journal_mode=delete",
                           "PRAGMA journal_mode",
                           "PRAGMA locking_mode=exclusive",
                           "PRAGMA synchronous=off",
                           "PRAGMA wal_autocheckpoint=1",
                           "PRAGMA wal_checkpoint",
                           "PRAGMA journal_size_limit=1",
                           "PRAGMA mmap_size=1000000",
                           "PRAGMA page_size=8192",
                           "PRAGMA encoding='UTF-16'",
                           "PRAGMA auto_vacuum=1",
                           "PRAGMA foreign_keys=off",
                           "PRAGMA recursive_triggers=on",
                           "PRAGMA writable_schema=on",
                           "PRAGMA schema_version=7",
                           "PRAGMA default_cache_size=7",
                           "SELECT * FROM pragma_table_info('t')",
                           "CREATE TEMP TABLE x(a)",
                           "CREATE TEMP VIEW x AS SELECT 1",
                           "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
                           "BEGIN",
                           "COMMIT",
                           "ROLLBACK",
                           "SAVEPOINT s",
                           "RELEASE s",
                           "SELECT load_extension('x')",
                           "CREATE VIRTUAL TABLE x USING dbstat"}) {
    const proto::ExecReply reply = run(text);
    EXPECT_EQ(code(reply), "insufficient_privilege") << text << ": " << reply.error().message();
    EXPECT_GT(reply.error().message().size(), 20U) << text;  // a sentence, not "not authorized"
    EXPECT_TRUE(reply.nothing_applied());
  }
}

TEST_F(AuthorizerTest, RefusesVacuumBecauseEveryWriteIsATransaction) {
  const std::string file = dir_.path() + "/copy.db";
  for (const std::string& text : {std::string("VACUUM"), "VACUUM INTO '" + file + "'"}) {
    const proto::ExecReply reply = run(text);
    EXPECT_NE(code(reply), "") << text;
    EXPECT_TRUE(reply.nothing_applied());
  }
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(AuthorizerTest, LetsOutlastItselfReadTheSchemaButNotChangeTheMode) {
  EXPECT_EQ(internal("PRAGMA table_xinfo('t')"), "");
  EXPECT_EQ(internal("SELECT * FROM pragma_index_list('t')"), "");
  EXPECT_EQ(internal("PRAGMA schema_version"), "");
  EXPECT_EQ(internal("SELECT * FROM sqlite_schema"), "");
  EXPECT_EQ(internal("PRAGMA journal_mode=delete"), "insufficient_privilege");
  EXPECT_EQ(internal("PRAGMA schema_version=9"), "insufficient_privilege");
  EXPECT_EQ(internal("BEGIN"), "insufficient_privilege");
  EXPECT_EQ(code(run("PRAGMA table_xinfo('t')")), "insufficient_privilege");
}

TEST_F(AuthorizerTest, KeepsTheCallersRightsWhenAStatementIsPreparedAnew) {
  const auto client = open();
  EXPECT_EQ(code(run(*client, sql("SELECT * FROM t"))), "");
  EXPECT_EQ(internal("SELECT * FROM pragma_table_info('t')"), "");
  EXPECT_EQ(code(run("ALTER TABLE t ADD COLUMN later INTEGER")), "");
  EXPECT_EQ(run(*client, sql("SELECT * FROM t")).columns_size(), 3);
  EXPECT_EQ(internal("SELECT * FROM pragma_table_info('t')"), "");
}

TEST(Refusal, LetsTheExecutorsOwnStatementsThrough) {
  EXPECT_FALSE(refusal(Caller::kOwn, {SQLITE_TRANSACTION, "BEGIN"}).has_value());
  EXPECT_TRUE(refusal(Caller::kClient, {SQLITE_TRANSACTION, "BEGIN"}).has_value());
  EXPECT_TRUE(refusal(Caller::kClient, {SQLITE_ATTACH, nullptr}).has_value());
  EXPECT_TRUE(refusal(Caller::kClient, {SQLITE_INSERT, "x", nullptr, "temp"}).has_value());
  EXPECT_TRUE(refusal(Caller::kClient, {SQLITE_FUNCTION, nullptr, "LOAD_EXTENSION"}).has_value());
}

}  // namespace
}  // namespace outlast::executor
