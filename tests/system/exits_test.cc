// Exits that do not go as planned: too long queries, processes that hang or are killed, silence that is none.
#include <libpq-fe.h>

#include <atomic>
#include <csignal>
#include <future>
#include <memory>
#include <optional>
#include <set>

#include "support/roles_cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::Finished;
using testing_support::run_outlast;

/// A client that reads some rows of a large result and stops reading: the rest waits where it is calculated.
class SlowReader {
 public:
  explicit SlowReader(const std::string& url, const char* query = "SELECT a.k, repeat('x', 1000) FROM q a, q b")
      : connection_(PQconnectdb(url.c_str()), &PQfinish) {
    EXPECT_EQ(PQstatus(connection_.get()), CONNECTION_OK) << PQerrorMessage(connection_.get());
    EXPECT_EQ(PQsendQuery(connection_.get(), query), 1);
    EXPECT_EQ(PQsetSingleRowMode(connection_.get()), 1);
    EXPECT_EQ(read(10), "");
  }
  /// So many rows, or all; the SQLSTATE that ended them early.
  std::string read(int rows_max) {
    for (int i = 0; i < rows_max; ++i) {
      const std::unique_ptr<PGresult, decltype(&PQclear)> row(PQgetResult(connection_.get()), &PQclear);
      if (!row) break;
      const ExecStatusType status = PQresultStatus(row.get());
      if (status == PGRES_SINGLE_TUPLE) ++rows_;
      if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) {
        const char* const code = PQresultErrorField(row.get(), PG_DIAG_SQLSTATE);
        return code == nullptr ? PQerrorMessage(connection_.get()) : code;
      }
    }
    return {};
  }
  int rows() const { return rows_; }
  static constexpr int kAll = 40000;

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  int rows_{0};
};

class ExitsTest : public testing_support::RolesClusterTest {
 protected:
  /// A table over two partitions, whose queries a compute node runs.
  void make_partitioned(cli::PgConnection& sql) {
    must(sql, "CREATE TABLE q (k bigint, s text) PARTITION BY HASH (k) PARTITIONS 2");
    std::string rows;
    for (int k = 0; k < 200; ++k) rows += (k == 0 ? "(" : ", (") + std::to_string(k) + ", 'row')";
    must(sql, "INSERT INTO q VALUES " + rows);
  }
  std::string running(cli::PgConnection& sql, int node) {
    return cell(sql, "COMPUTE NODES", id(node), "NumRunningQueries");
  }
  void expect_whole(int replicas) {
    ASSERT_NO_FATAL_FAILURE(wait_replicated(replicas));
    const Finished verified = run_outlast("range verify --host=" + cluster().facts(0)->listen_addr, 30);
    EXPECT_EQ(verified.code, 0) << verified.output;
  }
  pid_t worker(int node) { return cluster().facts(node)->worker_pid; }
};

/// Inserts numbers from 1000 until told to stop, each until it is there: what a client with retries does.
class Inserts {
 public:
  explicit Inserts(const std::string& url)
      : done_(std::async(std::launch::async, [this, url] {
          std::optional<cli::PgConnection> sql;
          for (int next = 1000; !over_;) {
            if (!sql || sql->broken()) {
              auto made = cli::PgConnection::connect(url, "defaultdb", 5s);
              if (!made.ok()) continue;
              sql.emplace(*std::move(made));
            }
            const auto reply = sql->run(
                "INSERT INTO t VALUES (" + std::to_string(next) + ") ON CONFLICT DO NOTHING RETURNING id", 30s);
            if (!reply.ok) continue;
            ++next;
            acknowledged_ = next - 1000;
          }
        })) {}
  int acknowledged() const { return acknowledged_; }
  int stop() {
    over_ = true;
    done_.get();
    return acknowledged_;
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> acknowledged_{0};
  std::future<void> done_;
};

TEST_F(ExitsTest, AComputeNodeWaitsForItsQueriesAndEndsWithTheLast) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "compute"}, 1));
  auto sql = connect(0);
  must(sql, "SET CLUSTER SETTING loop_count_wait_fragments_finish = 60");
  ASSERT_NO_FATAL_FAILURE(make_partitioned(sql));
  SlowReader reader(cluster().sql_url(0));
  EXPECT_EQ(running(sql, 2), "1");
  ASSERT_NO_FATAL_FAILURE(stop(2, {"-g"}));
  until("SHUTDOWN", [&] { return cell(sql, "COMPUTE NODES", id(2), "StatusCode") == "SHUTDOWN"; });
  EXPECT_EQ(must(sql, "SELECT count(*) FROM q").rows[0][0], "200") << "new queries run elsewhere";
  EXPECT_EQ(running(sql, 2), "1");
  EXPECT_EQ(reader.read(SlowReader::kAll + 1), "");
  EXPECT_EQ(reader.rows(), SlowReader::kAll) << "within the window it ends";
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_FALSE(cluster().running(2));
}

TEST_F(ExitsTest, AfterTheWindowQueriesOfAComputeNodeAreCutAndItEnds) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "compute"}, 1));
  auto sql = connect(0), late = connect(0);
  ASSERT_NO_FATAL_FAILURE(make_partitioned(sql));
  must(sql, "SET CLUSTER SETTING loop_count_wait_fragments_finish = 0");
  SlowReader reader(cluster().sql_url(0));
  auto endless = std::async(std::launch::async, [&] {
    must(late, "SET statement_timeout = '15s'");
    return late.run("SELECT count(*) FROM q a, q b, q c, q d, q e WHERE a.k + b.k + c.k + d.k + e.k = -1", 60s);
  });
  until("both queries at the compute node", [&] { return running(sql, 2) == "2"; });
  ASSERT_NO_FATAL_FAILURE(stop(2, {"-g"}));
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_EQ(stop_output().find("SIGKILL"), std::string::npos) << stop_output();
  EXPECT_FALSE(cluster().running(2));
  EXPECT_EQ(reader.read(SlowReader::kAll + 1), "40001");
  EXPECT_LT(reader.rows(), SlowReader::kAll);
  const cli::PgReply ended = endless.get();
  EXPECT_EQ(ended.sqlstate, "57014") << "it began again elsewhere, and its time is up: " << ended.message;
  EXPECT_EQ(must(sql, "SELECT count(*) FROM q").rows[0][0], "200");
}

TEST_F(ExitsTest, TheLeaseThatAQueryNeedsLeavesAfterIt) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "backend", "backend"}, 3));
  auto sql = connect(0);
  must(sql, "SET CLUSTER SETTING loop_count_wait_fragments_finish = 60");
  const int node = leaseholder_of("defaultdb");
  SlowReader reader(cluster().sql_url(0), "SELECT a.id, repeat('x', 1000) FROM t a, t b, t c LIMIT 40000");
  ASSERT_NO_FATAL_FAILURE(stop(node, {"-g"}));
  until("SHUTDOWN", [&] { return code_of(sql, id(node)) == "SHUTDOWN"; });
  // Several rounds of the leader frontend's placement.
  for (const auto end = std::chrono::steady_clock::now() + 5s; std::chrono::steady_clock::now() < end;)
    ASSERT_EQ(leaseholder_of("defaultdb"), node) << "the query would have begun again elsewhere";
  EXPECT_EQ(must(sql, "SELECT count(*) FROM t").rows[0][0], "100") << "served where the lease is";
  EXPECT_EQ(reader.read(SlowReader::kAll + 1), "");
  EXPECT_EQ(reader.rows(), SlowReader::kAll);
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_FALSE(cluster().running(node));
  EXPECT_EQ(must(sql, "SELECT count(*) FROM t").rows[0][0], "100");
  EXPECT_NE(leaseholder_of("defaultdb"), node);
}

TEST_F(ExitsTest, AHardStopKillsAtOnceAndNothingIsLost) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "backend", "backend"}, 3));
  const int node = leaseholder_of("defaultdb");
  Inserts inserts(cluster().sql_url(0));
  until("writes", [&] { return inserts.acknowledged() > 5; });
  ASSERT_NO_FATAL_FAILURE(stop(node, {"--hard"}));
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_NE(stop_output().find("SIGKILL"), std::string::npos) << stop_output();
  EXPECT_FALSE(cluster().running(node)) << "no new worker either";
  const int before = inserts.acknowledged();
  until("writes at another backend", [&] { return inserts.acknowledged() > before + 5; });
  const int written = inserts.stop();
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), std::to_string(100 + written));
  ASSERT_TRUE(cluster().start(node).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(node));
  ASSERT_NO_FATAL_FAILURE(expect_whole(3));
}

TEST_F(ExitsTest, ABackendThatHangsInTheMiddleOfItsExitIsKilledUnderWrites) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "backend", "backend"}, 3));
  auto sql = connect(0), reader = connect(0);
  must(sql, "SET CLUSTER SETTING loop_count_wait_fragments_finish = 60");
  const int hangs = leaseholder_of("defaultdb");
  Inserts inserts(cluster().sql_url(0));
  must(reader, "BEGIN");
  must(reader, "SELECT count(*) FROM t");  // holds the exit open
  ASSERT_NO_FATAL_FAILURE(stop(hangs, {"-g", "--timeout", "8"}));
  until("SHUTDOWN", [&] { return code_of(sql, id(hangs)) == "SHUTDOWN"; });
  ASSERT_EQ(::kill(worker(hangs), SIGSTOP), 0);
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_NE(stop_output().find("SIGKILL"), std::string::npos) << stop_output();
  const int before = inserts.acknowledged();
  until("writes without it", [&] { return inserts.acknowledged() > before + 5; });
  const int written = inserts.stop();
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), std::to_string(100 + written));
  ASSERT_TRUE(cluster().start(hangs).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(hangs));
  ASSERT_NO_FATAL_FAILURE(expect_whole(3));
}

TEST_F(ExitsTest, TheLastBackendIsStoppedByForceAndComesBackWhole) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend"}, 1));
  const Finished refused = run_outlast("stop -g --store=" + cluster().store(1), 30);
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.output.find("node " + id(1) + " is the last live backend"), std::string::npos) << refused.output;
  EXPECT_NE(refused.output.find("--force"), std::string::npos) << refused.output;
  ASSERT_NO_FATAL_FAILURE(stop(1, {"-g", "--force"}));
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_FALSE(cluster().running(1));
  ASSERT_TRUE(cluster().start(1).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(1));
  EXPECT_EQ(eventually(0, "defaultdb", "SELECT count(*) FROM t").rows.at(0).at(0), "100");
}

TEST_F(ExitsTest, SilenceIsNoShutdownAndAnExitIsNoDeath) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "backend", "backend"}, 3));
  auto sql = connect(0), reader = connect(0);
  must(sql, "SET CLUSTER SETTING server.time_until_store_dead = '6s'");
  must(sql, "SET CLUSTER SETTING loop_count_wait_fragments_finish = 60");
  const int leads = leaseholder_of("defaultdb"), silent = leads == 1 ? 2 : 1;
  std::set<std::string> shown;
  const auto watch = [&](int node, const std::string& code) {
    until(code.c_str(), [&] {
      const std::string now = code_of(sql, id(node));
      shown.insert(now);
      return now == code;
    });
  };
  // A worker that is stopped inside a metadata write holds the metadata file's lock: then try once more.
  for (int attempt = 0; attempt < 3 && !shown.contains("DISCONNECTED"); ++attempt) {
    const pid_t stopped = worker(silent);
    ASSERT_EQ(::kill(stopped, SIGSTOP), 0);
    (void)cluster().wait_until("DISCONNECTED", 12s, [&] {
      const cli::PgReply codes = connect(0).run("SHOW BACKENDS", 3s);
      for (const Row& row : codes.rows)
        if (row[0] == id(silent)) shown.insert(row.back().value_or(""));
      return shown.contains("DISCONNECTED");
    });
    ASSERT_EQ(::kill(stopped, SIGCONT), 0);
  }
  EXPECT_TRUE(shown.contains("DISCONNECTED"));
  watch(silent, "OK");
  EXPECT_FALSE(shown.contains("SHUTDOWN")) << "it never meant to leave";

  must(reader, "BEGIN");
  must(reader, "SELECT count(*) FROM t");
  ASSERT_NO_FATAL_FAILURE(stop(leads, {"-g"}));
  watch(leads, "SHUTDOWN");
  shown.clear();
  std::set<std::string> alive;
  const auto end = std::chrono::steady_clock::now() + 12s;  // twice what a silent node has until it is dead
  (void)cluster().wait_until("never", 60s, [&] {
    shown.insert(code_of(sql, id(leads)));
    alive.insert(cell(sql, "BACKENDS", id(leads), "Alive"));
    return std::chrono::steady_clock::now() > end;
  });
  EXPECT_EQ(shown, std::set<std::string>{"SHUTDOWN"});
  EXPECT_EQ(alive, std::set<std::string>{"true"});
  EXPECT_EQ(must(reader, "SELECT count(*) FROM t").rows[0][0], "100");
  must(reader, "COMMIT");
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "100");
}

}  // namespace
}  // namespace outlast
