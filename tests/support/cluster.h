#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/local_cluster.h"
#include "cli/pg_connection.h"

namespace outlast::testing_support {

/// How a program ended, and everything that it printed.
struct Finished {
  int code{0};  ///< Exit code; 128 + signal; 124 when it took longer than allowed and was ended.
  std::string output;
};
/// Runs the `outlast` under test to its end. `environment`: "NAME=VALUE" words put in front of it.
Finished run_outlast(const std::string& arguments, int seconds_max, const std::string& environment = "");

/// A cluster of real processes in a folder of its own, both gone after the test. When the test failed, the end of every
/// node's log is printed. Waits have deadlines and ask for the thing itself; there are no sleeps.
class ClusterTest : public testing::Test {
 protected:
  ClusterTest();
  ~ClusterTest() override;

  cli::LocalCluster& cluster() { return *cluster_; }
  const std::string& dir() const { return dir_; }

  /// Another metadata store than a file; before the first node is started.
  void use_meta(const std::string& url);
  /// More words for every `start`, and another program; before the first node is started.
  void use_start(std::vector<std::string> words, const std::string& program = "");
  /// Each node's --roles, by its number; before the first node is started.
  void use_roles(std::vector<std::string> roles);
  /// Collectors (--roles=none) instead of nodes, with these words for every `start`; before the first is started.
  void use_collectors(std::vector<std::string> words);
  /// Starts and initialises nodes and waits until all are ready.
  void start_nodes(int count);
  void wait_ready(int node, pid_t not_worker = 0);
  /// Until every range has `rf` in-sync replicas and a leaseholder.
  void wait_replicated(int rf);
  /// The node (from 0) that leads the database's range; -1 when nobody does.
  int leaseholder_of(const std::string& database);

  cli::PgConnection connect(int node, const std::string& database = "defaultdb");
  /// Runs one statement and expects that it succeeds.
  cli::PgReply must(cli::PgConnection& connection, const std::string& sql);
  /// Runs a statement, on a new connection each time, until it succeeds. Only for what may be repeated.
  cli::PgReply eventually(int node, const std::string& database, const std::string& sql);
  /// The first column of the first row, read through `node`.
  std::string value(int node, const std::string& database, const std::string& sql);

 private:
  void make_cluster();

  std::string dir_;
  cli::LocalClusterOptions options_;
  std::unique_ptr<cli::LocalCluster> cluster_;
};

}  // namespace outlast::testing_support
