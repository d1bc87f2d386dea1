// How a run of the demo is judged: its numbers, and what the data says.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

#include "cli/demo/proof.h"
#include "cli/demo/run.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kHealTimeout = 60s, kCompareTimeout = 60s;
constexpr auto kEventMargin = 2s;  ///< Latencies so near to an event count as "during" it.

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

template <class D>
LatencyTimeline::Offset offset(D since_start) {
  return std::chrono::duration_cast<LatencyTimeline::Offset>(since_start);
}
}  // namespace

void Demo::take_numbers(const LoadRecord& record) {
  take_load_numbers(record, report_);
  report_.statements.unknown_gateway_died = died_with_gateway(record.broken(), kills_);
  const LatencyTimeline timeline = record.timeline();
  if (drains()) return take_drains(timeline);
  if (decommissions()) return take_decommission(timeline);
  if (rolls()) return take_rolling(timeline);
  if (replaces_workers()) take_restarts();
  take_ratio(timeline);
}

void Demo::take_ratio(const LatencyTimeline& timeline) {
  if (report_.events.empty()) return;
  std::vector<LatencyTimeline::Offset> at;
  for (const DemoEvent& event : report_.events) at.push_back(offset(std::chrono::duration<double>(event.at_seconds)));
  const auto [during, steady] = timeline.around(at, kEventMargin);
  report_.p99_ratio = p99_ratio(during, steady);
}

/// Two ratios against the time in which nothing happened: of the drains themselves, and of the whole absence, in which
/// the machine also has to start a process and the others' copies catch up.
void Demo::take_drains(const LatencyTimeline& timeline) {
  std::vector<LatencyTimeline::Window> drains, absences;
  report_.receipts_wanted = rounds_.wanted();
  if (!rounds_.trouble().empty()) report_.complaints.push_back(rounds_.trouble());
  for (const DrainTurn& turn : rounds_.turns()) {
    report_.receipts.push_back(turn.receipt);
    DemoEvent& event = report_.events.emplace_back(DemoEvent{seconds(turn.asked), "drain", turn.node + 1, {}});
    if (turn.ready) event.ready_after_seconds = seconds(*turn.ready - turn.asked);
    report_.restarts += turn.ready.has_value();
    if (turn.complete) drains.push_back({offset(turn.asked), offset(*turn.complete)});
    absences.push_back({offset(turn.asked), offset(turn.back.value_or(elapsed()))});
  }
  const auto [absent, steady] = timeline.split(absences);
  report_.p99_ratio = p99_ratio(timeline.split(drains).first, steady);
  report_.p99_ratio_with_restart = p99_ratio(absent, steady);
}

/// Waits for the cluster to heal, then reads the data: the verdict comes from it, not from the load's counters.
void Demo::prove() {
  board_.say("load stopped; waiting for every replica, then reading everything back through every node …");
  const auto complain = [this](const Error& error) { report_.complaints.push_back(error.message); };
  (void)cluster_.wait_until("every node ready", kHealTimeout, [this] {
    bool all = true;
    for (int i = 0; i < nodes(); ++i) {
      tend(i);
      all = all && (is(i, NodeState::Phase::kGone) || (is(i, NodeState::Phase::kReady) && cluster_.ready(i).ok()));
    }
    return all;
  });
  if (auto healed = wait_replicated(kHealTimeout); !healed.ok()) complain(healed.error());
  if (decommissions()) {
    if (auto moved = move_quietly(); !moved.ok()) complain(moved.error());
    read_through_those_that_stayed();
  }
  if (const auto ranges = cluster_.ranges(ready_node(), 5s); ranges.ok())
    report_.under_replicated_after = static_cast<std::uint64_t>(std::count_if(
        ranges->begin(), ranges->end(), [this](const RangeFacts& r) { return !fully_replicated({r}, wanted_rf()); }));
  if (records_) take_records();
  if (auto results = cli::read_back(cluster_, plan_, journals_); results.ok())
    report_.read_back = std::move(results).value();
  else
    complain(results.error());
  if (auto compared = compare_replicas(cluster_, kCompareTimeout); compared.ok())
    report_.replicas = std::move(compared).value();
  else
    complain(compared.error());
}

void Demo::print_logs() const {
  for (int i = 0; i < nodes(); ++i)
    std::fprintf(stderr, "--- last lines of node %d's log\n%s\n", i + 1, cluster_.log_tail(i, 3000).c_str());
  if (is_balanced()) std::fprintf(stderr, "--- HAProxy\n%s\n", haproxy_.log().c_str());
}

}  // namespace outlast::cli
