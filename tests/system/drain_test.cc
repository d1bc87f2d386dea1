// A node leaves service while clients work (protocol A7), on real processes.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "cli/http_get.h"
#include "rpc/client.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using Action = proto::DrainRequest;

class DrainTest : public testing_support::ClusterTest {
 protected:
  /// Three nodes, a table in every in-sync set, and databases enough that each node leads some.
  void start_three() {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    for (const char* name : {"a", "b", "c", "d", "e", "f"}) must(main, std::string("CREATE DATABASE ") + name);
    auto app = connect(0, "a");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY)");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  proto::DrainReply ask(int node, Action::Action action, bool force = false, bool shutdown = false) {
    proto::DrainRequest request;
    request.set_action(action);
    request.set_force(force);
    request.set_shutdown(shutdown);
    request.set_by("a test");
    const auto facts = cluster().facts(node);
    if (!facts.ok()) return {};
    auto reply = rpc::AdminClient(facts->listen_addr).drain(request, 10s);
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    return reply.ok() ? *reply : proto::DrainReply();
  }
  proto::DrainStatus until(int node, const std::string& what,
                           const std::function<bool(const proto::DrainStatus&)>& done) {
    proto::DrainStatus last;
    const auto waited = cluster().wait_until(what, 40s, [&] {
      last = ask(node, Action::STATUS).status();
      return done(last);
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << "\n" << last.DebugString();
    return last;
  }
  proto::DrainStatus until_end(int node) {
    return until(node, "the drain's end", [](const proto::DrainStatus& s) { return !s.end().empty(); });
  }
  int http(int node, const std::string& path) {
    const auto facts = cluster().facts(node);
    if (!facts.ok()) return 0;
    const auto answer = cli::http_get(facts->http_addr, path, 5s);
    return answer.ok() ? answer->status : 0;
  }
  bool listed_as_draining(int node) {
    const auto facts = cluster().facts(node);
    const auto other = cluster().facts((node + 1) % 3);
    if (!facts.ok() || !other.ok()) return false;
    const auto status = rpc::AdminClient(other->listen_addr).node_status(5s);
    if (!status.ok()) return false;
    for (const auto& one : status->nodes())
      if (one.id() == facts->node.value) return one.is_draining();
    return false;
  }
};

TEST_F(DrainTest, TakesWritesAllTheTimeAndEndsEmpty) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const int node = leaseholder_of("a");
  auto elsewhere = connect((node + 1) % 3, "a");
  EXPECT_EQ(http(node, "/health?ready=1"), 200);
  EXPECT_EQ(http(node, "/api/health"), 200);
  EXPECT_TRUE(ask(node, Action::DRAIN).code().empty());
  EXPECT_EQ(http(node, "/health?ready=1"), 503) << "from the first instant";
  EXPECT_EQ(http(node, "/api/health"), 500);
  EXPECT_EQ(http(node, "/health"), 200) << "alive all the same";
  int written = 0;
  proto::DrainStatus status;
  do {
    must(elsewhere, "INSERT INTO t VALUES (" + std::to_string(++written) + ")");
    status = ask(node, Action::STATUS).status();
  } while (status.end().empty() && written < 20'000);
  EXPECT_EQ(status.end(), "complete") << status.DebugString();
  EXPECT_EQ(status.remaining().total(), 0u);
  EXPECT_GT(status.leases_moved(), 0u);
  EXPECT_NE(leaseholder_of("a"), node);
  EXPECT_TRUE(cluster().wait_until("the list of nodes", 10s, [&] { return listed_as_draining(node); }).ok());
  EXPECT_EQ(value((node + 1) % 3, "a", "SELECT count(*) FROM t"), std::to_string(written));
  std::ifstream kept(cluster().store(node) + "/DRAIN.json");
  const std::string text((std::istreambuf_iterator<char>(kept)), {});
  ASSERT_FALSE(text.empty()) << "the receipt survives in the store";
  EXPECT_EQ(boost::json::parse(text).at("end").as_string(), "complete");
  EXPECT_EQ(cluster().terminate(node, 20s).value(), 0) << "there is nothing left to wait for";
  EXPECT_EQ(cluster().ranges((node + 1) % 3)->front().insync.size(), 2u) << "stepped out before it stopped";
}

TEST_F(DrainTest, SessionsFinishTheirTransactionAndNewOnesAreSentElsewhere) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto main = connect(1);
  must(main, "SET CLUSTER SETTING server.shutdown.query_wait = '60s'");
  auto idle = connect(0, "a"), busy = connect(0, "a");
  must(busy, "BEGIN");
  must(busy, "INSERT INTO t VALUES (1)");
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  const auto status = until(0, "the blocking session", [](const proto::DrainStatus& s) {
    return s.phase() == "transaction wait" && s.remaining().connections() == 1 && s.blocking_size() > 0;
  });
  EXPECT_EQ(status.blocker(), "transactions");
  EXPECT_NE(status.blocking(0).why().find("INSERT INTO"), std::string::npos) << status.DebugString();
  EXPECT_EQ(idle.run("SELECT 1", 5s).sqlstate, "57P01");
  const auto late = cli::PgConnection::connect(cluster().sql_url(0, "a"), "", 5s);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Errc::kNotReady) << "57P03: libpq goes on to its next host";
  must(busy, "INSERT INTO t VALUES (2)");
  must(busy, "COMMIT");
  const auto end = until_end(0);
  EXPECT_EQ(end.end(), "complete");
  EXPECT_EQ(end.sessions_shed(), 2u);
  EXPECT_EQ(end.sessions_cut(), 0u);
  EXPECT_EQ(value(1, "a", "SELECT count(*) FROM t"), "2");
}

TEST_F(DrainTest, AnEndlessSessionIsCutAfterQueryWaitAndNothingOfItIsApplied) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto main = connect(1);
  must(main, "SET CLUSTER SETTING server.shutdown.query_wait = '300ms'");
  auto busy = connect(0, "a");
  must(busy, "BEGIN");
  must(busy, "INSERT INTO t VALUES (1)");
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  const auto end = until_end(0);
  EXPECT_EQ(end.end(), "complete");
  EXPECT_EQ(end.sessions_cut(), 1u);
  EXPECT_EQ(busy.run("COMMIT", 5s).sqlstate, "57P01");
  EXPECT_EQ(value(1, "a", "SELECT count(*) FROM t"), "0");
}

TEST_F(DrainTest, AnotherGatewaysIdleTransactionIsRolledBackAfterTheSecondQueryWait) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const int holder = leaseholder_of("a"), gateway = (holder + 1) % 3;
  auto main = connect(gateway);
  must(main, "SET CLUSTER SETTING server.shutdown.query_wait = '300ms'");
  auto busy = connect(gateway, "a");
  must(busy, "BEGIN");
  must(busy, "INSERT INTO t VALUES (1)");
  ASSERT_TRUE(ask(holder, Action::DRAIN).code().empty());
  EXPECT_EQ(until_end(holder).end(), "complete");
  EXPECT_EQ(busy.run("INSERT INTO t VALUES (2)", 5s).sqlstate, "40001");
  EXPECT_TRUE(busy.run("ROLLBACK", 5s).ok) << "the session lives on";
  EXPECT_EQ(value(gateway, "a", "SELECT count(*) FROM t"), "0");
}

TEST_F(DrainTest, UndrainTakesItBackInAnyPhase) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto main = connect(1);
  must(main, "SET CLUSTER SETTING server.shutdown.drain_wait = '60s'");
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  until(0, "the leases to leave at second 0",
        [](const proto::DrainStatus& s) { return s.phase() == "unready" && s.remaining().leases() == 0; });
  auto session = connect(0, "a");
  must(session, "INSERT INTO t VALUES (1)");  // everything still works here
  EXPECT_TRUE(ask(0, Action::UNDRAIN).code().empty());
  EXPECT_TRUE(ask(0, Action::UNDRAIN).code().empty()) << "twice is once";
  EXPECT_EQ(http(0, "/health?ready=1"), 200);
  must(session, "INSERT INTO t VALUES (2)");
  must(main, "SET CLUSTER SETTING server.shutdown.initial_wait = '0s'");
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  EXPECT_EQ(until_end(0).end(), "complete");
  EXPECT_TRUE(ask(0, Action::UNDRAIN).code().empty());
  EXPECT_EQ(http(0, "/health?ready=1"), 200);
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  auto again = connect(0, "a");
  must(again, "INSERT INTO t VALUES (3)");
}

TEST_F(DrainTest, TwoNodesAtOnceAndTheLastOneSaysWhatItHolds) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  ASSERT_TRUE(ask(1, Action::DRAIN).code().empty());
  EXPECT_EQ(until_end(0).end(), "complete");
  EXPECT_EQ(until_end(1).end(), "complete");
  EXPECT_EQ(value(2, "a", "SELECT count(*) FROM t"), "0");
  ASSERT_TRUE(ask(2, Action::DRAIN).code().empty());
  const auto stuck = until(2, "the last node to be stuck", [](const proto::DrainStatus& s) {
    return s.phase() == "lease transfer" && s.blocker() == "single-replica ranges";
  });
  EXPECT_GT(stuck.remaining().unmovable_leases(), 0u);
  ASSERT_TRUE(ask(2, Action::DRAIN, true).code().empty());
  EXPECT_EQ(until_end(2).end(), "forced") << "never called complete";
}

TEST_F(DrainTest, AStopOfAllNodesWaitsForNobody) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(::kill(cluster().facts(i)->pid, SIGTERM), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cluster().wait_exit(i, 20s).value(), 0) << i;
}

TEST_F(DrainTest, ShutdownEndsTheProcessOnceItIsDrained) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  ASSERT_TRUE(ask(1, Action::DRAIN, false, true).code().empty());
  EXPECT_EQ(cluster().wait_exit(1, 20s).value(), 0);
  ASSERT_TRUE(cluster().start(1).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(1));
  EXPECT_FALSE(listed_as_draining(1)) << "the next process is not draining";
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
}

TEST_F(DrainTest, FurtherSigtermsAreIgnoredAndSigintEndsItHard) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto main = connect(2);
  must(main, "SET CLUSTER SETTING server.shutdown.query_wait = '60s'");
  for (const int node : {0, 1}) {
    auto busy = connect(node, "a");
    must(busy, "BEGIN");
    must(busy, "INSERT INTO t VALUES (" + std::to_string(node) + ")");
    const pid_t supervisor = cluster().facts(node)->pid;
    ASSERT_EQ(::kill(supervisor, SIGTERM), 0);
    until(node, "the drain", [](const proto::DrainStatus& s) { return s.phase() == "transaction wait"; });
    ASSERT_EQ(::kill(supervisor, SIGTERM), 0);
    EXPECT_EQ(ask(node, Action::UNDRAIN).code(), "invalid_state") << "the process ends in any case";
    if (node == 0) {
      must(busy, "COMMIT");
      EXPECT_EQ(cluster().wait_exit(node, 20s).value(), 0);
      ASSERT_TRUE(cluster().start(node).ok());
      ASSERT_NO_FATAL_FAILURE(wait_ready(node));
      ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
    } else {
      ASSERT_EQ(::kill(supervisor, SIGINT), 0);
      EXPECT_NE(cluster().wait_exit(node, 20s).value(), 0);
      EXPECT_TRUE(busy.run("COMMIT", 5s).broken);
    }
  }
  EXPECT_EQ(eventually(2, "a", "SELECT count(*) FROM t").rows.at(0).at(0), "1");
}

TEST_F(DrainTest, AKillInAnyPhaseLosesNothingAndTheNextProcessIsNotDraining) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  int stored = 0;
  for (const std::string phase : {"unready", "connection wait", "transaction wait", "fragment wait", "drained"}) {
    int node = 0, gateway = 0;
    std::optional<cli::PgConnection> foreign;
    // A lease may be on its way to level the nodes: then look again where it is.
    const auto found = cluster().wait_until("a transaction of another gateway", 40s, [&] {
      node = leaseholder_of("a");
      if (node < 0) return false;
      gateway = (node + 1) % 3;
      foreign.emplace(connect(gateway, "a"));
      must(*foreign, "BEGIN");
      must(*foreign, "SELECT * FROM t");
      return ask(node, Action::STATUS).status().remaining().foreign_transactions() == 1;
    });
    ASSERT_TRUE(found.ok()) << found.error().message;
    auto main = connect(gateway);
    const auto set = [&](const std::string& wait, bool long_one) {
      must(main, "SET CLUSTER SETTING server.shutdown." + wait + " = '" + (long_one ? "60s" : "0s") + "'");
    };
    set("drain_wait", phase == "unready");
    set("connection_wait", phase == "connection wait");
    set("query_wait", true);
    auto own = connect(node, "a"), writer = connect(gateway, "a");
    if (phase == "transaction wait") must(own, "BEGIN");
    if (phase == "drained") must(*foreign, "COMMIT");
    ASSERT_TRUE(ask(node, Action::DRAIN).code().empty());
    until(node, phase, [&](const proto::DrainStatus& s) { return s.phase() == phase; });
    must(writer, "INSERT INTO t VALUES (" + std::to_string(++stored) + ")");
    const auto killed = cluster().kill_worker(node);
    ASSERT_TRUE(killed.ok()) << phase;
    ASSERT_NO_FATAL_FAILURE(wait_ready(node, *killed));
    EXPECT_FALSE(listed_as_draining(node)) << phase;
    EXPECT_EQ(ask(node, Action::STATUS).status().phase(), "serving") << phase;
    EXPECT_EQ(eventually(node, "a", "SELECT count(*) FROM t").rows.at(0).at(0), std::to_string(stored)) << phase;
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
}

TEST_F(DrainTest, WithTheOthersDeadItSaysWhatHoldsItAndEndsByForceOnly) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  cluster().kill_node(1);
  cluster().kill_node(2);
  ASSERT_TRUE(ask(0, Action::DRAIN).code().empty());
  const auto stuck = until(0, "the drain to be stuck", [](const proto::DrainStatus& s) {
    return s.blocker() == "single-replica ranges" && s.blocking_size() > 0;
  });
  EXPECT_NE(stuck.blocking(0).why().find("--force"), std::string::npos) << "says what to do";
  EXPECT_EQ(ask(0, Action::DRY_RUN).status().phase(), "lease transfer") << "and changes nothing";
  ASSERT_TRUE(ask(0, Action::DRAIN, true).code().empty());
  EXPECT_EQ(until_end(0).end(), "forced");
}

/// A process manager's socket: every datagram as it came.
class Manager {
 public:
  explicit Manager(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Manager() { ::close(fd_); }
  std::string next() {
    char text[4096];
    const ssize_t n = ::recv(fd_, text, sizeof text, 0);
    return n < 0 ? "nothing came" : std::string(text, static_cast<std::size_t>(n));
  }

 private:
  int fd_;
};

TEST_F(DrainTest, TheProcessManagerHearsOfReadinessProgressAndTheRealEnd) {
  const std::string path = dir() + "/notify";
  Manager manager(path);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(manager.next(), "FDSTORE=1\nFDNAME=kept-sql") << "its sockets outlive it";
  EXPECT_EQ(manager.next(), "FDSTORE=1\nFDNAME=kept-http");
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=serving");
  auto busy = connect(0);
  must(busy, "BEGIN");
  ASSERT_EQ(::kill(cluster().facts(0)->pid, SIGTERM), 0);
  EXPECT_EQ(manager.next(), "STATUS=draining, unready: remaining: 3\nEXTEND_TIMEOUT_USEC=30000000");
  must(busy, "COMMIT");
  EXPECT_EQ(cluster().wait_exit(0, 20s).value(), 0);
  EXPECT_EQ(manager.next(), "STOPPING=1") << "not before the drain's end";
}

}  // namespace
}  // namespace outlast
