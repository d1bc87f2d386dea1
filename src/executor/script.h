#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outlast::executor {

/// Several statements of Outlast's own in one request, in one transaction: a switch of threads, and the way to another
/// node, cost more than a short statement does. The n-th set of parameters is the n-th statement's; the rows of all
/// come back together, so all that give rows give as many columns. A leaseholder of an older version refuses the text,
/// because it holds more than one statement.
struct ScriptStep {
  std::string sql;
  bool must_change{false};  ///< When it changes no row, what comes after it is not run.
};
/// nullopt: a statement has what stands between two of them.
std::optional<std::string> join_script(const std::vector<ScriptStep>& steps);
/// Empty: this is no script.
std::vector<ScriptStep> split_script(std::string_view text);

}  // namespace outlast::executor
