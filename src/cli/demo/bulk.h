#pragma once
#include <string>

#include "base/result.h"
#include "cli/demo/decommission_report.h"

namespace outlast::cli {

/// Data beside the load's, so that there is something to copy: several databases of one size, filled once.
struct BulkPlan {
  int databases{0};
  std::uint64_t rows{0};  ///< In each.
  std::string database(int index) const { return "bulk_" + std::to_string(index + 1); }
};
/// In parts that several nodes can be sent at once; `bytes` of all databases together. Pure.
BulkPlan bulk_plan(std::uint64_t bytes);
/// Creates and fills the databases through `url`.
Result<void> bulk_fill(const BulkPlan& plan, const std::string& url);
/// Reads all of it through `url`.
Result<BulkCheck> bulk_check(const BulkPlan& plan, const std::string& url);

/// How long it takes to copy `bytes` in `files` files of one size below `dir` and to sync each, as `cp` and `sync FILE`
/// do: median of three, in seconds. Leaves nothing behind.
Result<double> time_of_copy(const std::string& dir, std::uint64_t bytes, std::uint64_t files);

}  // namespace outlast::cli
