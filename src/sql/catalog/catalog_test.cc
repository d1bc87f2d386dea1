#include "sql/catalog/catalog.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "sql/catalog/psql_queries_test.h"
#include "sql/translate/functions.h"
#include "sql/translate/translate.h"

namespace outlast::sql {
namespace {
using executor::Value;

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() {
    sqlite3_open(":memory:", &db_);
    const SqlClock clock{[] { return std::int64_t{0}; }, [] { return std::int64_t{0}; }};
    install_functions(db_, clock);
    ddl("create table t(id serial primary key, a int not null, b varchar(22) default 'x', c bool, unique (a, b))");
    ddl("create table pgbench_accounts(aid int not null, abalance int)");
    ddl("alter table pgbench_accounts add primary key (aid)");
    ddl("create index ti on t(a) where a > 1");
    ddl("create view v as select a from t");
    refresh();
  }
  ~CatalogTest() override { sqlite3_close(db_); }

  void ddl(const char* text) {
    const auto translated = translate(text);
    ASSERT_TRUE(translated.ok()) << translated.error().message;
    for (const auto& sql : translated->front().sql)
      ASSERT_EQ(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db_) << sql;
  }

  std::vector<std::vector<Value>> rows(const std::string& sql) {
    std::vector<std::vector<Value>> out;
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &s, nullptr), SQLITE_OK) << sqlite3_errmsg(db_);
    while (sqlite3_step(s) == SQLITE_ROW) {
      auto& row = out.emplace_back();
      for (int c = 0; c < sqlite3_column_count(s); ++c) {
        if (sqlite3_column_type(s, c) == SQLITE_NULL)
          row.emplace_back(executor::Null{});
        else if (sqlite3_column_type(s, c) == SQLITE_INTEGER)
          row.emplace_back(static_cast<std::int64_t>(sqlite3_column_int64(s, c)));
        else
          row.emplace_back(std::string(reinterpret_cast<const char*>(sqlite3_column_text(s, c))));
      }
    }
    sqlite3_finalize(s);
    return out;
  }

  void refresh() {
    const SchemaQueries q = schema_queries();
    const SchemaSnapshot snapshot{std::get<std::int64_t>(rows(q.version)[0][0]), rows(q.objects), rows(q.columns),
                                  rows(q.indexes), rows(q.index_columns)};
    const auto done = catalog_->refresh(snapshot, "bank", "ann", {{DatabaseId(1), "bank", RangeId(7)}});
    ASSERT_TRUE(done.ok());
  }

  std::string run(const std::string& text) {
    const auto translated = translate(text);
    if (!translated.ok()) return "ERROR " + translated.error().message;
    EXPECT_TRUE(translated->front().catalog) << text;
    std::vector<PgType> hints;
    for (const auto& hint : translated->front().columns) hints.push_back({hint.oid, hint.typmod});
    const auto result = catalog_->run(translated->front().sql[0], {}, hints);
    if (!result.ok()) return "ERROR " + result.error().message + " (" + result.error().detail + ")";
    std::string out;
    for (const auto& row : result->rows) {
      if (!out.empty()) out += ';';
      for (std::size_t c = 0; c < row.size(); ++c) out += (c > 0 ? "|" : "") + *encode_text(row[c], result->types[c]);
    }
    return out;
  }

  sqlite3* db_{nullptr};
  std::unique_ptr<Catalog> catalog_{Catalog::create()};
};

TEST_F(CatalogTest, EveryQueryOfPsqlAndPgbenchRuns) {
  for (const auto& [command, query] : kPsqlQueries) {
    const auto translated = translate(query);
    if (translated.ok() && !translated->front().catalog) continue;  // values of the session only
    const std::string got = run(query);
    EXPECT_FALSE(got.starts_with("ERROR")) << command << "\n" << query << "\n" << got;
  }
}

TEST_F(CatalogTest, ShowsTablesColumnsAndKeysAsPostgreSqlDoes) {
  EXPECT_EQ(run("select relname from pg_class where relkind = 'r' order by 1"), "pgbench_accounts;t");
  EXPECT_EQ(
      run("select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull from pg_attribute a join pg_class c "
          "on c.oid = a.attrelid where c.relname = 't' order by a.attnum"),
      "id|integer|t;a|integer|t;b|character varying(22)|f;c|boolean|f");
  EXPECT_EQ(
      run("select pg_get_indexdef(i.indexrelid), i.indisprimary from pg_index i where i.indrelid = "
          "'t'::regclass order by 1"),
      "CREATE INDEX ti ON public.t USING btree (a) WHERE (\"a\" > 1)|f;CREATE UNIQUE INDEX t_a_b_key ON public.t USING "
      "btree (a, b)|f;CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)|t");
  EXPECT_EQ(
      run("select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'pgbench_accounts'::regclass"),
      "pgbench_accounts_pkey|PRIMARY KEY (aid)");
  EXPECT_EQ(run("select datname from pg_database"), "bank");
  EXPECT_EQ(run("select column_default from information_schema.columns where table_name = 't' and column_name = 'id'"),
            "nextval('t_id_seq'::regclass)");
  EXPECT_TRUE(run("select 'none'::regclass").starts_with("ERROR relation \"none\" does not exist"));
}

TEST_F(CatalogTest, ShowsChecksAndBooleanDefaults) {
  ddl("create table c(a int check (a > 0 and a <> 7), b bool default true, \"X y\" text, "
      "constraint odd check (\"X y\" <> 'it''s (' ))");
  refresh();
  EXPECT_EQ(run("select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'c'::regclass and "
                "contype = 'c' order by 1"),
            "c_a_check|CHECK ((a > 0) AND (a <> 7));odd|CHECK (\"X y\" <> 'it''s (')");
  EXPECT_EQ(run("select relchecks from pg_class where relname = 'c'"), "2");
  EXPECT_EQ(run("select column_default from information_schema.columns where table_name = 'c' and column_name = 'b'"),
            "true");
}

TEST_F(CatalogTest, FollowsTheSchema) {
  ddl("create table later(x int)");
  refresh();
  EXPECT_EQ(run("select count(*) from pg_class where relname = 'later'"), "1");
}

TEST(CatalogWrites, AreRefused) {
  EXPECT_FALSE(translate("insert into pg_class(relname) values ('x')").ok());
  EXPECT_FALSE(translate("select * from pg_class, t").ok());
  EXPECT_FALSE(translate("drop table outlast_sequence").ok());
}

}  // namespace
}  // namespace outlast::sql
