#include <filesystem>

#include "meta/conformance_suite.h"
#include "meta/embedded.h"
#include "tests/support/sim_store.h"
#include "tests/support/test_dir.h"

namespace outlast::meta {
namespace {

class EmbeddedWorld final : public ConformanceWorld {
 public:
  std::unique_ptr<Store> open(Loop& loop) override {
    auto store = open_embedded(dir_.path(), loop);
    EXPECT_TRUE(store.ok()) << store.error().to_string();
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::size_t ops_max() const override { return EmbeddedOptions{}.ops_max; }

 private:
  testing_support::TestDir dir_;
};

class SimWorld final : public ConformanceWorld {
 public:
  std::unique_ptr<Store> open(Loop& loop) override { return std::make_unique<testing_support::SimStore>(data_, loop); }
  std::size_t ops_max() const override { return 1'000; }

 private:
  std::shared_ptr<testing_support::SimMetadata> data_ = std::make_shared<testing_support::SimMetadata>();
};

INSTANTIATE_TEST_SUITE_P(All, StoreConformance,
                         testing::Values(ConformanceCase{"Embedded", [] { return std::make_unique<EmbeddedWorld>(); }},
                                         ConformanceCase{"Simulated", [] { return std::make_unique<SimWorld>(); }}),
                         ConformanceCase::name_of);

}  // namespace
}  // namespace outlast::meta
