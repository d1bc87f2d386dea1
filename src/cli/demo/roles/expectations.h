#pragma once
#include <string>
#include <vector>

namespace outlast::cli {

struct RolesReport;
struct DemoReport;

/// One row of what StarRocks' documentation promises of a graceful exit, and what this run measured.
struct Expectation {
  std::string task, expected, measured;
  enum class Verdict : std::uint8_t { kMet, kNotMet, kNotMeasured } verdict{Verdict::kNotMeasured};
};
const char* to_string(Expectation::Verdict verdict);

/// The whole table. Pure.
std::vector<Expectation> roles_expectations(const RolesReport& roles, const DemoReport& report);

}  // namespace outlast::cli
