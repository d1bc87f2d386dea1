#include "sql/translate/translate.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "executor/sqlite_error.h"
#include "sql/translate/functions.h"

namespace outlast::sql {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'123'456;  // 2023-11-14 22:13:20.123456 UTC

/// Runs PostgreSQL's SQL through the translator on an in-memory SQLite; rows as PostgreSQL's unaligned text.
class TranslateTest : public testing::Test {
 protected:
  TranslateTest() {
    sqlite3_open(":memory:", &db_);
    const SqlClock clock{[] { return kNow; }, [] { return kNow; }};
    EXPECT_EQ(install_functions(db_, clock), SQLITE_OK);
  }
  ~TranslateTest() override { sqlite3_close(db_); }

  std::string error(const Error& e) { return std::string(e.sqlstate()) + " " + e.message; }

  /// Rows "a|b;c|d", or "ERROR 42601 message".
  std::string run(const std::string& text, const std::vector<std::string>& params = {}) {
    auto translated = translate(text);
    if (!translated.ok()) return "ERROR " + error(translated.error());
    std::string out;
    for (const Translated& one : *translated) out = run_one(one, params);
    return out;
  }

  std::string run_one(const Translated& one, const std::vector<std::string>& params) {
    std::string out;
    for (const std::string& sql : one.sql) {
      sqlite3_stmt* statement = nullptr;
      if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) return sqlite_error(sql);
      for (std::size_t i = 0; i < params.size(); ++i) bind(statement, static_cast<int>(i + 1), params[i], one);
      int rc = 0;
      while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!one.returns_rows) continue;
        if (!out.empty()) out += ';';
        for (int c = 0; c < sqlite3_column_count(statement); ++c) out += (c > 0 ? "|" : "") + cell(statement, c, one);
      }
      if (rc != SQLITE_DONE) {
        out = sqlite_error(sql);
        sqlite3_finalize(statement);
        return out;
      }
      sqlite3_finalize(statement);
    }
    return out;
  }

  std::string sqlite_error(const std::string& sql) {
    const Error e = executor::map_sqlite_error(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_));
    EXPECT_NE(e.code, Errc::kInternal) << sql << ": " << sqlite3_errmsg(db_);
    return "ERROR " + error(e);
  }

  void bind(sqlite3_stmt* statement, int n, const std::string& text, const Translated& one) {
    const std::size_t i = static_cast<std::size_t>(n) - 1;
    auto value = decode_text(text, i < one.parameters.size() ? one.parameters[i] : 0);
    ASSERT_TRUE(value.ok()) << value.error().message;
    if (const auto* whole = std::get_if<std::int64_t>(&*value))
      sqlite3_bind_int64(statement, n, *whole);
    else if (const auto* real = std::get_if<double>(&*value))
      sqlite3_bind_double(statement, n, *real);
    else
      sqlite3_bind_text(statement, n, std::get<std::string>(*value).c_str(), -1, SQLITE_TRANSIENT);
  }

  /// As the session types it: the hint, else the declared type, else the value's own.
  std::string cell(sqlite3_stmt* statement, int c, const Translated& one) {
    if (sqlite3_column_type(statement, c) == SQLITE_NULL) return "";
    executor::Value value;
    const int kind = sqlite3_column_type(statement, c);
    switch (kind) {
      case SQLITE_INTEGER:
        value = static_cast<std::int64_t>(sqlite3_column_int64(statement, c));
        break;
      case SQLITE_FLOAT:
        value = sqlite3_column_double(statement, c);
        break;
      default:
        value = std::string(static_cast<const char*>(sqlite3_column_blob(statement, c)),
                            static_cast<std::size_t>(sqlite3_column_bytes(statement, c)));
    }
    if (kind == SQLITE_BLOB) value = executor::Blob{std::string(std::get<std::string>(value))};
    PgType type{type_of_value(value), -1};
    const auto i = static_cast<std::size_t>(c);
    const char* declared = sqlite3_column_decltype(statement, c);
    if (i < one.columns.size() && one.columns[i].oid != 0)
      type = {one.columns[i].oid, one.columns[i].typmod};
    else if (declared != nullptr && type_of_declaration(declared))
      type = *type_of_declaration(declared);
    auto text = encode_text(value, type);
    return text.ok() ? *text : "!" + text.error().message;
  }

  sqlite3* db_{nullptr};
};

struct Case {
  const char* sql;
  const char* expected;  ///< As PostgreSQL 15 answers; tests/wire/compare_answers.sh compares.
};

constexpr Case kExpressions[] = {
    {"SELECT 7/2, -7/2, 7%3, -7%3, 7.0/2", "3|-3|1|-1|3.5"},
    {"SELECT 2+3*4, (2+3)*4, 2^10, |/NULL IS NULL FROM (SELECT 1) s", "ERROR 42883"},
    {"SELECT 1/0", "ERROR 22012 division by zero"},
    {"SELECT 5%0", "ERROR 22012 division by zero"},
    {"SELECT 2147483647+1", "ERROR 22003 integer out of range"},
    {"SELECT 9223372036854775807+1", "ERROR 22003 bigint out of range"},
    {"SELECT 'a'||'b', 1||'x', true||'x', 1.5||'', NULL||'x'", "ab|1x|truex|1.5|"},
    {"SELECT 'abc' LIKE 'A%', 'abc' ILIKE 'A%', 'a_c' LIKE 'a\\_c', 'abc' LIKE 'a\\_c', 'abc' NOT LIKE '%b%'",
     "f|t|t|f|f"},
    {"SELECT 1 = 1, 1 <> 1, NULL = 1, 'a' < 'b', true AND false, NOT true, true OR NULL", "t|f||t|f|f|t"},
    {"SELECT 1 IS DISTINCT FROM NULL, NULL IS NOT DISTINCT FROM NULL, 1 IS NULL, true IS TRUE, NULL::bool IS UNKNOWN",
     "t|t|f|t|t"},
    {"SELECT CASE WHEN 1=2 THEN 'a' ELSE 'b' END, CASE 3 WHEN 3 THEN 'x' END, coalesce(NULL, 2), nullif(1,1)",
     "b|x|2|"},
    {"SELECT greatest(1, NULL, 3), least('b', 'a'), greatest(NULL, NULL)", "3|a|"},
    {"SELECT '12'::int + 1, 'yes'::bool, 2.5::int, 2.5::float8::int, 1::bool, true::int", "13|t|3|2|t|1"},
    {"SELECT 'abc'::int", "ERROR 22P02 invalid input syntax for type integer: \"abc\""},
    {"SELECT '99999999999'::int", "ERROR 22003 value \"99999999999\" is out of range for type integer"},
    {"SELECT length('h\303\244'), upper('abc'), substr('hello',2,3), substring('hello' from 2 for 2), "
     "substr('hello',-1,3)",
     "2|ABC|ell|el|h"},
    {"SELECT trim('  a '), trim(both 'x' from 'xax'), position('l' in 'hello'), replace('aXa','X','b'), "
     "left('abc',-1), right('abc',2)",
     "a|a|3|aba|ab|bc"},
    {"SELECT concat('a',NULL,1,true), concat_ws(',','a',NULL,'b'), repeat('ab',2), lpad('7',3,'0'), reverse('abc'), "
     "split_part('a,b,c',',',2)",
     "a1t|a,b|abab|007|cba|b"},
    {"SELECT round(2.5), round(2.5::float8), round(1.005,2), ceil(1.2), floor(-1.2), abs(-3), trunc(-1.7), mod(7,3), "
     "power(2,3), sqrt(9.0::float8)",
     "3|2|1.01|2|-2|3|-1|1|8|3"},
    {"SELECT 1e20::float8, 1e-5::float8, 0.1::float8, 123456789012345678::float8, 1.5::real",
     "1e+20|1e-05|0.1|1.2345678901234568e+17|1.5"},
    {"SELECT '\\xdeadBEEF'::bytea, 'x'::char(3), 'abcdef'::varchar(3), '2024-01-05'::date, '2024-1-5 10:00'::timestamp",
     "\\xdeadbeef|x  |abc|2024-01-05|2024-01-05 10:00:00"},
    {"SELECT '2024-01-05'::date + 30, '2024-03-01'::date - '2024-02-01'::date", "2024-02-04|29"},
    {"SELECT now() = current_timestamp, current_date, localtimestamp", "t|2023-11-14|2023-11-14 22:13:20.123456"},
    {"SELECT 3 IN (1,2,3), 3 NOT IN (1,2), 2 BETWEEN 1 AND 3, 2 = ANY(ARRAY[1,2]), (1,2) IN ((1,2),(3,4)), '3' = "
     "ANY('{1,3}')",
     "t|t|t|t|t|t"},
    {"SELECT (SELECT 1), EXISTS (SELECT 1 WHERE false), (SELECT x FROM (VALUES (1),(2)) v(x) ORDER BY x LIMIT 1)",
     "1|f|1"},
    {"SELECT (SELECT x FROM (VALUES (1),(2)) v(x))",
     "ERROR 22023 more than one row returned by a subquery used as an expression"},
    {"SELECT E'a\\tb', $$it's$$, U&'\\0041', 'it''s'", "a\tb|it's|A|it's"},
    {"SELECT 5 # 3, 6 & 3, 6 | 1, 1 << 4, ~5", "6|2|7|16|-6"},
    {"SELECT '5' = 5, 5 = '5', '10' > 9", "t|t|t"},
    {"SELECT 'a' ~ '^[ab]$', 'A' ~* 'a', 'b' !~ 'a'", "t|t|t"},
    {"SELECT * FROM generate_series(1,5,2) x", "1;3;5"},
    {"SELECT count(*), sum(x), avg(x), min(x), max(x), string_agg(x::text, ',') FROM generate_series(1,4) x",
     "4|10|2.5|1|4|1,2,3,4"},
    {"SELECT bool_and(x>0), bool_or(x>3), count(*) FILTER (WHERE x>2), count(DISTINCT x%2) FROM generate_series(1,4) x",
     "t|t|2|2"},
    {"SELECT x, row_number() OVER (ORDER BY x DESC), sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
     "FROM generate_series(1,3) x ORDER BY x",
     "1|3|1;2|2|3;3|1|5"},
    {"SELECT x FROM (VALUES (2),(NULL),(1)) v(x) ORDER BY x", "1;2;"},
    {"SELECT x FROM (VALUES (2),(NULL),(1)) v(x) ORDER BY x DESC NULLS LAST", "2;1;"},
    {"SELECT 1 UNION SELECT 2 INTERSECT SELECT 2 ORDER BY 1", "1;2"},
    {"(SELECT 1 UNION SELECT 2) EXCEPT SELECT 1", "2"},
    {"SELECT x FROM (VALUES (1),(2),(3)) v(x) ORDER BY x OFFSET 1 FETCH FIRST 1 ROW ONLY", "2"},
    {"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r WHERE n<4) SELECT sum(n) FROM r", "10"},
    {"VALUES (1,'a'),(2,'b')", "1|a;2|b"},
    {"SELECT a.x, b.y FROM (VALUES (1),(2)) a(x) LEFT JOIN (VALUES (1,'p')) b(x,y) USING (x) ORDER BY 1", "1|p;2|"},
    {"SELECT s.c FROM (SELECT count(*) AS c FROM generate_series(1,3)) s WHERE s.c = '3'", "3"},
    {"SELECT x%2, count(*) FROM generate_series(1,5) x GROUP BY x%2 HAVING count(*) > 2", "1|3"},
    {"SELECT 1::numeric", "ERROR 42704"},
    {"SELECT nosuch(1)", "ERROR 42883"},
    {"SELECT * FROM nosuch", "ERROR 42P01 relation \"nosuch\" does not exist"},
    {"SELECT DISTINCT ON (1) 1", "ERROR 42601"},
    {"SELEC 1", "ERROR 42601 syntax error at or near \"SELEC\""},
    {"SELECT \"no\"", "ERROR 42703 column \"no\" does not exist"},
    {"SELECT 1 WHERE 5", "ERROR 42804 argument of WHERE must be type boolean, not type integer"},
    {"SELECT x FROM generate_series(1,3) x LIMIT -1", "ERROR 22023 LIMIT must not be negative"},
};

TEST_F(TranslateTest, ExpressionsAndQueriesAnswerAsPostgreSqlDoes) {
  for (const Case& c : kExpressions) {
    const std::string got = run(c.sql);
    if (std::string_view(c.expected).starts_with("ERROR"))
      EXPECT_TRUE(got.starts_with(c.expected)) << c.sql << "\n" << got;
    else
      EXPECT_EQ(got, c.expected) << c.sql;
  }
}

TEST_F(TranslateTest, PgbenchRunsFromItsTablesToItsTransaction) {
  EXPECT_EQ(run("drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"), "");
  EXPECT_EQ(run("create table pgbench_history(tid int,bid int,aid int,delta int,mtime timestamp,filler char(22))"), "");
  EXPECT_EQ(
      run("create table pgbench_accounts(aid int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)"),
      "");
  EXPECT_EQ(run("create table pgbench_branches(bid int not null,bbalance int,filler char(88)) with (fillfactor=100)"),
            "");
  EXPECT_EQ(run("insert into pgbench_accounts(aid,bid,abalance,filler) select aid, (aid - 1) / 100000 + 1, 0, '' from "
                "generate_series(1, 100) as aid"),
            "");
  EXPECT_EQ(run("alter table pgbench_accounts add primary key (aid)"), "");
  EXPECT_EQ(run("truncate pgbench_accounts, pgbench_branches"), "");
  EXPECT_EQ(run("insert into pgbench_accounts(aid,bid,abalance,filler) values (1,1,0,'')"), "");
  EXPECT_EQ(run("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2", {"5", "1"}), "");
  EXPECT_EQ(run("SELECT abalance FROM pgbench_accounts WHERE aid = $1", {"1"}), "5");
  EXPECT_EQ(
      run("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, 1, 1, -5, CURRENT_TIMESTAMP)", {"1"}),
      "");
  EXPECT_EQ(run("select mtime, delta from pgbench_history"), "2023-11-14 22:13:20.123456|-5");
  EXPECT_TRUE(run("insert into pgbench_accounts(aid) values (1)").starts_with("ERROR 23505"));
  EXPECT_TRUE(run("insert into pgbench_accounts(aid) values (NULL)").starts_with("ERROR 23502"));
}

TEST_F(TranslateTest, ColumnsRefuseWhatTheirTypesRefuse) {
  ASSERT_EQ(run("create table t(i int, s smallint, b bool, v varchar(3), f float8, d date, ts timestamptz, u uuid, j "
                "json, y bytea, c char(3))"),
            "");
  const Case cases[] = {
      {"insert into t(i) values ('x')", "ERROR 22P02"},
      {"insert into t(i) values (2147483648)", "ERROR 22003"},
      {"insert into t(s) values (40000)", "ERROR 22003"},
      {"insert into t(b) values (2)", "ERROR 22P02"},
      {"insert into t(v) values ('abcd')", "ERROR 22001"},
      {"insert into t(f) values ('x')", "ERROR 22P02"},
      {"insert into t(d) values ('2024-02-30')", "ERROR 22007"},
      {"insert into t(ts) values ('soon')", "ERROR 22007"},
      {"insert into t(u) values ('x')", "ERROR 22P02"},
      {"insert into t(j) values ('{')", "ERROR 22P02"},
      {"insert into t(y) values ('x')", "ERROR 22P02"},
      {"insert into t(c) values ('abcd')", "ERROR 22001"},
  };
  for (const Case& c : cases) EXPECT_TRUE(run(c.sql).starts_with(c.expected)) << c.sql << "\n" << run(c.sql);
  EXPECT_EQ(run("insert into t values "
                "(1,2,true,'abc',3,'2024-02-29',now(),'12345678-1234-1234-1234-123456789abc','{\"a\":1}','\\x00ff'::"
                "bytea,'a')"),
            "");
  EXPECT_EQ(run("select * from t"),
            "1|2|t|abc|3|2024-02-29|2023-11-14 "
            "22:13:20.123456+00|12345678-1234-1234-1234-123456789abc|{\"a\":1}|\\x00ff|a  ");
  EXPECT_EQ(run("select count(*) from t where c = 'a  ' and b and f = 3"), "1");
  EXPECT_TRUE(run("create table n(x numeric(10,2))").starts_with("ERROR 42704"));
}

TEST_F(TranslateTest, PartsOfJsonAreReadAsPostgreSqlReadsThem) {
  ASSERT_EQ(run("create table t(j json)"), "");
  ASSERT_EQ(run(R"(insert into t values ('{"a":"x","n":2,"b":true,"s":"true","o":{"k":[7,8]},"z":null,"d.e":1}'))"),
            "");
  EXPECT_EQ(run("select j ->> 'a', j ->> 'n', j ->> 'b', j ->> 's', j -> 'a', j -> 's' from t"),
            R"(x|2|true|true|"x"|"true")");
  EXPECT_EQ(run("select j -> 'o' ->> 'k', j -> 'o' -> 'k' ->> 1, j ->> 'd.e' from t"), "[7,8]|8|1");
  EXPECT_EQ(run("select count(*) from t where j ->> 'a' = 'x' and j ->> 'none' is null"), "1");
}

TEST_F(TranslateTest, WritesConflictsAndReturningWork) {
  ASSERT_EQ(run("create table t(id serial primary key, a int unique, b text default 'x' check (b <> 'no'))"), "");
  EXPECT_EQ(run("insert into t(a) values (1),(2) returning id, a, b"), "1|1|x;2|2|x");
  EXPECT_EQ(run("insert into t(id, a) values (default, 3) returning id"), "3");
  EXPECT_EQ(run("insert into t(a) values (1) on conflict (a) do update set b = excluded.b || t.b returning id, b"),
            "1|xx");
  EXPECT_EQ(run("insert into t(a) select 2 on conflict do nothing returning id"), "");
  EXPECT_TRUE(run("insert into t(a,b) values (9,'no')").starts_with("ERROR 23514"));
  EXPECT_EQ(run("update t set b = v.y from (values (2,'two')) v(x,y) where t.a = v.x"), "");
  EXPECT_EQ(run("delete from t using (values (3)) v(x) where t.a = v.x"), "");
  EXPECT_EQ(run("update t set (a,b) = (20,'z') where a = 2 returning *"), "2|20|z");
  EXPECT_EQ(run("select a, b from t order by a"), "1|xx;20|z");
  EXPECT_TRUE(run("select a, count(*) from t").starts_with("ERROR 42803"));
  EXPECT_TRUE(run("select t.b from t group by a").starts_with("ERROR 42803"));
  EXPECT_EQ(run("select t.a from t group by a order by a"), "1;20");
  EXPECT_EQ(run("create view v as select count(*) as n from t"), "");
  EXPECT_EQ(run("select n from v where n = '2'"), "2");
  EXPECT_TRUE(run("select rowid from t").starts_with("ERROR 42703"));
  EXPECT_EQ(run("create table c as select 1::int as x, 'a'::text as y"), "");
  EXPECT_EQ(run("alter table c add column z bool default true"), "");
  EXPECT_EQ(run("select * from c"), "1|a|t");
  EXPECT_EQ(run("alter table c rename column y to w; alter table c rename to d"), "");
  EXPECT_EQ(run("select w from d"), "a");
}

TEST_F(TranslateTest, ParametersTakeTheTypeOfWhatTheyMeet) {
  EXPECT_EQ(run("select $1 = 5, $2 || 'x', 1 + $3", {"5", "a", "2"}), "t|ax|3");
  ASSERT_EQ(run("create table t(a int)"), "");
  ASSERT_EQ(run("insert into t values ($1)", {"7"}), "");
  EXPECT_EQ(run("select count(*) from t where a = $1 and a + 0 = $2 and a in ($3)", {"7", "7", "7"}), "1");
  EXPECT_EQ(run("select a from t group by a having max(a) = $1", {"7"}), "7");
  EXPECT_EQ(run("select a from t where a = any($1) limit $2", {"{1,7}", "1"}), "7");
  const auto one = translate("select $1::int, $2", {0, oid::kText});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->front().parameters, (std::vector<Oid>{oid::kInt4, oid::kText}));
}

TEST_F(TranslateTest, SessionCommandsSayWhatTheyAre) {
  const auto one = [](const char* text) { return translate(text)->front(); };
  EXPECT_EQ(one("begin isolation level serializable read only").kind, StatementKind::kBegin);
  EXPECT_TRUE(one("start transaction read only").read_only);
  EXPECT_EQ(one("end").kind, StatementKind::kCommit);
  EXPECT_EQ(one("rollback to savepoint s").name, "s");
  EXPECT_EQ(one("SET default_transaction_isolation TO 'SERIALIZABLE'").value, "SERIALIZABLE");
  EXPECT_EQ(one("SET search_path = a, b").value, "a, b");
  EXPECT_EQ(one("show transaction_read_only").name, "transaction_read_only");
  EXPECT_EQ(one("SET CLUSTER SETTING liveness.ttl = '9s'").value, "9s");
  EXPECT_EQ(one("alter database shop set replication_factor = 5").kind, StatementKind::kSetReplicationFactor);
  EXPECT_EQ(one("alter database shop set replication_factor to 5").value, "5");
  EXPECT_EQ(one("alter database shop reset replication_factor").value, "0");
  EXPECT_FALSE(translate("alter database shop set work_mem = 5").ok());
  EXPECT_EQ(one("show cluster settings").kind, StatementKind::kShowClusterSetting);
  EXPECT_EQ(one("Show Partitions;").name, "partitions");
  EXPECT_EQ(one("SHOW PARTITIONS FROM Orders").value, "orders");
  EXPECT_EQ(one("show partitions from \"Orders\"").value, "Orders");
  EXPECT_FALSE(translate("show partitions from a b").ok());
  const Translated orders =
      one("create table if not exists o (id int primary key) partition by hash (id) partitions 4;");
  EXPECT_EQ(orders.kind, StatementKind::kCreatePartitioned);
  EXPECT_EQ(orders.name, "o");
  EXPECT_TRUE(orders.if_not_exists);
  EXPECT_EQ(orders.tag, "CREATE TABLE");
  EXPECT_FALSE(translate("create table o (id int) partition by hash (id) partitions 4; select 1").ok());
  EXPECT_EQ(one("DECLARE _psql_cursor NO SCROLL CURSOR FOR select 1").inner_sql, "SELECT 1");
  EXPECT_EQ(one("FETCH FORWARD 10 _psql_cursor").fetch_count, 10);
  EXPECT_EQ(one("fetch all c").fetch_count, -1);
  EXPECT_EQ(one("prepare p(int) as select $1").inner_sql, "SELECT $1");
  EXPECT_EQ(one("execute p(1, 'x')").execute_params, (std::vector<std::string>{"1", "x"}));
  EXPECT_EQ(one("copy t(a,b) from stdin with (freeze on)").copy->columns.size(), 2U);
  EXPECT_EQ(one("copy t to stdout csv header").copy->delimiter, ",");
  EXPECT_EQ(one("vacuum analyze t").kind, StatementKind::kNothing);
  EXPECT_TRUE(one("select 1 for update").locks_rows);
  EXPECT_EQ(one(" ; ").kind, StatementKind::kEmpty);
  EXPECT_EQ(translate("select 1; select 2")->size(), 2U);
}

TEST_F(TranslateTest, ValuesOfTheSessionAreWrittenOut) {
  const SessionNames names{.user = "o'neil", .database = "bank", .node = 3};
  const auto said = translate("select current_user, current_database(), outlast_node_id() from t", {}, names);
  ASSERT_TRUE(said.ok());
  EXPECT_FALSE(said->front().catalog) << "they go together with tables";
  EXPECT_EQ(
      said->front().sql.front(),
      "SELECT 'o''neil' AS \"current_user\", 'bank' AS \"current_database\", 3 AS \"outlast_node_id\" FROM \"t\"");
  EXPECT_FALSE(translate("create view v as select current_user", {}, names).ok());
  EXPECT_FALSE(translate("create table d(x text default current_user)", {}, names).ok());
  EXPECT_EQ(translate("lock table t")->front().sql.size(), 1U);
}

TEST_F(TranslateTest, ARefusedCommandIsNamedAsTheClientWroteIt) {
  EXPECT_EQ(translate("listen x").error().message, "LISTEN is not supported; docs/sql.md lists the statements");
  EXPECT_TRUE(translate("create or replace function f() returns int language sql as ''")
                  .error()
                  .message.starts_with("CREATE FUNCTION is not"));
}

TEST_F(TranslateTest, ExplainKeepsTheStatementInside) {
  const auto explained = translate("explain (costs off) select a from t where b = 1");
  ASSERT_TRUE(explained.ok()) << explained.error().message;
  EXPECT_EQ(explained->front().kind, StatementKind::kExplain);
  EXPECT_EQ(explained->front().inner_sql, "SELECT a FROM t WHERE b = 1");
  EXPECT_FALSE(translate("explain analyze select 1").ok());
  EXPECT_FALSE(translate("explain create table t(a int)").ok());
}

TEST_F(TranslateTest, RefusalsSayWhere) {
  const auto wrong = translate("select '\303\244', nosuch(1)");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().position, 13);
  EXPECT_FALSE(translate(std::string(200'000, '(')).ok());
  std::string rows = "insert into t values (1)";
  for (int i = 0; i < 5'000; ++i) rows += ",(1)";
  EXPECT_TRUE(translate(rows).ok());
  std::string negations;
  for (int i = 0; i < 2'900; ++i) negations += "not ";
  EXPECT_FALSE(translate("select " + negations + "true").ok());
  std::string deep = "select 1";
  for (int i = 0; i < 20'000; ++i) deep += "+1";
  EXPECT_FALSE(translate(deep).ok());
}

}  // namespace
}  // namespace outlast::sql
