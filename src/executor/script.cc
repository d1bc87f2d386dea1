#include "executor/script.h"

#include <algorithm>

namespace outlast::executor {
namespace {
constexpr std::string_view kBegin = "-- outlast script\n", kBetween = "\n-- ", kThen = "\n-- then\n",
                           kIfChanged = "\n-- if it changed a row\n";
}  // namespace

std::optional<std::string> join_script(const std::vector<ScriptStep>& steps) {
  std::string out(kBegin);
  for (const ScriptStep& step : steps) {
    if (step.sql.find(kBetween) != std::string::npos) return std::nullopt;
    out += step.sql + ";";
    out += step.must_change ? kIfChanged : kThen;
  }
  return out;
}

std::vector<ScriptStep> split_script(std::string_view text) {
  std::vector<ScriptStep> steps;
  if (!text.starts_with(kBegin)) return steps;
  text.remove_prefix(kBegin.size());
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(kBetween), text.size());
    const std::string_view rest = text.substr(end);
    const bool must_change = rest.starts_with(kIfChanged);
    if (!must_change && !rest.starts_with(kThen)) return {};
    steps.push_back({std::string(text.substr(0, end)), must_change});
    text = rest.substr(must_change ? kIfChanged.size() : kThen.size());
  }
  return steps;
}

}  // namespace outlast::executor
