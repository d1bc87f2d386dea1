// Records in the demo: beside SQL in the scenario restart, and alone in the scenario ingest, which ends with a kill -9.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

#include "cli/demo/run.h"
#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kBackTimeout = 60s;
constexpr double kLeastShare = 0.75;  ///< Of the asked rate: less would not show what the run is for.

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

Duration time_of_kill(Duration run) {
  return std::min<Duration>(run / 2, std::clamp<Duration>(run / 5, 2s, 15s));
}

/// While the members are made: those after records_ are not there yet.
std::unique_ptr<DemoRecords> Demo::make_records() {
  if (!replaces_workers()) return nullptr;
  return std::make_unique<DemoRecords>(cluster_, DemoRecordsOptions{.nodes = static_cast<int>(options_.nodes),
                                                                    .rate = static_cast<double>(options_.rate),
                                                                    .lasting = ingests()});
}

void Demo::end_records(Duration since) {
  const double wanted = kLeastShare * seconds(elapsed() - since) * static_cast<double>(options_.rate);
  records_->end(static_cast<std::uint64_t>(wanted));
}

/// New senders, so that what the kill costs is told from what the restarts cost: nothing.
Result<void> Demo::kill_under_records(const LoadRecord& record) {
  board_.say("restarts are over; waiting until every record is stored, then a worker is killed …");
  TRY(records_->settle());
  const Duration since = elapsed(), third = time_of_kill(options_.duration) / 3;
  const auto all_ready = [this] {
    return std::ranges::all_of(states_, [](const NodeState& s) { return s.phase == NodeState::Phase::kReady; });
  };
  records_->begin();
  while (elapsed() < since + third) TRY(step(record));
  strike({.whole_node = false, .node = static_cast<int>(options_.seed % options_.nodes)});
  while (elapsed() < since + 2 * third || (!all_ready() && elapsed() < since + kBackTimeout)) TRY(step(record));
  const Duration back = elapsed();
  while (elapsed() < back + third) TRY(step(record));
  end_records(since);
  return {};
}

void Demo::take_records() {
  if (auto settled = records_->settle(); !settled.ok()) report_.complaints.push_back(settled.error().message);
  std::vector<RecordsReport> parts = records_->reports();
  if (!parts.empty()) report_.records = std::move(parts[0]);
  if (parts.size() > 1) report_.after_kill = std::move(parts[1]);
}

}  // namespace outlast::cli
