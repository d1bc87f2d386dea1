#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::testing_support {

/// For tests of typed stores: one metadata store in memory, seen by two nodes.
class SimMetaTest : public testing::Test {
 protected:
  /// What `call` calls back with, as far as the loop brings it within a minute; else kDeadline.
  template <class T, class F>
  Result<T> wait(F call) {
    std::optional<Result<T>> result;
    call([&](Result<T> r) { result = std::move(r); });
    loop_.advance_until([&] { return result.has_value(); }, std::chrono::minutes(1));
    if (!result) return Error(Errc::kDeadline, "no answer");
    return *std::move(result);
  }

  SimLoop loop_;
  std::shared_ptr<SimMetadata> data_ = std::make_shared<SimMetadata>();
  SimStore store_{data_, loop_}, other_{data_, loop_};
};

}  // namespace outlast::testing_support
