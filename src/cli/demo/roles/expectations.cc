#include "cli/demo/roles/expectations.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "cli/demo/report.h"
#include "cli/demo/roles/report.h"

namespace outlast::cli {
namespace {
using Verdict = Expectation::Verdict;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

Verdict verdict(bool measured, bool met) {
  return !measured ? Verdict::kNotMeasured : met ? Verdict::kMet : Verdict::kNotMet;
}

bool left(const ExitTurn& turn) {
  return turn.gone && !turn.killed;
}

/// Of StarRocks' times, whose window is 20 s.
double scale(const RolesPlan& plan) {
  return seconds(plan.window()) / 20;
}

Expectation short_ones(const RolesReport&, const DemoReport& report) {
  const StatementCounts& s = report.statements;
  return {"query: short", "complete normally",
          fmt::format("{} ok, {} failed, p99 {:.1f} ms", s.ok, s.failed + s.unknown, report.p99_ms),
          verdict(s.ok > 0, s.failed + s.unknown == 0)};
}

Expectation medium_ones(const RolesReport& roles, const DemoReport&) {
  const QueryCounts& m = roles.medium;
  return {"query: medium", "complete when the wait window is long enough; else cancelled, to be run again by hand",
          fmt::format("{} ok in {:.1f} to {:.1f} s, {} cancelled after a window of {:.0f} s, {} failed within it", m.ok,
                      m.seconds_min, m.seconds_max, m.cancelled, seconds(roles.plan.window()), m.failed),
          verdict(m.ok > 0, m.failed == 0)};
}

Expectation long_ones(const RolesReport& roles, const DemoReport&) {
  const QueryCounts& l = roles.long_ones;
  return {"query: long", "likely ended by a time limit, to be run again by hand",
          fmt::format("{} ended by the exit or after {:.0f} s, {} ok, {} run again, {} failed otherwise", l.cancelled,
                      seconds(roles.plan.long_limit), l.ok, l.retried, l.failed),
          verdict(l.cancelled + l.ok + l.failed > 0, l.failed == 0)};
}

Expectation connector_loads(const RolesReport& roles, const DemoReport&) {
  const LabelCounts l = roles.labels.value_or(LabelCounts());
  return {"load: by connectors", "repeated by them under the same label, with no interruption that users see",
          fmt::format("{} labels, {} repeated tries, {} given up, {} lost, {} doubled", l.sent, l.retried, l.failed,
                      l.lost, l.doubled),
          verdict(roles.labels && l.sent > 0, l.failed + l.lost + l.doubled + l.halves == 0)};
}

Expectation plain_loads(const RolesReport& roles, const DemoReport&) {
  const LabelCounts l = roles.plain_labels.value_or(LabelCounts());
  return {"load: plain", "may fail when its connection breaks, to be sent again by hand",
          fmt::format("{} ok, {} failed, {} of them half", l.sent, l.failed, l.halves),
          verdict(roles.plain_labels && l.sent > 0, l.lost + l.doubled + l.halves == 0)};
}

Expectation background(const RolesReport& roles, const DemoReport&) {
  const TaskCounts t = roles.tasks.value_or(TaskCounts());
  return {"task: background", "scheduled again by the frontends",
          fmt::format("{} of {} rows expired, at most {:.1f} s late, {} under the next leader; {} loads to be applied",
                      t.expired, t.inserted, t.longest_delay_seconds, t.after_leader_left ? "also" : "none",
                      t.loads_waiting),
          verdict(roles.tasks && t.inserted > 0, t.expired > 0 && t.after_leader_left && t.loads_waiting == 0)};
}

Expectation no_downtime(const RolesReport& roles, const DemoReport&) {
  constexpr double kLongest = 3;
  const auto& silence = roles.longest_silence_seconds;
  return {"operation: no downtime of the cluster", "some node answers at any time",
          silence ? fmt::format("at most {:.1f} s without an answered statement", *silence) : "",
          verdict(silence.has_value(), silence.value_or(0) < kLongest)};
}

Expectation one_at_a_time(const RolesReport& roles, const DemoReport&) {
  const auto back = std::ranges::count_if(roles.exits, [](const ExitTurn& turn) { return left(turn) && turn.back; });
  return {"operation: rolling, one node after another", "every node leaves, is started and serves again",
          fmt::format("{} of {} nodes left and came back", back, roles.nodes.size()),
          verdict(!roles.exits.empty(), static_cast<std::size_t>(back) == roles.nodes.size())};
}

Expectation status_codes(const RolesReport& roles, const DemoReport&) {
  const auto seen = std::ranges::count_if(roles.exits, &ExitTurn::seen_leaving);
  return {"operator: StatusCode", "SHUTDOWN while the node leaves, DISCONNECTED when it has",
          fmt::format("{} of {} exits shown so", seen, roles.exits.size()),
          verdict(!roles.exits.empty(), static_cast<std::size_t>(seen) == roles.exits.size())};
}

/// Of exits whose queries all ended within the window.
Expectation ends_early(const RolesReport& roles, const DemoReport&) {
  constexpr Duration kLeases = std::chrono::seconds(5);  ///< Leases and copies leave, and the process ends.
  std::size_t exits = 0, early = 0;
  for (const ExitTurn& turn : roles.exits) {
    const Duration idle = std::max(turn.asked, turn.busy_until.value_or(turn.asked));
    if (turn.role == NodeRole::kFrontend || !turn.gone || idle > turn.asked + turn.window) continue;
    ++exits;
    early += *turn.gone < idle + kLeases;
  }
  return {"backend, compute: exit", "at once when no fragment is left",
          fmt::format("{} of {} exits ended within {:.0f} s of the last query that ran when they began", early, exits,
                      seconds(kLeases)),
          verdict(exits > 0, early == exits)};
}

Expectation health(const RolesReport& roles, const DemoReport&) {
  std::size_t exits = 0, seen = 0;
  double latest = 0;
  for (const ExitTurn& turn : roles.exits) {
    if (turn.role != NodeRole::kFrontend) continue;
    ++exits;
    seen += turn.unhealthy.has_value();
    if (turn.unhealthy) latest = std::max(latest, seconds(*turn.unhealthy - turn.asked));
  }
  return {"frontend: /api/health", "500 at once, so that balancers stop sending clients",
          fmt::format("{} of {} exits, at the latest after {:.1f} s", seen, exits, latest),
          verdict(exits > 0, seen == exits)};
}

Expectation leader(const RolesReport& roles, const DemoReport&) {
  const bool did = std::ranges::any_of(roles.exits, [](const ExitTurn& turn) { return turn.leader && turn.gone; });
  return {"frontend: leader", "another one is elected",
          fmt::format("the leader left, and it changed {} times", roles.leader_changes),
          verdict(did, roles.leader_changes > 0)};
}

}  // namespace

const char* to_string(Expectation::Verdict verdict) {
  constexpr const char* kNames[] = {"met", "not met", "not measured"};
  return kNames[static_cast<int>(verdict)];
}

std::vector<Expectation> roles_expectations(const RolesReport& roles, const DemoReport& report) {
  std::vector<Expectation> all;
  for (const auto row : {short_ones, medium_ones, long_ones, connector_loads, plain_loads, background, no_downtime,
                         one_at_a_time, status_codes, ends_early, health, leader})
    all.push_back(row(roles, report));
  all[0].task += fmt::format(" (less than {:.0f} s)", 20 * scale(roles.plan));
  all[1].task +=
      fmt::format(" ({:.0f} to {:.0f} s alone)", seconds(roles.plan.medium_scan), seconds(roles.plan.medium_join));
  all[2].task += fmt::format(" (does not fit {:.0f} s)", seconds(roles.plan.window()));
  return all;
}

}  // namespace outlast::cli
