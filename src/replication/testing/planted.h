#pragma once
// Shows that random histories would find a bug. Test support.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "replication/parameters.h"

namespace outlast::replication::testing {

struct Planted {
  const char* name;
  bool PlantedBugs::* flag;
};

/// Runs histories with the bug until one says what is wrong; that one must pass without the bug.
inline void expect_found(const Planted& planted, std::uint64_t histories,
                         const std::function<std::string(std::uint64_t seed, PlantedBugs bugs)>& run) {
  PlantedBugs bugs;
  bugs.*planted.flag = true;
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    const std::string wrong = run(seed, bugs);
    if (wrong.empty()) continue;
    ::testing::Test::RecordProperty("seed", std::to_string(seed));
    ::testing::Test::RecordProperty("violation", wrong);
    EXPECT_EQ(run(seed, {}), "") << "seed " << seed << " fails without the planted bug as well";
    return;
  }
  FAIL() << "no history found it";
}

}  // namespace outlast::replication::testing
