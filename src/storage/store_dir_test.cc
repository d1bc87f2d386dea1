#include "storage/store_dir.h"

#include <gtest/gtest.h>

#include "storage/sealed_file.h"
#include "storage/testing/fault_disk.h"

namespace outlast::storage {
namespace {
using testing::TempDir;

class StoreDirTest : public ::testing::Test {
 protected:
  std::unique_ptr<StoreDir> open() {
    auto store = open_store(*disk_, path_);
    EXPECT_TRUE(store.ok()) << store.error().to_string();
    return std::move(store).value();
  }
  const TempDir dir_;
  const std::string path_ = dir_.path() + "/n1";
  const std::unique_ptr<Disk> disk_ = make_posix_disk();
  const StoreIdentity identity_{"cluster-a", "uuid-1", NodeId(3)};
};

TEST_F(StoreDirTest, IsNewUntilItGotItsIdentityAndKeepsItThen) {
  EXPECT_TRUE(open()->is_new());
  ASSERT_TRUE(open()->set_identity(identity_).ok());
  const auto store = open();
  EXPECT_FALSE(store->is_new());
  EXPECT_EQ(store->identity(), identity_);
  EXPECT_TRUE(store->set_identity(identity_).ok()) << "saying the same again changes nothing";
  EXPECT_EQ(store->set_identity({"cluster-a", "uuid-2", NodeId(3)}).error().code, Errc::kAlreadyInitialised);
}

TEST_F(StoreDirTest, IsNeverOpenedByTwo) {
  const auto first = open(), second = open();
  ASSERT_TRUE(first->acquire_lock().ok());
  const auto refused = second->acquire_lock();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kStoreLocked);
  EXPECT_NE(refused.error().message.find(path_), std::string::npos);
  EXPECT_NE(refused.error().message.find("pid "), std::string::npos);
  first->release_lock();
  EXPECT_TRUE(second->acquire_lock().ok()) << "a handover passes the lock on";
}

TEST_F(StoreDirTest, BelongsToOneCluster) {
  EXPECT_TRUE(open()->check_cluster("cluster-b").ok()) << "a new store fits every cluster";
  ASSERT_TRUE(open()->set_identity(identity_).ok());
  EXPECT_TRUE(open()->check_cluster("cluster-a").ok());
  EXPECT_EQ(open()->check_cluster("cluster-b").error().code, Errc::kWrongCluster);
}

TEST_F(StoreDirTest, IsNotOpenedByAnOlderProgram) {
  open();
  const SealedKind newer{"store", StoreDir::kFormat + 1};
  ASSERT_TRUE(write_sealed(*disk_, path_, "IDENTITY", newer, {{"uuid", "x"}}).ok());
  EXPECT_EQ(open_store(*disk_, path_).error().code, Errc::kWrongVersion);
}

TEST_F(StoreDirTest, NoticesADamagedIdentity) {
  ASSERT_TRUE(open()->set_identity(identity_).ok());
  auto file = disk_->open(path_ + "/IDENTITY", OpenMode::kWrite);
  ASSERT_TRUE((*file)->pwrite(25, "X").ok());
  EXPECT_EQ(open_store(*disk_, path_).error().code, Errc::kCorrupt);
}

TEST_F(StoreDirTest, NeverUsesAnIncarnationTwice) {
  ASSERT_TRUE(open()->record_incarnation(Incarnation(4)).ok());
  const auto store = open();
  EXPECT_EQ(store->incarnation(), Incarnation(4));
  EXPECT_EQ(store->record_incarnation(Incarnation(4)).error().code, Errc::kInvalidState);
  EXPECT_TRUE(store->record_incarnation(Incarnation(5)).ok());
}

TEST_F(StoreDirTest, ComesBackAsANewStoreWhenWiped) {
  ASSERT_TRUE(open()->set_identity(identity_).ok());
  ASSERT_TRUE(remove_tree(*disk_, path_).ok());
  EXPECT_TRUE(open()->is_new());
}

TEST_F(StoreDirTest, ARetiredStoreIsNeverOpenedAgain) {
  const auto store = open();
  ASSERT_TRUE(store->set_identity({"c", "u", NodeId(4)}).ok());
  ASSERT_TRUE(store->retire().ok());
  ASSERT_TRUE(store->retire().ok()) << "twice is once";
  const auto again = open_store(*disk_, path_);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Errc::kInvalidState);
  EXPECT_NE(again.error().message.find("node 4 of cluster c, which was decommissioned for good"), std::string::npos)
      << again.error().message;
}

}  // namespace
}  // namespace outlast::storage
