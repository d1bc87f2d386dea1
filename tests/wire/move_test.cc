// Sessions that move between two workers: what the client sees of it, which is nothing.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/wire/two_workers.h"

namespace outlast::testing {
namespace {
using namespace std::chrono_literals;
using When = sql::MoveView::When;
constexpr const char* kLong =
    "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT count(*) FROM "
    "c\"";

TEST(SqlMove, AnIdleClientGoesOn) {
  TwoWorkers workers;
  WireClient client = workers.started();
  EXPECT_EQ(only(workers.old).when, When::kNow);
  const std::int32_t pid = client.pid;
  ASSERT_TRUE(workers.there());
  EXPECT_EQ(ask(client, "SELECT 1 AS one"),
            "RowDescription one:23:0\nDataRow \"1\"\nCommandComplete \"SELECT 1\"\nReadyForQuery I\n");
  EXPECT_EQ(workers.last().cancel_pid(), pid);
  EXPECT_EQ(workers.old.metrics().sessions_open, 0);
  EXPECT_EQ(workers.old.metrics().sessions_moved_out, 1U);
  EXPECT_EQ(workers.new_worker.metrics().sessions_open, 1);
  EXPECT_EQ(workers.new_worker.load().all(), 1U);
  const auto left = workers.old.gate().ledger().of(lifecycle::WorkKind::kConnection);
  EXPECT_EQ(left.of(lifecycle::Outcome::kDone), 1U);
  EXPECT_EQ(left.open(), 0U);
  EXPECT_EQ(workers.new_worker.gate().open_work(lifecycle::WorkKind::kConnection), 1U);
  EXPECT_TRUE(workers.back());
  EXPECT_TRUE(has(ask(client, "SELECT 2"), "DataRow \"2\""));
}

TEST(SqlMove, AClosedGateTakesMovedSessionsInButCountsThem) {
  TwoWorkers workers({.sessions_max = 1});
  WireClient client = workers.started();
  workers.new_worker.gate().close(lifecycle::WorkKind::kConnection, Error(Errc::kNotReady, "not yet"));
  ASSERT_TRUE(workers.there());
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
  EXPECT_EQ(workers.new_worker.gate().open_work(lifecycle::WorkKind::kConnection), 1U);
}

TEST(SqlMove, PreparedStatementsComeAlong) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "CREATE TABLE t(a int, b text); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
  talk(client, {"Parse \"named\" \"SELECT b FROM t WHERE a = $1\" 23", "Parse \"\" \"SELECT $1::int + 1\"", "Sync"});
  ask(client, "PREPARE sqlside(int) AS SELECT b FROM t WHERE a = $1");
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(round == 0 ? workers.there() : workers.back());
    EXPECT_EQ(talk(client, {"Bind \"\" \"named\" pf=1 rf=1 \"\\0\\0\\0\\x02\"", "Execute \"\" 0", "Sync"}),
              "BindComplete\nDataRow \"two\"\nCommandComplete \"SELECT 1\"\nReadyForQuery I\n");
    EXPECT_EQ(talk(client, {"Describe S \"named\"", "Sync"}),
              "ParameterDescription 23\nRowDescription b:25:0\nReadyForQuery I\n");
    EXPECT_EQ(talk(client, {"Bind \"\" \"\" pf=0 rf=1 \"41\"", "Execute \"\" 0", "Sync"}),
              "BindComplete\nDataRow \"\\x00\\x00\\x00*\"\nCommandComplete \"SELECT 1\"\nReadyForQuery I\n");
    EXPECT_TRUE(has(ask(client, "EXECUTE sqlside(1)"), "DataRow \"one\""));
  }
  EXPECT_EQ(workers.last().prepared_size(), 3);
  EXPECT_EQ(talk(client, {"Parse \"named\" \"SELECT 1\"", "Sync"}), "ErrorResponse ERROR 42P05\nReadyForQuery I\n");
  ASSERT_TRUE(workers.there());
  EXPECT_EQ(ask(client, "DEALLOCATE named"), "CommandComplete \"DEALLOCATE\"\nReadyForQuery I\n");
  EXPECT_EQ(ask(client, "DEALLOCATE ALL"), "CommandComplete \"DEALLOCATE ALL\"\nReadyForQuery I\n");
  ASSERT_TRUE(workers.back());
  EXPECT_EQ(ask(client, "EXECUTE sqlside(1)"), "ErrorResponse ERROR 26000\nReadyForQuery I\n");
}

TEST(SqlMove, SettingsComeAlongAndAreNotToldAgain) {
  TwoWorkers workers;
  WireClient client;
  ASSERT_TRUE(client.connect("127.0.0.1", workers.port()).ok());
  send(client, "Startup 3.0 user=ann database=defaultdb application_name=app my.own=x");
  until(client, "ReadyForQuery");
  EXPECT_TRUE(has(ask(client, "SET application_name = 'changed'"), "ParameterStatus application_name \"changed\""));
  ask(client, "SET statement_timeout = '7s'; SET my.other = 'y'");
  ASSERT_TRUE(workers.there());
  const auto shows = [&](const std::string& name, const std::string& value) {
    EXPECT_TRUE(has(ask(client, "SHOW " + name), "DataRow \"" + value + "\"")) << name;
  };
  EXPECT_EQ(ask(client, "SHOW application_name"),
            "RowDescription application_name:25:0\nDataRow \"changed\"\nCommandComplete \"SHOW\"\nReadyForQuery I\n");
  shows("statement_timeout", "7s");
  shows("my.own", "x");
  shows("my.other", "y");
  shows("session_authorization", "ann");
  EXPECT_EQ(ask(client, "RESET application_name"),
            "CommandComplete \"RESET\"\nParameterStatus application_name \"app\"\nReadyForQuery I\n");
  ask(client, "RESET statement_timeout");
  shows("statement_timeout", "0");
  ASSERT_TRUE(workers.back());
  EXPECT_EQ(ask(client, "SET application_name = 'app'"), "CommandComplete \"SET\"\nReadyForQuery I\n");
  for (const auto& variable : workers.last().variables()) EXPECT_NE(variable.name(), "statement_timeout");
}

TEST(SqlMove, AStatementTimeoutHoldsAfterTheMove) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "SET idle_session_timeout = '50ms'");
  ASSERT_TRUE(workers.there());
  EXPECT_EQ(until(client, "nothing"), "ErrorResponse FATAL 57P05\nclose\n");
}

TEST(SqlMove, ATransactionEndsFirst) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "CREATE TABLE t(a int)");
  ask(client, "BEGIN; INSERT INTO t VALUES (1)");
  workers.move(workers.old, workers.new_worker);
  const auto view = only(workers.old);
  EXPECT_EQ(view.when, When::kLater);
  EXPECT_TRUE(has(view.reason, "open transaction for ")) << view.reason;
  EXPECT_TRUE(has(view.session, " of ann")) << view.session;
  EXPECT_EQ(ask(client, "SAVEPOINT s"), "CommandComplete \"SAVEPOINT\"\nReadyForQuery T\n");
  EXPECT_EQ(workers.moves, 0);
  EXPECT_EQ(ask(client, "COMMIT"), "CommandComplete \"COMMIT\"\nReadyForQuery I\n");
  EXPECT_TRUE(has(ask(client, "SELECT count(*) FROM t"), "DataRow \"1\""));
  EXPECT_TRUE(eventually([&] { return workers.moves == 1; }));
}

TEST(SqlMove, WhatWasSentAheadIsServedThere) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "BEGIN");
  workers.move(workers.old, workers.new_worker);
  ASSERT_TRUE(
      client.send(bytes_of("Query \"COMMIT\"") + bytes_of("Query \"SELECT 1\"") + bytes_of("Query \"SELECT 2\"")).ok());
  EXPECT_EQ(until(client, "ReadyForQuery"), "CommandComplete \"COMMIT\"\nReadyForQuery I\n");
  EXPECT_TRUE(has(until(client, "ReadyForQuery"), "DataRow \"1\""));
  EXPECT_TRUE(has(until(client, "ReadyForQuery"), "DataRow \"2\""));
  EXPECT_EQ(workers.last().input(), bytes_of("Query \"SELECT 1\"") + bytes_of("Query \"SELECT 2\""));
  EXPECT_EQ(workers.new_worker.metrics().statements, 2U);
}

TEST(SqlMove, IdleOnesMoveAFewAtATime) {
  TwoWorkers workers;
  std::vector<WireClient> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(workers.started());
  ask(clients[0], "BEGIN");
  workers.move(workers.old, workers.new_worker, nullptr, 4);
  ASSERT_TRUE(eventually([&] { return workers.moves >= 4; }));
  workers.old.move_on(4);
  ASSERT_TRUE(eventually([&] { return workers.moves >= 8; }));
  // Nobody says any more that some have arrived.
  ASSERT_TRUE(eventually([&] { return workers.moves == 11; }));
  ask(clients[0], "COMMIT");
  EXPECT_TRUE(eventually([&] { return workers.moves == 12; }));
  for (WireClient& client : clients) ask(client, "SELECT 1");
}

TEST(SqlMove, ABatchWaitsForItsSync) {
  TwoWorkers workers;
  WireClient client = workers.started();
  workers.move(workers.old, workers.new_worker);
  ASSERT_TRUE(eventually([&] { return workers.moves == 1; }));
  workers.old.keep_sessions();
  const std::string begun = bytes_of("Parse \"\" \"SELECT 1\"") + bytes_of("Bind \"\" \"\"") + bytes_of("Flush");
  ASSERT_TRUE(client.send(begun).ok());
  EXPECT_EQ(until(client, "BindComplete"), "ParseComplete\nBindComplete\n");
  workers.move(workers.new_worker, workers.old);
  EXPECT_EQ(only(workers.new_worker).when, When::kLater);
  EXPECT_TRUE(has(only(workers.new_worker).reason, "open portal")) << only(workers.new_worker).reason;
  send(client, "Execute \"\" 0");
  send(client, "Flush");
  EXPECT_EQ(until(client, "CommandComplete"), "DataRow \"1\"\nCommandComplete \"SELECT 1\"\n");
  EXPECT_TRUE(eventually([&] { return has(only(workers.new_worker).reason, "open portal for "); }));
  EXPECT_EQ(workers.moves, 1);
  EXPECT_EQ(talk(client, {"Sync"}), "ReadyForQuery I\n");
  EXPECT_TRUE(eventually([&] { return workers.moves == 2; }));
  EXPECT_TRUE(has(ask(client, "SELECT 3"), "DataRow \"3\""));
}

TEST(SqlMove, CancelFindsTheSessionWhereItIs) {
  std::atomic<sql::SqlServer*> other{nullptr};
  TwoWorkers workers({.forward_cancel = [&](std::int32_t pid, std::string_view key) {
    return other.load() != nullptr && other.load()->cancel(pid, key);
  }});
  WireClient client = workers.started();
  ASSERT_TRUE(workers.there());
  other = &workers.new_worker;
  send(client, kLong);
  ASSERT_TRUE(eventually([&] { return workers.new_worker.load().busy == 1; }));
  EXPECT_FALSE(workers.new_worker.cancel(client.pid, "nope"));
  std::atomic<bool> done{false};
  std::thread presser([&] {  // the statement may not have reached SQLite yet when the first request comes
    while (!done) {
      WireClient cancel;
      EXPECT_TRUE(cancel.connect("127.0.0.1", workers.port()).ok());
      EXPECT_TRUE(cancel.send(cancel_request(client.pid, client.key)).ok());
      until(cancel, "nothing");
      ::usleep(20'000);
    }
  });
  EXPECT_EQ(until(client, "ReadyForQuery"), "ErrorResponse ERROR 57014\nReadyForQuery I\n");
  done = true;
  presser.join();
  other = nullptr;
}

TEST(SqlMove, ACopyEndsFirst) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "CREATE TABLE t(a int)");
  send(client, "Query \"COPY t FROM STDIN\"");
  until(client, "CopyInResponse");
  workers.move(workers.old, workers.new_worker);
  EXPECT_EQ(only(workers.old).when, When::kLater);
  EXPECT_TRUE(has(only(workers.old).reason, "COPY for ")) << only(workers.old).reason;
  send(client, "CopyData \"1\\n2\\n\"");
  EXPECT_EQ(talk(client, {"CopyDone"}), "CommandComplete \"COPY 2\"\nReadyForQuery I\n");
  EXPECT_TRUE(has(ask(client, "SELECT count(*) FROM t"), "DataRow \"2\""));
  EXPECT_EQ(workers.moves, 1);
}

TEST(SqlMove, SessionsThatHaveNotLeftStay) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "BEGIN");
  workers.move(workers.old, workers.new_worker);
  workers.old.keep_sessions();
  ask(client, "COMMIT");
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
  EXPECT_EQ(workers.moves, 0);
}

TEST(SqlMove, WhoIsToldToGoNowDoesNotMove) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "BEGIN");
  workers.move(workers.old, workers.new_worker);
  ASSERT_TRUE(eventually([&] { return workers.old.load().in_transaction == 1; }));
  workers.old.shed(sql::SqlServer::Shedding::kNow);
  EXPECT_EQ(until(client, "nothing"), "ErrorResponse FATAL 57P01\nclose\n");
  EXPECT_EQ(workers.moves, 0);
}
}  // namespace
}  // namespace outlast::testing
