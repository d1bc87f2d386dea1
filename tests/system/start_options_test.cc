// `start --config` and `start --check`, with a node that runs.
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "storage/sealed_file.h"
#include "storage/store_dir.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using testing_support::Finished;
using testing_support::run_outlast;

class StartOptionsTest : public testing_support::ClusterTest {
 protected:
  std::string config(const std::string& more = "") {
    const std::string path = dir() + "/node.toml";
    std::ofstream(path)
        << "store = \"" << cluster().store(0) << "\"\nmeta = \"" << cluster().meta()
        << "\"\nlisten_addr = \"127.0.0.1:0\"\nsql_addr = \"127.0.0.1:0\"\nhttp_addr = \"127.0.0.1:0\"\n"
        << more;
    return path;
  }
};

TEST_F(StartOptionsTest, ACheckAnswersBesideTheNodeThatServes) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  const Finished checked = run_outlast("start --check --config=" + config(), 30);
  ASSERT_EQ(checked.code, 0) << checked.output;
  const auto report = boost::json::parse(checked.output).as_object();
  EXPECT_TRUE(report.at("warnings").as_array().empty()) << checked.output;
  EXPECT_EQ(report.at("listeners").at("sql"), "127.0.0.1:0");
  EXPECT_EQ(value(0, "defaultdb", "SELECT 1"), "1") << "nothing was taken from the node";
}

TEST_F(StartOptionsTest, WhatIsWrongIsOneSentenceWithFileAndLine) {
  const std::string path = config("max-connections = \"many\"\n");
  const Finished wrong = run_outlast("start --check --config=" + path, 30);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_EQ(wrong.output, "outlast: " + path + ":6: max-connections is a whole number\n");
  const Finished won = run_outlast("start --check --config=" + config() + " --sql-addr=nowhere", 30);
  EXPECT_EQ(won.code, 2);
  EXPECT_EQ(won.output.find("outlast: --sql-addr=nowhere is not HOST:PORT"), 0U) << won.output;
  EXPECT_FALSE(std::filesystem::exists(cluster().store(0))) << "a check makes nothing";
}

TEST_F(StartOptionsTest, AStoreOfANewerProgramIsRefused) {
  const auto disk = storage::make_posix_disk();
  ASSERT_TRUE(storage::open_store(*disk, cluster().store(0)).ok());
  const storage::SealedKind newer{"store", storage::StoreDir::kFormat + 1};
  ASSERT_TRUE(storage::write_sealed(*disk, cluster().store(0), "IDENTITY", newer, {{"uuid", "x"}}).ok());
  const Finished refused = run_outlast("start --check --config=" + config(), 30);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.output.find("IDENTITY"), std::string::npos) << refused.output;
}

TEST_F(StartOptionsTest, ARestartOfNobodyIsASentence) {
  const Finished nobody = run_outlast("restart --store=" + dir(), 30);
  EXPECT_EQ(nobody.code, 1);
  EXPECT_NE(nobody.output.find("no node runs at --store="), std::string::npos) << nobody.output;
  EXPECT_EQ(run_outlast("restart", 30).code, 2);
  EXPECT_EQ(run_outlast("restart --host=127.0.0.1:1 --binary=/bin/true", 30).code, 2);
}

}  // namespace
}  // namespace outlast
