#include "server/check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/version.h"
#include "storage/sealed_file.h"
#include "storage/store_dir.h"
#include "storage/testing/fault_disk.h"

namespace outlast::server {
namespace {
namespace fs = std::filesystem;

class CheckTest : public testing::Test {
 protected:
  CheckTest() {
    options_.store = dir_.path() + "/n1";
    options_.meta = "embedded:" + dir_.path() + "/meta";
  }
  void make_store() {
    auto store = storage::open_store(*disk_, options_.store);
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->set_identity({"cluster-a", "uuid-1", NodeId(3)}).ok());
  }
  std::string refusal() {
    const auto report = check_start(*disk_, options_);
    return report.ok() ? "" : report.error().message;
  }
  const storage::testing::TempDir dir_;
  const std::unique_ptr<storage::Disk> disk_ = storage::make_posix_disk();
  StartOptions options_;
};

TEST_F(CheckTest, ANewNodeMayStartAndNothingWasMade) {
  const auto report = check_start(*disk_, options_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->version, program_version());
  ASSERT_EQ(report->warnings.size(), 1U);
  EXPECT_NE(report->warnings[0].find("a new one would be made"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(dir_.path()));
}

TEST_F(CheckTest, RunsBesideTheNodeThatHoldsTheLock) {
  make_store();
  auto node = storage::open_store(*disk_, options_.store);
  ASSERT_TRUE((*node)->acquire_lock().ok());
  const auto report = check_start(*disk_, options_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->warnings.empty());
}

TEST_F(CheckTest, AStoreOfANewerProgramIsRefusedByName) {
  make_store();
  const storage::SealedKind newer{"store", storage::StoreDir::kFormat + 1};
  ASSERT_TRUE(storage::write_sealed(*disk_, options_.store, "IDENTITY", newer, {{"uuid", "x"}}).ok());
  EXPECT_NE(refusal().find("IDENTITY"), std::string::npos) << refusal();
}

TEST_F(CheckTest, AReplicaOfANewerProgramIsRefusedByName) {
  make_store();
  const std::string replica = options_.store + "/ranges/7";
  fs::create_directories(replica);
  ASSERT_TRUE(storage::write_sealed(*disk_, replica, "replica", {"replica", 2}, {{"range", "7"}}).ok());
  EXPECT_NE(refusal().find("ranges/7"), std::string::npos) << refusal();
}

TEST_F(CheckTest, ADamagedReplicaIsNoReasonToRefuse) {
  make_store();
  const std::string replica = options_.store + "/ranges/7";
  fs::create_directories(replica);
  std::ofstream(replica + "/replica") << "nonsense\n";
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckTest, BadOptionsAreNamedWithWhatIsAllowed) {
  options_.sql_addr = "127.0.0.1";
  EXPECT_NE(refusal().find("--sql-addr=127.0.0.1 is not HOST:PORT"), std::string::npos) << refusal();
  options_.sql_addr = "127.0.0.1:70000";
  EXPECT_NE(refusal().find("--sql-addr"), std::string::npos) << refusal();
  options_.sql_addr = "0.0.0.0:26257";
  EXPECT_NE(refusal().find("--insecure"), std::string::npos) << refusal();
  options_.insecure = true;
  EXPECT_EQ(refusal(), "");
  options_.meta = "zookeeper://x";
  EXPECT_NE(refusal().find("embedded:DIR"), std::string::npos) << refusal();
  options_.meta = "embedded:/x";
  options_.log_file = dir_.path();
  EXPECT_NE(refusal().find("--log-file"), std::string::npos) << refusal();
}

TEST_F(CheckTest, AnotherAddressThanTheRunningNodesIsAWarning) {
  make_store();
  std::ofstream(options_.store + "/NODE.json")
      << R"({"pid":)" << ::getpid() << R"(,"sql_addr":"127.0.0.1:1","http_addr":"127.0.0.1:8080"})";
  const auto report = check_start(*disk_, options_);
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->warnings.size(), 1U);
  EXPECT_NE(report->warnings[0].find("listens on 127.0.0.1:1"), std::string::npos);
}

class CollectorCheckTest : public CheckTest {
 protected:
  CollectorCheckTest() {
    options_.meta.clear();
    options_.roles = "none";
    options_.config = dir_.path() + "/c.toml";
    write(kInput);
  }
  void write(const std::string& text) const { std::ofstream(options_.config) << text; }
  static constexpr const char* kInput =
      "[[input]]\ntype = \"udp\"\nlisten = \"udp://127.0.0.1:5140\"\n[[sink]]\ntype = \"stdout\"\nmatch = \"**\"\n";
};

TEST_F(CollectorCheckTest, NeedsNeitherMetadataNorOtherListenersThanHttp) {
  options_.sql_addr = options_.listen_addr = "0.0.0.0:1";  // nobody listens there
  const auto report = check_start(*disk_, options_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->sql_addr, "");
  EXPECT_EQ(report->listen_addr, "");
  EXPECT_EQ(report->http_addr, options_.http_addr);
}

TEST_F(CollectorCheckTest, RefusesWhatItCannotDo) {
  write(std::string(kInput) +
        "[[sink]]\ntype = \"table\"\nname = \"logs\"\nmatch = \"**\"\ndatabase = \"d\"\ntable = \"t\"\n");
  EXPECT_EQ(refusal().find(options_.config + ": the sink \"logs\" stores into a table"), 0U) << refusal();
  write("roles = \"none\"\n");
  EXPECT_NE(refusal().find("nothing to do"), std::string::npos) << refusal();
  write(kInput);
  options_.meta = "embedded:/x";
  EXPECT_NE(refusal().find("leave --meta"), std::string::npos) << refusal();
  options_.meta.clear();
  make_store();
  EXPECT_NE(refusal().find("belongs to node 3"), std::string::npos) << refusal();
}

TEST_F(CollectorCheckTest, RolesAreAllOrNone) {
  options_.meta = "embedded:" + dir_.path() + "/meta";
  for (const char* roles : {"none,frontend", "", "everything", "frontend,"}) {
    options_.roles = roles;
    EXPECT_NE(refusal().find("is no list of roles"), std::string::npos) << roles;
  }
  options_.roles = "compute,frontend,backend";
  EXPECT_EQ(refusal(), "");
  options_.meta.clear();
  EXPECT_NE(refusal().find("--meta is required"), std::string::npos) << refusal();
}

TEST(CheckReportJson, IsOneLineWithTheContractsFields) {
  const CheckReport report{"1.2", {{"log", 2}}, "a:1", "b:2", "c:3", {"w"}};
  EXPECT_EQ(to_json(report), R"({"version":"1.2","state_formats":{"log":2},"listeners":{"sql":"a:1","http":"b:2",)"
                             R"("rpc":"c:3"},"warnings":["w"]})");
}

}  // namespace
}  // namespace outlast::server
