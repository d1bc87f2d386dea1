// Autocommit writes under kill -9 of their leaseholder: a client whose own gateway lives is always told what became of
// its write, and what it is told is true.
#include <atomic>
#include <cstdlib>
#include <map>
#include <thread>

#include "cli/http_get.h"
#include "cli/workload_outcome.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

struct Written {
  std::string key;
  cli::RowFate fate{cli::RowFate::kUnknown};
};
/// What one client was told, and what it may not be told while its gateway lives.
struct Client {
  int gateway{0};
  std::vector<Written> rows;
  std::vector<std::string> broken_promises;
};

class ResolveTest : public testing_support::ClusterTest {
 protected:
  /// Writes one row after the other until `stop`, or until its connection is gone.
  void write_rows(Client& client, int number, const std::string& round, const std::atomic<bool>& stop) {
    auto made = cli::PgConnection::connect(cluster().sql_url(client.gateway), "app", 10s);
    if (!made.ok()) return;
    for (int i = 0; !stop; ++i) {
      const std::string key = round + "/" + std::to_string(number) + "/" + std::to_string(i);
      const bool returning = number % 2 == 1;
      const auto reply =
          made->run("INSERT INTO t (k) VALUES ('" + key + "')" + (returning ? " RETURNING k || '!'" : ""), 60s);
      const auto ending = cli::judge(reply, {});
      client.rows.push_back({key, cli::fate_of_write(reply, ending)});
      if (ending == cli::Ending::kOk) {
        if (reply.tag != "INSERT 0 1") client.broken_promises.push_back(key + " was answered " + reply.tag);
        if (returning && (reply.rows.size() != 1 || reply.rows[0][0] != key + "!"))
          client.broken_promises.push_back(key + " returned something else");
        continue;
      }
      client.broken_promises.push_back(key + ": " + reply.sqlstate + " " + reply.message);
      if (reply.broken) return;
    }
  }
  /// A counter of a node's metrics; 0 when the node does not answer.
  double metric(int node, const std::string& name) {
    const auto facts = cluster().facts(node);
    if (!facts.ok()) return 0;
    const auto page = cli::http_get(facts->http_addr, "/metrics", 5s);
    if (!page.ok()) return 0;
    const auto at = page->body.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::strtod(page->body.c_str() + at + 1 + name.size(), nullptr);
  }
};

TEST_F(ResolveTest, NoClientWithALivingGatewayIsLeftInDoubtWhenLeaseholdersAreKilled) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  auto main = connect(0);
  must(main, "CREATE DATABASE app");
  auto app = connect(0, "app");
  must(app, "CREATE TABLE t (k text NOT NULL)");  // no key that would hide a second copy
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));

  std::map<std::string, cli::RowFate> fates;
  double resolved = 0;
  for (int round = 1; round <= 10 && (round <= 3 || resolved < 3); ++round) {
    const int holder = leaseholder_of("app");
    ASSERT_GE(holder, 0);
    const auto count = [&] {
      double sum = 0;
      for (int node = 0; node < 3; ++node)
        if (node != holder)
          sum += metric(node, "outlast_gateway_resolved_done_total") +
                 metric(node, "outlast_gateway_resolved_not_applied_total");
      return sum;
    };
    const double before = count();
    std::vector<Client> clients(12);
    std::atomic<bool> stop{false};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < static_cast<int>(clients.size()); ++i) {
        Client& client = clients[static_cast<std::size_t>(i)];
        client.gateway = i % 3;
        threads.emplace_back([this, &client, i, round, &stop] { write_rows(client, i, std::to_string(round), stop); });
      }
      const std::string rows = "SELECT count(*) FROM t WHERE k LIKE '" + std::to_string(round) + "/%'";
      const int other = (holder + 1) % 3;
      const auto busy =
          cluster().wait_until("the load", 60s, [&] { return std::atoi(value(other, "app", rows).c_str()) > 60; });
      const auto killed = cluster().kill_worker(holder);
      const int at_kill = busy.ok() && killed.ok() ? std::atoi(value(other, "app", rows).c_str()) : 0;
      // The load goes on under the next leaseholder before it ends.
      const auto on = cluster().wait_until("writes after the kill", 60s,
                                           [&] { return std::atoi(value(other, "app", rows).c_str()) > at_kill + 20; });
      stop = true;
      EXPECT_TRUE(busy.ok() && killed.ok() && on.ok());
      if (killed.ok()) ASSERT_NO_FATAL_FAILURE(wait_ready(holder, *killed));
    }
    for (const Client& client : clients) {
      if (client.gateway != holder) EXPECT_EQ(client.broken_promises, std::vector<std::string>());
      for (const Written& row : client.rows) fates[row.key] = row.fate;
    }
    resolved += count() - before;
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  RecordProperty("resolved", std::to_string(resolved));
  EXPECT_GE(resolved, 1) << "no write was in doubt: the kills came at idle moments";

  auto session = connect(leaseholder_of("app"), "app");
  std::map<std::string, int> there;
  for (const auto& row : must(session, "SELECT k FROM t").rows) ++there[row[0].value_or("")];
  for (const auto& [key, copies] : there) {
    EXPECT_EQ(copies, 1) << key;
    EXPECT_NE(fates[key], cli::RowFate::kRefused) << key << " was reported as not applied";
  }
  for (const auto& [key, fate] : fates)
    if (fate == cli::RowFate::kAcked) EXPECT_EQ(there[key], 1) << key << " was acknowledged";
}

}  // namespace
}  // namespace outlast
