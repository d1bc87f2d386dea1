#include "cli/demo/rolling.h"

#include <spdlog/fmt/fmt.h>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kRest = 1s;  ///< Between two turns, and before the first one.
constexpr Duration kTurnLimit = 300s, kHealLimit = 60s;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

const char* to_string(RollingKind kind) {
  return kind == RollingKind::kCommand ? "command" : "zero-downtime";
}

RollingRounds::RollingRounds(Duration end, Ports ports) : end_(end), ports_(std::move(ports)) {}

void RollingRounds::enter(Phase next, Duration now) {
  phase_ = next;
  since_ = now;
}

void RollingRounds::fail(const std::string& why) {
  trouble_ = why;
  ports_.say("  " + why);
  phase_ = Phase::kOver;
}

/// Two at least, one of each kind, however short the run.
void RollingRounds::step(Duration now) {
  if (phase_ == Phase::kResting) {
    if (now >= end_ && turns_.size() >= 2) return enter(Phase::kOver, now);
    if (now - since_ >= kRest && ports_.healed()) begin(now);
  } else if (phase_ == Phase::kRestarting) {
    look(now);
  } else if (phase_ == Phase::kHealing) {
    if (ports_.healed()) return enter(Phase::kResting, now);
    if (now - since_ > kHealLimit)
      fail(fmt::format("not every replica was in sync {:.0f} s after the restart of the cluster", seconds(kHealLimit)));
  }
}

void RollingRounds::begin(Duration now) {
  RollingTurn& turn = turns_.emplace_back();
  turn.kind = turns_.size() == 2 ? RollingKind::kCommand : RollingKind::kZeroDowntime;
  turn.asked = now;
  before_ = ports_.processes();
  turn.nodes = static_cast<int>(before_.size());
  if (auto started = ports_.start(turn.kind); !started.ok())
    return fail("the cluster cannot be restarted: " + started.error().message);
  ports_.say(fmt::format("  {:.0f} s: rolling restart, {}", seconds(now), to_string(turn.kind)));
  enter(Phase::kRestarting, now);
}

/// A restart by a command has another supervisor, too; without downtime it stays.
int RollingRounds::replaced(RollingKind kind, const std::vector<NodeProcesses>& now) const {
  int count = 0;
  for (std::size_t i = 0; i < before_.size() && i < now.size(); ++i)
    count += now[i].worker != before_[i].worker && now[i].worker != 0 &&
             (now[i].supervisor != before_[i].supervisor) == (kind == RollingKind::kCommand);
  return count;
}

void RollingRounds::look(Duration now) {
  RollingTurn& turn = turns_.back();
  turn.exit_code = ports_.exit_code();
  if (!turn.exit_code) {
    if (now - since_ > kTurnLimit)
      fail(fmt::format("the cluster was not restarted within {:.0f} s", seconds(kTurnLimit)));
    return;
  }
  turn.over = now;
  turn.replaced = replaced(turn.kind, ports_.processes());
  if (const auto task = ports_.task(); task.ok()) turn.receipt = *task;
  ports_.say(fmt::format("  {:.0f} s: rolling restart is {} after {:.1f} s, {} of {} nodes have new processes",
                         seconds(now), turn.receipt.state(), seconds(now - turn.asked), turn.replaced, turn.nodes));
  if (*turn.exit_code != 0) return fail(fmt::format("the command line ended with code {}", *turn.exit_code));
  enter(Phase::kHealing, now);
}

}  // namespace outlast::cli
