// Sessions that move with bytes under way: half a message, half an answer.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/wire/two_workers.h"

namespace outlast::testing {
namespace {
using When = sql::MoveView::When;

TEST(SqlMoveBytes, AMessageMayBeCutAnywhere) {
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

TEST(SqlMoveBytes, AStartUpPacketMayBeCutAnywhere) {
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

TEST(SqlMoveBytes, AWholeStartUpPacketIsAnsweredThereRatherThanRefusedHere) {
  TwoWorkers workers;
  workers.move(workers.old, workers.new_worker);
  workers.old.gate().close(lifecycle::WorkKind::kConnection, Error(Errc::kShuttingDown, "it leaves"));
  WireClient client = workers.started();
  EXPECT_TRUE(has(ask(client, "SELECT 1"), "DataRow \"1\""));
  EXPECT_EQ(workers.new_worker.metrics().sessions_open, 1);
}

TEST(SqlMoveBytes, AnAnswerThatTheClientDoesNotReadMovesToTheByte) {
  TwoWorkers workers({.output_bytes = 64U << 20});
  WireClient client = workers.started();
  constexpr int kRows = 400'000;
  const std::uint64_t before = workers.old.metrics().bytes_in;
  send(client,
       "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 400000) SELECT x FROM c\"");
  ASSERT_TRUE(read_more(workers.old, before, 1));
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

TEST(SqlMoveBytes, AStatementThatStillStreamsRowsEndsFirst) {
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

TEST(SqlMoveBytes, AHalfClosedClientGetsItsAnswer) {
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

TEST(SqlMoveBytes, AnErrorInABatchIsSkippedToItsSyncThere) {
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
}  // namespace
}  // namespace outlast::testing
