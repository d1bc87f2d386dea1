// What sessions see of a restart when they are in the middle of something (docs/restart.md, "The contract").
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstring>

#include "server/restart_status.h"
#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using handover::HandoverState;
using server::text_of;
using testing_support::RestartsTest;
using testing_support::Role;

/// A client without a library: what is sent and when is the test's affair.
class RawClient {
 public:
  explicit RawClient(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~RawClient() { close(fd_); }
  int fd() const { return fd_; }
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void send_no_more() { shutdown(fd_, SHUT_WR); }
  /// The kinds of the messages up to ReadyForQuery or the end of the connection ("!"); repeated ones once.
  std::string answer() {
    std::string kinds;
    while (kinds.empty() || (kinds.back() != 'Z' && kinds.back() != '!')) {
      const std::string head = read_exactly(5);
      const char kind = head.size() == 5 ? head[0] : '!';
      if (kind != '!') {
        std::uint32_t length = 0;
        std::memcpy(&length, head.data() + 1, 4);
        const std::string body = read_exactly(ntohl(length) - 4);
        if (kind == 'D') ++rows_;
        if (kind == 'E') error_ = body;
      }
      if (kinds.empty() || kinds.back() != kind) kinds += kind;
    }
    return kinds;
  }
  long rows() const { return rows_; }
  const std::string& error() const { return error_; }

  static std::string startup() {
    using namespace std::string_literals;
    return framed("", "\0\3\0\0user\0root\0database\0defaultdb\0\0"s);
  }
  static std::string query(const std::string& sql) { return framed("Q", sql + '\0'); }

 private:
  static std::string framed(const std::string& kind, const std::string& body) {
    const std::uint32_t length = htonl(static_cast<std::uint32_t>(body.size() + 4));
    return kind + std::string(reinterpret_cast<const char*>(&length), 4) + body;
  }
  std::string read_exactly(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t at = 0; at < size;) {
      pollfd readable{fd_, POLLIN, 0};
      const ssize_t n = poll(&readable, 1, 30'000) == 1 ? read(fd_, bytes.data() + at, size - at) : -1;
      if (n <= 0) return {};
      at += static_cast<std::size_t>(n);
    }
    return bytes;
  }
  const int fd_;
  long rows_{0};
  std::string error_;
};

class RestartSessions : public RestartsTest {
 protected:
  std::string sql_addr() { return cluster().facts(0)->sql_addr; }
  std::unique_ptr<RawClient> raw_session() {
    auto client = std::make_unique<RawClient>(sql_addr());
    client->send(RawClient::startup());
    EXPECT_THAT(client->answer(), testing::EndsWith("Z"));
    return client;
  }
  void expect_completed(const json::object& told) { EXPECT_EQ(outcome(told), "completed") << json::serialize(told); }
  std::string count(const std::string& where) { return value(0, "defaultdb", "SELECT count(*) FROM t WHERE " + where); }
};

TEST_F(RestartSessions, HalfOfAMessageIsKept) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  const std::string startup = RawClient::startup(), insert = RawClient::query("INSERT INTO t VALUES (1)");
  RawClient starting(sql_addr()), silent(sql_addr());
  starting.send(startup.substr(0, 11));
  auto asking = raw_session();
  asking->send(insert.substr(0, 9));
  expect_completed(restart());
  asking->send(insert.substr(9, 5));
  starting.send(startup.substr(11, 3));
  expect_completed(restart());
  asking->send(insert.substr(14));
  EXPECT_EQ(asking->answer(), "CZ") << asking->error();
  starting.send(startup.substr(14));
  silent.send(startup);
  for (RawClient* client : {&starting, &silent}) {
    EXPECT_THAT(client->answer(), testing::EndsWith("Z")) << client->error();
    client->send(insert);
    EXPECT_EQ(client->answer(), "CZ") << client->error();
  }
  EXPECT_EQ(count("id = 1"), "3");
}

const std::string kLongAnswer =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) SELECT i, 'a text of some length "
    "that fills the buffers of everybody in between, and does so rather soon when there are many of it, as here' FROM "
    "n";

TEST_F(RestartSessions, AnAnswerThatTheClientReadsLateIsWhole) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto idle = raw_session(), client = raw_session();
  client->send(RawClient::query(kLongAnswer));
  const std::uint64_t id = begin_restart();
  wait("the move of the other session", [&] { return serves(process(Role::kNew), idle->fd()); });
  EXPECT_EQ(client->answer(), "TDCZ") << client->error();
  EXPECT_EQ(client->rows(), 40'000);
  expect_completed(receipt(id));
  client->send(RawClient::query("INSERT INTO t VALUES (1)"));
  EXPECT_EQ(client->answer(), "CZ");
  EXPECT_EQ(count("id = 1"), "1");
}

TEST_F(RestartSessions, AClientThatReadsNothingDoesNotHoldTheNode) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING handover.transaction_wait = '500ms'");
  auto client = raw_session();
  client->send(RawClient::query(kLongAnswer));
  const json::object told = restart();
  expect_completed(told);
  const json::array listed = server::array_of(server::object_of(told, "sessions"), "not_moved");
  ASSERT_EQ(listed.size(), 1U) << json::serialize(told);
  EXPECT_THAT(text_of(listed[0].as_object(), "reason"), testing::HasSubstr("statement"));
  EXPECT_THAT(client->answer(), testing::EndsWith("!"));
  EXPECT_LT(client->rows(), 40'000);
  must(main, "INSERT INTO t VALUES (1)");
}

TEST_F(RestartSessions, APeerThatSendsNoMoreGetsItsAnswer) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = raw_session(), silent = raw_session();
  auto held = hold("new", HandoverState::kSessions);
  const std::uint64_t id = begin_restart();
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  client->send(RawClient::query("INSERT INTO t VALUES (1)"));
  client->send_no_more();
  silent->send_no_more();
  held->release();
  EXPECT_EQ(client->answer(), "CZ") << client->error();
  EXPECT_EQ(client->answer(), "!");
  EXPECT_EQ(silent->answer(), "!");
  expect_completed(receipt(id));
  EXPECT_EQ(count("id = 1"), "1");
}

TEST_F(RestartSessions, ATransactionThatStaysOpenTooLongIsToldAndListed) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = connect(0);
  must(client, "SET CLUSTER SETTING handover.transaction_wait = '500ms'");
  must(client, "BEGIN");
  must(client, "INSERT INTO t VALUES (1)");
  const json::object told = restart();
  expect_completed(told);
  const json::array listed = server::array_of(server::object_of(told, "sessions"), "not_moved");
  ASSERT_EQ(listed.size(), 1U) << json::serialize(told);
  EXPECT_THAT(text_of(listed[0].as_object(), "reason"), testing::HasSubstr("open transaction"));
  std::optional<cli::PgFarewell> said;
  wait("the client's end", [&] { return (said = client.farewell()).has_value(); });
  EXPECT_EQ(said->sqlstate, "57P01");
  EXPECT_EQ(count("id = 1"), "0");
}

TEST_F(RestartSessions, AShortTransactionEndsAndItsSessionGoesOn) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto idle = raw_session(), client = raw_session();
  client->send(RawClient::query("BEGIN; INSERT INTO t VALUES (1)"));
  EXPECT_THAT(client->answer(), testing::EndsWith("CZ"));
  const std::uint64_t id = begin_restart();
  wait("the move of the other session", [&] { return serves(process(Role::kNew), idle->fd()); });
  for (const char* sql : {"INSERT INTO t VALUES (2)", "COMMIT", "INSERT INTO t VALUES (3)"}) {
    client->send(RawClient::query(sql));
    EXPECT_EQ(client->answer(), "CZ") << client->error();
  }
  const json::object told = receipt(id);
  expect_completed(told);
  EXPECT_TRUE(server::array_of(server::object_of(told, "sessions"), "not_moved").empty()) << json::serialize(told);
  EXPECT_EQ(count("id IN (1, 2, 3)"), "3");
}

TEST_F(RestartSessions, ACancelKeyOfBeforeReachesTheSession) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  PGconn* const connection = PQconnectdb(cluster().sql_url(0).c_str());
  ASSERT_EQ(PQstatus(connection), CONNECTION_OK);
  PGcancel* const cancel = PQgetCancel(connection);
  for (int i = 0; i < 2; ++i) expect_completed(restart());
  ASSERT_EQ(
      PQsendQuery(connection, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"),
      1);
  PQflush(connection);
  // A cancel that comes before the statement has begun ends nothing: asked until it is heard.
  PGresult* result = nullptr;
  wait("the end of the statement", [&] {
    char why[256];
    EXPECT_EQ(PQcancel(cancel, why, sizeof why), 1) << why;
    PQconsumeInput(connection);
    if (PQisBusy(connection) != 0) return false;
    result = PQgetResult(connection);
    return true;
  });
  const char* const code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  EXPECT_STREQ(code == nullptr ? "" : code, "57014");
  PQclear(result);
  PQfreeCancel(cancel);
  PQfinish(connection);
}

/// The statement waits for a transaction of the old worker, the worker of its session dies: nobody can know.
TEST_F(RestartSessions, AStatementInTheDeadProcessIsToldThatNobodyKnows) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto idle = raw_session(), blocker = raw_session(), client = raw_session(), after = raw_session();
  blocker->send(RawClient::query("BEGIN; INSERT INTO t VALUES (1)"));
  EXPECT_THAT(blocker->answer(), testing::EndsWith("CZ"));
  const std::uint64_t id = begin_restart();
  wait("the move of the sessions", [&] {
    const pid_t process_of_new = process(Role::kNew);
    return serves(process_of_new, client->fd()) && serves(process_of_new, after->fd());
  });
  client->send(RawClient::query("INSERT INTO t VALUES (2)"));
  // It was read: nothing waits in the socket any more. This session ends with the process if that dies at once.
  after->send(RawClient::query("SELECT 1"));
  EXPECT_THAT(after->answer(), testing::EndsWith("Z"));
  ASSERT_NO_FATAL_FAILURE(strike(process(Role::kNew), SIGKILL));
  const std::string end = client->answer();
  EXPECT_TRUE(end == "!" || (end == "E!" && client->error().find("08006") != std::string::npos) || end == "CZ") << end;
  EXPECT_EQ(outcome(receipt(id)), "rolled_back");
  blocker->send(RawClient::query("COMMIT"));
  EXPECT_EQ(blocker->answer(), "CZ") << blocker->error();
  idle->send(RawClient::query("INSERT INTO t VALUES (3)"));
  EXPECT_EQ(idle->answer(), "CZ") << idle->error();
  EXPECT_EQ(count("id IN (1, 3)"), "2");
  const std::string there = count("id = 2");
  EXPECT_TRUE(there == "1" || (there == "0" && end != "CZ")) << there << " after " << end;
  expect_nobody_left_over();
}

/// After the release there is no way back: the new program has two tries, then the old one has the node again.
TEST_F(RestartSessions, SessionsOutliveTwoNewWorkersThatDie) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  auto client = raw_session();
  auto held = hold("new", HandoverState::kStorageReleased);
  const std::uint64_t id = begin_restart(OUTLAST_NEXT_BINARY);
  pid_t last = 0;
  for (int i = 0; i < 2; ++i) {
    ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
    pid_t next = 0;
    wait("another new worker", [&] { return (next = process(Role::kNew)) != 0 && next != last; });
    last = next;
    auto next_hold = i == 0 ? hold("new", HandoverState::kStorageReleased) : nullptr;
    ASSERT_NO_FATAL_FAILURE(strike(last, SIGKILL));
    held = std::move(next_hold);
  }
  const json::object told = receipt(id);
  EXPECT_EQ(outcome(told), "recovered") << json::serialize(told);
  EXPECT_EQ(text_of(told, "to_version"), OUTLAST_VERSION);
  EXPECT_EQ(server::number_of(told, "attempts"), 3U);
  client->send(RawClient::query("INSERT INTO t VALUES (1)"));
  EXPECT_EQ(client->answer(), "CZ") << client->error();
  ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  expect_completed(restart());
}

TEST_F(RestartSessions, WithTooFewDescriptorsNothingMovesAndTheReasonIsTold) {
  ASSERT_NO_FATAL_FAILURE(start_one());
  std::vector<cli::PgConnection> clients;
  for (int i = 0; i < 60; ++i) clients.push_back(connect(0));
  rlimit before{};
  ASSERT_EQ(prlimit(supervisor(), RLIMIT_NOFILE, nullptr, &before), 0);
  rlimit little = before;
  little.rlim_cur = 100;  // inherited by the new worker
  ASSERT_EQ(prlimit(supervisor(), RLIMIT_NOFILE, &little, nullptr), 0);
  const json::object told = restart();
  EXPECT_EQ(outcome(told), "rolled_back") << json::serialize(told);
  EXPECT_THAT(text_of(told, "why"), testing::HasSubstr("may have 100 files open"));
  for (auto& client : clients) must(client, "SELECT 1");
  ASSERT_EQ(prlimit(supervisor(), RLIMIT_NOFILE, &before, nullptr), 0);
  expect_completed(restart());
  for (auto& client : clients) must(client, "SELECT 1");
}

}  // namespace
}  // namespace outlast
