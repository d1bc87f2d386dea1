// What scripts cannot say: faults, limits, several clients at once, stopping.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/wire/talk.h"
#include "tests/wire/test_server.h"
#include "tests/wire/wire_client.h"

namespace outlast::testing {
namespace {
using namespace std::chrono_literals;
constexpr const char* kLong =
    "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT count(*) FROM "
    "c\"";
constexpr const char* kWide =
    "Query \"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000000) SELECT x FROM c\"";

WireClient started(TestServer& server) {
  WireClient client;
  EXPECT_TRUE(client.connect("127.0.0.1", server.port()).ok());
  const auto done = client.start("ann", "defaultdb");
  EXPECT_TRUE(done.ok()) << done.error().message;
  return client;
}
TEST(SqlSession, RefusesWith57P03BeforeAnythingElse) {
  TestServer server;
  server.cluster.refuse("the node is draining");
  WireClient client;
  ASSERT_TRUE(client.connect("127.0.0.1", server.port()).ok());
  ASSERT_TRUE(client.send(bytes_of("Startup 3.0")).ok());  // names no user: must not matter
  EXPECT_EQ(until(client, "ReadyForQuery"), "ErrorResponse FATAL 57P03\nclose\n");
}

TEST(SqlSession, RefusesConnectionsOverTheLimit) {
  TestServer server({.sessions_max = 1});
  WireClient first = started(server);
  WireClient second;
  ASSERT_TRUE(second.connect("127.0.0.1", server.port()).ok());
  ASSERT_TRUE(second.send(bytes_of("Startup 3.0 user=ann")).ok());
  EXPECT_EQ(until(second, "ReadyForQuery"), "ErrorResponse FATAL 53300\nclose\n");
  EXPECT_NE(ask(first, "SELECT 1").find("SELECT 1"), std::string::npos);
}

TEST(SqlSession, CancelEndsTheStatementAndTheSessionGoesOn) {
  TestServer server;
  WireClient client = started(server);
  ASSERT_TRUE(client.send(bytes_of(kLong)).ok());
  ASSERT_TRUE(eventually([&] { return server.server().load().busy == 1; }));
  const auto cancel = [&](const std::string& key) {
    WireClient other;
    EXPECT_TRUE(other.connect("127.0.0.1", server.port()).ok());
    EXPECT_TRUE(other.send(cancel_request(client.pid, key)).ok());
    EXPECT_EQ(until(other, "ReadyForQuery"), "close\n");  // never an answer
  };
  std::string wrong = client.key;
  wrong[0] = static_cast<char>(wrong[0] + 1);
  cancel(wrong);
  EXPECT_EQ(server.cluster.interrupts, 0);
  std::string answer;
  std::thread reader([&] { answer = until(client, "ReadyForQuery"); });
  // The statement may not have reached SQLite yet when the first request comes: a user presses again, too.
  std::atomic<bool> done{false};
  std::thread presser([&] {
    while (!done) cancel(client.key), ::usleep(20'000);
  });
  reader.join();
  done = true;
  presser.join();
  EXPECT_EQ(answer, "ErrorResponse ERROR 57014\nReadyForQuery I\n");
  EXPECT_NE(ask(client, "SELECT 1").find("SELECT 1"), std::string::npos);
}

TEST(SqlSession, AStatementWhoseClientIsGoneIsInterrupted) {
  TestServer server({.client_check = 50ms});
  {
    WireClient client = started(server);
    ASSERT_TRUE(client.send(bytes_of(kLong)).ok());
    ASSERT_TRUE(eventually([&] { return server.server().load().busy == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return server.cluster.sessions_open == 0; }));
}

TEST(SqlSession, AClientThatNeverReadsIsClosedWhileOthersGoOn) {
  TestServer server({.write_deadline = 300ms});
  WireClient deaf = started(server);
  const int small = 4096;
  ::setsockopt(deaf.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ASSERT_TRUE(deaf.send(bytes_of(kWide)).ok());
  WireClient other = started(server);
  EXPECT_TRUE(eventually([&] {
    EXPECT_NE(ask(other, "SELECT 1").find("SELECT 1"), std::string::npos);
    return server.server().metrics().slow_clients_closed == 1;
  }));
}

TEST(SqlSession, AnUnknownOutcomeIs40003AndTheSessionLivesOn) {
  TestServer server;
  WireClient client = started(server);
  ask(client, "CREATE TABLE t(a int)");
  server.cluster.fail_next_commit(Errc::kUnknownOutcome);
  EXPECT_EQ(ask(client, "INSERT INTO t VALUES (1)"), "ErrorResponse ERROR 40003\nReadyForQuery I\n");
  EXPECT_NE(ask(client, "SELECT a FROM t").find("SELECT 1"), std::string::npos);
  ask(client, "BEGIN; INSERT INTO t VALUES (2)");
  server.cluster.fail_next_commit(Errc::kUnknownOutcome);
  EXPECT_EQ(ask(client, "COMMIT"), "ErrorResponse ERROR 40003\nReadyForQuery I\n");
  server.cluster.fail_next_commit(Errc::kGatewayLost);
  EXPECT_EQ(ask(client, "INSERT INTO t VALUES (3)"), "ErrorResponse FATAL 08006\nclose\n");
}

TEST(SqlSession, IdleInTransactionEndsWith25P03) {
  TestServer server;
  WireClient client = started(server);
  ask(client, "SET idle_in_transaction_session_timeout = '50ms'");
  ask(client, "BEGIN");
  EXPECT_EQ(until(client, "ReadyForQuery"), "ErrorResponse FATAL 25P03\nclose\n");
}

TEST(SqlSession, StoppingClosesIdleSessionsAndLetsTransactionsEnd) {
  TestServer server;
  WireClient idle = started(server), busy = started(server);
  ask(busy, "BEGIN");
  std::thread stopper([&] { server.stop(10s); });
  EXPECT_EQ(until(idle, "ReadyForQuery"), "ErrorResponse FATAL 57P01\nclose\n");
  EXPECT_NE(ask(busy, "SELECT 1").find("ReadyForQuery T"), std::string::npos);
  EXPECT_EQ(ask(busy, "COMMIT"), "CommandComplete \"COMMIT\"\nReadyForQuery I\n");
  EXPECT_EQ(until(busy, "nothing"), "ErrorResponse FATAL 57P01\nclose\n");
  stopper.join();
  EXPECT_EQ(server.cluster.sessions_open, 0);
}

TEST(SqlSession, StoppingEndsEvenALongStatementAtItsLimit) {
  TestServer server;
  WireClient client = started(server);
  ASSERT_TRUE(client.send(bytes_of(kLong)).ok());
  ASSERT_TRUE(eventually([&] { return server.server().load().busy == 1; }));
  server.stop(50ms);
  EXPECT_EQ(until(client, "nothing"), "ErrorResponse ERROR 57014\nReadyForQuery I\nErrorResponse FATAL 57P01\nclose\n");
}

TEST(SqlSession, DatabasesAreMadeAndDroppedOutsideTransactionsOnly) {
  TestServer server;
  WireClient client = started(server);
  EXPECT_EQ(ask(client, "CREATE DATABASE shop"), "CommandComplete \"CREATE DATABASE\"\nReadyForQuery I\n");
  EXPECT_EQ(ask(client, "CREATE DATABASE shop"), "ErrorResponse ERROR 42P04\nReadyForQuery I\n");
  EXPECT_EQ(ask(client, "DROP DATABASE defaultdb"), "ErrorResponse ERROR 55006\nReadyForQuery I\n");
  EXPECT_EQ(ask(client, "SELECT 1; DROP DATABASE shop").find("CommandComplete \"DROP"), std::string::npos);
  EXPECT_EQ(ask(client, "DROP DATABASE shop"), "CommandComplete \"DROP DATABASE\"\nReadyForQuery I\n");
}

TEST(SqlSession, ACopyCutInTheMiddleLeavesNothing) {
  TestServer server;
  WireClient client = started(server);
  ask(client, "CREATE TABLE t(a int)");
  for (const bool polite : {true, false}) {
    WireClient cut = started(server);
    ASSERT_TRUE(cut.send(bytes_of("Query \"COPY t FROM STDIN\"")).ok());
    until(cut, "CopyInResponse");
    std::string rows;
    for (int i = 0; i < 5000; ++i) rows += "1\\n";
    ASSERT_TRUE(cut.send(bytes_of("CopyData \"" + rows + "\"")).ok());
    if (polite) {
      ASSERT_TRUE(cut.send(bytes_of("Terminate")).ok());
      EXPECT_EQ(until(cut, "nothing"), "close\n");
    }
    cut.close();
    EXPECT_TRUE(eventually([&] { return server.cluster.sessions_open == 1; }));
  }
  EXPECT_NE(ask(client, "SELECT count(*) FROM t").find("DataRow \"0\""), std::string::npos);
}

TEST(SqlSession, RealClientsWork) {
  if (std::system("command -v psql > /dev/null") != 0) GTEST_SKIP() << "psql is not installed";
  TestServer server;
  const std::string command = "bash " + std::string(OUTLAST_WIRE_DIR) + "/clients.sh " + std::to_string(server.port());
  EXPECT_EQ(std::system(command.c_str()), 0);
}
}  // namespace
}  // namespace outlast::testing
