#include "etcd/etcd_store.h"
#include "etcd/local_etcd.h"
#include "meta/conformance_suite.h"
#include "tests/support/test_dir.h"

namespace outlast::meta {
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreConformance);
namespace {

/// One etcd for all tests of this program; each world has a prefix of its own, as clusters that share an etcd have.
class SharedEtcd {
 public:
  static SharedEtcd& instance() {
    static SharedEtcd shared;
    return shared;
  }
  std::string endpoints() const { return etcd_.endpoints(); }

 private:
  SharedEtcd() {
    const auto started = etcd_.start(std::chrono::seconds(60));
    EXPECT_TRUE(started.ok()) << started.error().to_string();
  }
  testing_support::TestDir dir_;
  etcd::LocalEtcd etcd_{{.dir = dir_.path().string(), .members = 1}};
};

class EtcdWorld final : public ConformanceWorld {
 public:
  std::unique_ptr<Store> open(Loop& loop) override {
    const auto options = etcd::parse_url("etcd://" + SharedEtcd::instance().endpoints() + prefix_);
    EXPECT_TRUE(options.ok()) << options.error().to_string();
    auto store = etcd::open_etcd(*options, loop, std::chrono::seconds(20));
    EXPECT_TRUE(store.ok()) << store.error().to_string();
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::size_t ops_max() const override { return etcd::kOpsMax; }

 private:
  static std::string next_prefix() {
    static int worlds = 0;
    return "/cluster" + std::to_string(++worlds);
  }
  const std::string prefix_ = next_prefix();
};

std::vector<ConformanceCase> cases() {
  if (!etcd::LocalEtcd::find_program().ok()) return {};
  return {{"Etcd", [] { return std::make_unique<EtcdWorld>(); }}};
}

INSTANTIATE_TEST_SUITE_P(All, StoreConformance, testing::ValuesIn(cases()), ConformanceCase::name_of);

TEST(EtcdConformance, RunsOnlyWhereEtcdIsInstalled) {
  if (const auto program = etcd::LocalEtcd::find_program(); !program.ok())
    GTEST_SKIP() << program.error().message << "; the conformance suite did not run on etcd";
}

}  // namespace
}  // namespace outlast::meta
