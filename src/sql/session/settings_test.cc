#include "sql/session/settings.h"

#include <gtest/gtest.h>

#include "sql/session/startup_options.h"

namespace outlast::sql {
namespace {
std::string shown(const SessionSettings& s, std::string_view name) {
  const auto value = s.show(name);
  return value.ok() ? value->value : std::string(value.error().sqlstate());
}

TEST(SessionSettings, TakesSetsBackWithARolledBackTransaction) {
  SessionSettings s;
  ASSERT_TRUE(s.set("application_name", "a", false).ok());
  s.begin();
  ASSERT_TRUE(s.set("application_name", "b", false).ok());
  ASSERT_TRUE(s.set("application_name", "c", true).ok());
  EXPECT_EQ(shown(s, "application_name"), "c");
  s.rollback();
  EXPECT_EQ(shown(s, "application_name"), "a");
}

TEST(SessionSettings, KeepsSetAndDropsSetLocalAtCommit) {
  SessionSettings s;
  s.begin();
  ASSERT_TRUE(s.set("application_name", "b", false).ok());
  ASSERT_TRUE(s.set("application_name", "c", true).ok());
  s.commit();
  EXPECT_EQ(shown(s, "application_name"), "b");
}

TEST(SessionSettings, RollsBackToASavepointOnly) {
  SessionSettings s;
  s.begin();
  ASSERT_TRUE(s.set("work_mem", "1MB", false).ok());
  s.savepoint("x");
  ASSERT_TRUE(s.set("work_mem", "2MB", false).ok());
  s.rollback_to("x");
  EXPECT_EQ(shown(s, "work_mem"), "1MB");
  s.commit();
  EXPECT_EQ(shown(s, "work_mem"), "1MB");
}

TEST(SessionSettings, AnswersUnknownAndWrongValuesWithPostgresCodes) {
  SessionSettings s;
  EXPECT_EQ(s.set("no_such_thing", "1", false).error().sqlstate(), "42704");
  EXPECT_EQ(shown(s, "no_such_thing"), "42704");
  EXPECT_EQ(s.set("client_encoding", "LATIN1", false).error().sqlstate(), "22023");
  EXPECT_EQ(s.set("default_transaction_read_only", "maybe", false).error().sqlstate(), "22023");
  EXPECT_EQ(s.set("statement_timeout", "soon", false).error().sqlstate(), "22023");
  EXPECT_EQ(s.set("server_version", "99", false).error().sqlstate(), "55000");
  EXPECT_EQ(s.set("DateStyle", "German", false).error().sqlstate(), "22023");
  EXPECT_TRUE(s.set("myapp.user_id", "7", false).ok());
  EXPECT_EQ(shown(s, "myapp.user_id"), "7");
}

TEST(SessionSettings, ShowsTimesAndDatesAsPostgresDoes) {
  SessionSettings s;
  ASSERT_TRUE(s.set("statement_timeout", "60000", false).ok());
  EXPECT_EQ(shown(s, "statement_timeout"), "1min");
  ASSERT_TRUE(s.set("statement_timeout", "1500ms", false).ok());
  EXPECT_EQ(shown(s, "STATEMENT_TIMEOUT"), "1500ms");
  EXPECT_EQ(s.duration("statement_timeout"), std::chrono::milliseconds(1500));
  ASSERT_TRUE(s.set("datestyle", "iso, dmy", false).ok());
  EXPECT_EQ(shown(s, "DateStyle"), "ISO, DMY");
}

TEST(SessionSettings, ReportsEachChangeOnce) {
  SessionSettings s;
  EXPECT_EQ(s.take_reports().size(), 13u);  // the set that PostgreSQL 15 sends
  EXPECT_TRUE(s.take_reports().empty());
  ASSERT_TRUE(s.set("application_name", "x", false).ok());
  ASSERT_TRUE(s.set("work_mem", "1MB", false).ok());
  const auto reports = s.take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0], (std::pair<std::string, std::string>("application_name", "x")));
}

TEST(SessionSettings, ResetsToWhatStartUpGave) {
  SessionSettings s;
  ASSERT_TRUE(s.set_default("application_name", "psql").ok());
  ASSERT_TRUE(s.set("application_name", "x", false).ok());
  ASSERT_TRUE(s.reset("application_name").ok());
  EXPECT_EQ(shown(s, "application_name"), "psql");
}

TEST(StartupOptions, ReadsPgoptions) {
  const auto options = parse_options("-c statement_timeout=5s --search-path=a\\ b  -cwork_mem=1MB");
  ASSERT_TRUE(options.ok());
  ASSERT_EQ(options->size(), 3u);
  EXPECT_EQ((*options)[0].second, "5s");
  EXPECT_EQ((*options)[1].first, "search_path");
  EXPECT_EQ((*options)[1].second, "a b");
  EXPECT_EQ((*options)[2].first, "work_mem");
  EXPECT_FALSE(parse_options("-x").ok());
  EXPECT_FALSE(parse_options("-c novalue").ok());
}
}  // namespace
}  // namespace outlast::sql
