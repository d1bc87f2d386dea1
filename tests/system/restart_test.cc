// A node changes hands under its clients (protocol A8), on real processes.
#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "cli/restart_source.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;

/// A client that never expects anything to happen: one connection, no retries.
class NaiveClient {
 public:
  NaiveClient(const std::string& url, int number) : number_(number) {
    auto made = cli::PgConnection::connect(url, "defaultdb", 10s);
    if (!made.ok()) throw std::runtime_error(made.error().message);
    connection_ = std::make_unique<cli::PgConnection>(*std::move(made));
    thread_ = std::thread([this] { work(); });
  }
  ~NaiveClient() { stop(); }
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  const std::string& failure() const { return failure_; }  // after stop()
  long inserted() const { return inserted_; }
  Duration longest() const { return longest_; }

 private:
  void run(const std::string& sql) {
    if (!failure_.empty()) return;
    const auto began = std::chrono::steady_clock::now();
    const cli::PgReply reply = connection_->run(sql, 30s);
    longest_ = std::max<Duration>(longest_, std::chrono::steady_clock::now() - began);
    if (!reply.ok) failure_ = sql + ": " + reply.sqlstate + " " + reply.message;
  }
  void work() {
    for (long i = 0; !over_ && failure_.empty(); ++i) {
      const std::string id = std::to_string(number_ * 1'000'000L + i);
      if (i % 4 == 0) {
        run("BEGIN");
        run("INSERT INTO t VALUES (" + id + ")");
        run("COMMIT");
      } else {
        run("INSERT INTO t VALUES (" + id + ")");
      }
      if (failure_.empty()) inserted_ = i + 1;
      run("SELECT id FROM t WHERE id = " + id);
    }
  }
  const int number_;
  std::unique_ptr<cli::PgConnection> connection_;
  std::atomic<bool> over_{false};
  std::string failure_;
  long inserted_{0};
  Duration longest_{0};
  std::thread thread_;
};

class RestartTest : public testing_support::ClusterTest {
 protected:
  void start(int nodes) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(nodes));
    auto main = connect(0);
    must(main, "CREATE TABLE t (id bigint PRIMARY KEY)");
    if (nodes > 1) ASSERT_NO_FATAL_FAILURE(wait_replicated(nodes));
  }
  pid_t worker(int node) {
    const auto facts = cluster().facts(node);
    return facts.ok() ? facts->worker_pid : 0;
  }
  /// Restarts the node and returns the receipt.
  json::object restart(int node, const std::string& binary = "") {
    const auto source = cli::restart_by_store(cluster().store(node));
    const auto begun = source->start("a test", binary);
    if (!begun.ok()) return {{"outcome", begun.error().message}};
    json::object receipt;
    const auto waited = cluster().wait_until("the restart's receipt", 60s, [&] {
      const auto seen = source->look(begun->accepted_id());
      if (!seen.ok() || !*seen || !(*seen)->finished(begun->accepted_id())) return false;
      receipt = (*seen)->receipt;
      return true;
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message;
    return receipt;
  }
  static std::string outcome(const json::object& receipt) {
    const auto* text = receipt.if_contains("outcome");
    return text == nullptr ? "no receipt" : std::string(text->as_string());
  }
};

TEST_F(RestartTest, ASessionGoesOnWithEverythingThatItHad) {
  ASSERT_NO_FATAL_FAILURE(start(1));
  PGconn* const connection = PQconnectdb(cluster().sql_url(0).c_str());
  ASSERT_EQ(PQstatus(connection), CONNECTION_OK) << PQerrorMessage(connection);
  const auto ok = [&](PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    EXPECT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) << PQerrorMessage(connection);
    std::string value = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
    PQclear(result);
    return value;
  };
  ok(PQprepare(connection, "insert", "INSERT INTO t VALUES ($1)", 0, nullptr));
  ok(PQexec(connection, "SET application_name = 'before'"));
  const int backend = PQbackendPID(connection);
  for (int round = 0; round < 5; ++round) {
    const pid_t before = worker(0);
    const json::object receipt = restart(0);
    EXPECT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
    EXPECT_NE(worker(0), before);
    const std::string id = std::to_string(round);
    const char* const values[] = {id.c_str()};
    ok(PQexecPrepared(connection, "insert", 1, values, nullptr, nullptr, 0));
    EXPECT_EQ(ok(PQexec(connection, "SELECT count(*) FROM t")), std::to_string(round + 1));
    EXPECT_EQ(ok(PQexec(connection, "SHOW application_name")), "before");
    EXPECT_EQ(PQbackendPID(connection), backend);
  }
  PQfinish(connection);
}

TEST_F(RestartTest, AloneItHoldsStatementsAndFailsNone) {
  ASSERT_NO_FATAL_FAILURE(start(1));
  std::vector<std::unique_ptr<NaiveClient>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<NaiveClient>(cluster().sql_url(0), i));
  for (int round = 0; round < 3; ++round) {
    const json::object receipt = restart(0);
    EXPECT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
  }
  long inserted = 0;
  for (const auto& client : clients) {
    client->stop();
    EXPECT_EQ(client->failure(), "");
    inserted += client->inserted();
  }
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), std::to_string(inserted));
}

TEST_F(RestartTest, InAClusterEveryNodeChangesHandsUnderItsClients) {
  ASSERT_NO_FATAL_FAILURE(start(3));
  std::vector<std::unique_ptr<NaiveClient>> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(std::make_unique<NaiveClient>(cluster().sql_url(i % 3), i));
  for (int node = 0; node < 3; ++node) {
    const json::object receipt = restart(node);
    EXPECT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  long inserted = 0;
  for (const auto& client : clients) {
    client->stop();
    EXPECT_EQ(client->failure(), "");
    inserted += client->inserted();
  }
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), std::to_string(inserted));
}

TEST_F(RestartTest, AWorkerOutlivesItsSupervisorAndTheNextOneAdoptsIt) {
  ASSERT_NO_FATAL_FAILURE(start(1));
  auto client = connect(0);
  const pid_t before = worker(0);
  const pid_t first = cluster().facts(0)->pid;
  ::kill(first, SIGKILL);
  ASSERT_TRUE(cluster().wait_exit(0, 10s).ok());
  must(client, "INSERT INTO t VALUES (1)");
  const auto started = cluster().start(0);
  ASSERT_TRUE(started.ok()) << started.error().message;
  must(client, "INSERT INTO t VALUES (2)");
  const auto adopted = cluster().wait_until("the adoption", 30s, [&] {
    const auto facts = cluster().facts(0);
    return facts.ok() && facts->pid != first;
  });
  ASSERT_TRUE(adopted.ok()) << adopted.error().message;
  EXPECT_EQ(worker(0), before);
  EXPECT_EQ(outcome(restart(0)), "completed");
  must(client, "INSERT INTO t VALUES (3)");
  EXPECT_NE(worker(0), before);
}

}  // namespace
}  // namespace outlast
