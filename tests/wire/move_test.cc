// Sessions that move between two workers: what the client sees of it, which is nothing.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/wire/two_workers.h"

namespace outlast::testing {
namespace {
using namespace std::chrono_literals;
using When = sql::MoveView::When;
constexpr const char* kLong =
    "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT count(*) FROM "
    "c\"";

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}
void send(WireClient& client, const std::string& line) {
  EXPECT_TRUE(client.send(bytes_of(line)).ok());
}
std::string talk(WireClient& client, const std::vector<std::string>& lines) {
  std::string bytes;
  for (const std::string& line : lines) bytes += bytes_of(line);
  if (!client.send(bytes).ok()) return "cannot send";
  return until(client, "ReadyForQuery");
}
sql::MoveView only(sql::SqlServer& server) {
  const auto plan = server.move_plan();
  EXPECT_EQ(plan.size(), 1U);
  return plan.empty() ? sql::MoveView{} : plan.front();
}
std::string raw_byte(WireClient& client) {
  const auto byte = client.read_raw(1);
  return byte.ok() ? *byte : byte.error().message;
}
/// Waits until the session's bytes so far have been read.
bool read_more(sql::SqlServer& server, std::uint64_t before, std::size_t n) {
  return eventually([&] { return server.metrics().bytes_in >= before + n; });
}

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

TEST(SqlMove, AMessageMayBeCutAnywhere) {
  TwoWorkers workers;
  WireClient client = workers.started();
  const std::string message = bytes_of("Query \"SELECT 12\"");
  for (std::size_t cut = 0; cut <= message.size(); ++cut) {
    const bool odd = cut % 2 == 1;
    sql::SqlServer& from = odd ? workers.new_worker : workers.old;
    const std::uint64_t before = from.metrics().bytes_in;
    ASSERT_TRUE(client.send(message.substr(0, cut)).ok());
    if (cut < message.size()) ASSERT_TRUE(read_more(from, before, cut));
    ASSERT_TRUE(odd ? workers.back() : workers.there());
    ASSERT_TRUE(client.send(message.substr(cut)).ok());
    EXPECT_EQ(until(client, "ReadyForQuery"),
              "RowDescription ?column?:23:0\nDataRow \"12\"\nCommandComplete \"SELECT 1\"\nReadyForQuery I\n");
    if (cut < message.size()) EXPECT_EQ(workers.last().input(), message.substr(0, cut));
  }
}

TEST(SqlMove, AStartUpPacketMayBeCutAnywhere) {
  const std::string packet = bytes_of("Startup 3.0 user=ann database=defaultdb");
  for (const bool ssl : {false, true})
    for (const std::size_t cut : {0UL, 1UL, 3UL, 4UL, 7UL, 8UL, 20UL, packet.size() - 1}) {
      TwoWorkers workers;
      WireClient client;
      ASSERT_TRUE(client.connect("127.0.0.1", workers.port()).ok());
      ASSERT_TRUE(eventually([&] { return workers.old.load().all() == 1; }));
      if (ssl) {
        send(client, "SSLRequest");
        EXPECT_EQ(raw_byte(client), "N");
      }
      const std::uint64_t before = workers.old.metrics().bytes_in;
      ASSERT_TRUE(client.send(packet.substr(0, cut)).ok());
      ASSERT_TRUE(read_more(workers.old, before, cut));
      EXPECT_EQ(only(workers.old).when, When::kNow);
      ASSERT_TRUE(workers.there());
      EXPECT_TRUE(workers.last().starting());
      ASSERT_TRUE(client.send(packet.substr(cut)).ok());
      EXPECT_TRUE(has(until(client, "ReadyForQuery"), "ReadyForQuery I"));
      EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
    }
}

TEST(SqlMove, AWholeStartUpPacketIsAnsweredThereRatherThanRefusedHere) {
  TwoWorkers workers;
  workers.move(workers.old, workers.new_worker);
  workers.old.gate().close(lifecycle::WorkKind::kConnection, Error(Errc::kShuttingDown, "it leaves"));
  WireClient client = workers.started();
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
  EXPECT_EQ(workers.new_worker.metrics().sessions_open, 1);
}

TEST(SqlMove, AnAnswerThatTheClientDoesNotReadMovesToTheByte) {
  TwoWorkers workers({.output_bytes = 64U << 20});
  WireClient client = workers.started();
  constexpr int kRows = 400'000;
  send(client,
       "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 400000) SELECT x FROM c\"");
  int next = -1;  // the first message is the RowDescription
  const auto read_row = [&] {
    const auto message = client.read();
    ASSERT_TRUE(message.ok() && *message);
    if (next >= 0) ASSERT_EQ((*message)->to_line(), "DataRow \"" + std::to_string(next + 1) + "\"");
  };
  for (int round = 0; round < 3; ++round) {
    sql::SqlServer& from = round % 2 == 0 ? workers.old : workers.new_worker;
    ASSERT_TRUE(eventually([&] {
      const auto plan = from.move_plan();
      return plan.size() == 1 && plan.front().when == When::kNow;
    }));
    ASSERT_TRUE(round % 2 == 0 ? workers.there() : workers.back());
    EXPECT_GT(workers.last().output().size(), 0U);
    for (int row = 0; row < 100; ++row, ++next) read_row();
  }
  while (next < kRows) read_row(), ++next;
  EXPECT_EQ(until(client, "ReadyForQuery"), "CommandComplete \"SELECT 400000\"\nReadyForQuery I\n");
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
}

TEST(SqlMove, AStatementThatStillStreamsRowsEndsFirst) {
  TwoWorkers workers;
  WireClient client = workers.started();
  send(client,
       "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 600000) SELECT x FROM c\"");
  ASSERT_TRUE(eventually([&] { return workers.old.metrics().bytes_out > 100'000; }));
  workers.move(workers.old, workers.new_worker);
  EXPECT_EQ(only(workers.old).when, When::kLater);
  EXPECT_TRUE(has(only(workers.old).reason, "statement for ")) << only(workers.old).reason;
  int rows = 0;
  for (;; ++rows) {
    const auto message = client.read();
    ASSERT_TRUE(message.ok() && *message);
    if ((*message)->type == 'T') --rows;
    if ((*message)->type == 'C') break;
  }
  EXPECT_EQ(rows, 600'000);
  EXPECT_EQ(until(client, "ReadyForQuery"), "ReadyForQuery I\n");
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
  EXPECT_EQ(workers.moves, 1);
}

TEST(SqlMove, AHalfClosedClientGetsItsAnswer) {
  TwoWorkers workers;
  WireClient client = workers.started();
  ask(client, "BEGIN");
  workers.move(workers.old, workers.new_worker);
  ASSERT_TRUE(client.send(bytes_of("Query \"COMMIT\"") + bytes_of("Query \"SELECT 1\"")).ok());
  ::shutdown(client.fd(), SHUT_WR);
  const std::string answer = until(client, "nothing");
  EXPECT_TRUE(has(answer, "DataRow \"1\"")) << answer;
  EXPECT_TRUE(has(answer, "ReadyForQuery I\nclose\n")) << answer;
  EXPECT_TRUE(eventually([&] { return workers.new_worker.load().all() == 0; }));
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
  const auto be32 = [](std::uint32_t v) {
    return std::string{static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8),
                       static_cast<char>(v)};
  };
  std::atomic<bool> done{false};
  std::thread presser([&] {  // the statement may not have reached SQLite yet when the first request comes
    while (!done) {
      WireClient cancel;
      EXPECT_TRUE(cancel.connect("127.0.0.1", workers.port()).ok());
      EXPECT_TRUE(
          cancel.send(be32(16) + be32(80877102) + be32(static_cast<std::uint32_t>(client.pid)) + client.key).ok());
      until(cancel, "nothing");
      ::usleep(20'000);
    }
  });
  EXPECT_EQ(until(client, "ReadyForQuery"), "ErrorResponse ERROR 57014\nReadyForQuery I\n");
  done = true;
  presser.join();
  other = nullptr;
}

TEST(SqlMove, AnErrorInABatchIsSkippedToItsSyncThere) {
  TwoWorkers workers;
  WireClient client = workers.started();
  const std::uint64_t before = workers.old.metrics().bytes_in;
  const std::string sent = bytes_of("Parse \"\" \"SELEC 1\"") + bytes_of("Bind \"\" \"\"");
  ASSERT_TRUE(client.send(sent).ok());
  ASSERT_TRUE(read_more(workers.old, before, sent.size()));
  ASSERT_TRUE(workers.there());
  EXPECT_TRUE(workers.last().skip_to_sync());
  EXPECT_EQ(talk(client, {"Execute \"\" 0", "Sync"}), "ErrorResponse ERROR 42601\nReadyForQuery I\n");
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
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
