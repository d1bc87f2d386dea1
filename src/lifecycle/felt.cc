#include "lifecycle/felt.h"

#include <algorithm>

namespace outlast::lifecycle {

void StatementCounts::add(const StatementCounts& other) {
  if (up_to.empty()) up_to.resize(other.up_to.size());
  for (std::size_t i = 0; i < std::min(up_to.size(), other.up_to.size()); ++i) {
    up_to[i].first = other.up_to[i].first;
    up_to[i].second += other.up_to[i].second;
  }
  errors += other.errors;
}

bool is_clusters_fault(std::string_view sqlstate) {
  if (sqlstate == "40003") return true;
  for (const std::string_view kind : {"08", "53", "58", "XX"})
    if (sqlstate.starts_with(kind)) return true;
  return false;
}

Felt felt_between(const StatementCounts& from, const StatementCounts& to, Duration time) {
  Felt out;
  const bool from_nothing = from.up_to.empty();  // nobody had answered yet
  if (to.up_to.empty() || (!from_nothing && from.up_to.size() != to.up_to.size())) return out;
  const auto count = [&](std::size_t i) {
    return std::max(0.0, to.up_to[i].second - (from_nothing ? 0 : from.up_to[i].second));
  };
  out.statements = count(to.up_to.size() - 1);
  out.errors = std::max(0.0, to.errors - from.errors);
  out.per_second = out.statements / std::chrono::duration<double>(time).count();
  const auto quantile = [&](double fraction) {
    for (std::size_t i = 0; i + 1 < to.up_to.size(); ++i)
      if (out.statements > 0 && count(i) >= fraction * out.statements) return to.up_to[i].first * 1000;
    return out.statements > 0 ? to.up_to[to.up_to.size() - 2].first * 1000 : 0;
  };
  out.p50_ms = quantile(0.5);
  out.p99_ms = quantile(0.99);
  out.p999_ms = quantile(0.999);
  return out;
}

}  // namespace outlast::lifecycle
