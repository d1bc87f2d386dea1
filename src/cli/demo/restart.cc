#include "cli/demo/restart.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kRest = 500ms;         ///< Between two restarts, and before the first one.
constexpr Duration kRestartLimit = 120s;  ///< A restart ends by itself before: its supervisor kills what hangs.
constexpr Duration kHealLimit = 60s;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

const char* to_string(RestartTrigger trigger) {
  constexpr const char* kNames[] = {"SIGUSR2", "supervisor.sock", "HTTP"};
  return kNames[static_cast<int>(trigger)];
}

std::size_t restarts_wanted(Duration run) {
  return std::max<std::size_t>(1, static_cast<std::size_t>(20 * std::min<Duration>(run, 90s) / Duration(90s)));
}

RestartRounds::RestartRounds(int nodes, Duration end, Ports ports)
    : nodes_(nodes), end_(end), ports_(std::move(ports)) {}

void RestartRounds::enter(Phase next, Duration now) {
  phase_ = next;
  since_ = now;
}

void RestartRounds::fail(const std::string& why) {
  trouble_ = why;
  ports_.say("  " + why);
  phase_ = Phase::kOver;
}

void RestartRounds::step(Duration now) {
  if (phase_ == Phase::kResting) {
    if (now >= end_) return enter(Phase::kOver, now);
    if (now - since_ >= kRest && ports_.healed()) begin(now);
  } else if (phase_ == Phase::kRestarting) {
    look(now);
  } else if (phase_ == Phase::kHealing) {
    if (ports_.healed()) {
      turns_.back().healed = now;
      return enter(Phase::kResting, now);
    }
    if (now - since_ > kHealLimit)
      fail(fmt::format("not every replica was in sync {:.0f} s after the restart of node {}", seconds(kHealLimit),
                       turns_.back().node + 1));
  }
}

/// Another trigger with every restart, and another one for the same node with every round.
void RestartRounds::begin(Duration now) {
  const int count = static_cast<int>(turns_.size());
  RestartTurn& turn = turns_.emplace_back();
  turn.node = count % nodes_;
  turn.trigger = static_cast<RestartTrigger>((count + count / nodes_) % 3);
  turn.asked = now;
  const auto id = ports_.ask(turn.node, turn.trigger);
  if (!id.ok())
    return fail(fmt::format("node {} cannot be restarted by {}: {}", turn.node + 1, to_string(turn.trigger),
                            id.error().message));
  turn.id = *id;
  enter(Phase::kRestarting, now);
}

void RestartRounds::look(Duration now) {
  RestartTurn& turn = turns_.back();
  auto receipt = ports_.receipt(turn.node, turn.id);
  if (!receipt) {
    if (now - since_ > kRestartLimit)
      fail(fmt::format("node {} has no receipt of restart {} after {:.0f} s", turn.node + 1, turn.id,
                       seconds(kRestartLimit)));
    return;
  }
  turn.receipt = std::move(*receipt);
  turn.over = now;
  const std::string why = server::text_of(turn.receipt, "why");
  ports_.say(fmt::format(
      "  {:.0f} s: restart of node {} by {}: {} in {:.1f} s, {} sessions moved{}", seconds(now), turn.node + 1,
      to_string(turn.trigger), server::text_of(turn.receipt, "outcome"), seconds(now - turn.asked),
      server::number_of(server::object_of(turn.receipt, "sessions"), "moved"), why.empty() ? "" : " (" + why + ")"));
  enter(Phase::kHealing, now);
}

}  // namespace outlast::cli
