#include "cli/demo/drain.h"

#include <spdlog/fmt/fmt.h>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kPhaseLimit = 30s;  ///< Ten times what the slowest phase needs on a busy machine.
constexpr const char* kPhaseNames[] = {"rest", "drain", "stop", "start", "catch up and get its leases back", "be over"};

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

DrainRounds::DrainRounds(int nodes, int rounds, Duration end, Ports ports)
    : nodes_(nodes), wanted_(static_cast<std::size_t>(nodes * rounds)), end_(end), ports_(std::move(ports)) {}

void DrainRounds::enter(Phase next, Duration now) {
  phase_ = next;
  since_ = now;
}

void DrainRounds::fail(const std::string& why) {
  trouble_ = why;
  ports_.say("  " + why);
  phase_ = Phase::kOver;
}

/// The first turn leaves the load some time to warm up; the last one has a whole slot.
Duration DrainRounds::due() const {
  const Duration lead = end_ / 20;
  return lead + (end_ - lead) / static_cast<int>(wanted_) * static_cast<int>(turns_.size());
}

void DrainRounds::step(Duration now) {
  if (phase_ == Phase::kOver) return;
  if (phase_ == Phase::kResting) {
    if (turns_.size() == wanted_) return enter(Phase::kOver, now);
    if (now >= due() && ports_.healed()) begin(now);
    return;
  }
  DrainTurn& turn = turns_.back();
  if (phase_ == Phase::kDraining) {
    look(now);
  } else if (phase_ == Phase::kStopping && !ports_.running(turn.node)) {
    if (const auto started = ports_.start(turn.node); !started.ok()) return fail(started.error().message);
    enter(Phase::kStarting, now);
  } else if (phase_ == Phase::kStarting && ports_.ready(turn.node)) {
    turn.ready = now;
    enter(Phase::kReturning, now);
  } else if (phase_ == Phase::kReturning && ports_.healed()) {
    turn.back = now;
    enter(Phase::kResting, now);
  }
  if (phase_ != Phase::kResting && phase_ != Phase::kOver && now - since_ > kPhaseLimit)
    fail(fmt::format("node {} did not {} within {:.0f} s", turn.node + 1, kPhaseNames[static_cast<int>(phase_)],
                     seconds(kPhaseLimit)));
}

void DrainRounds::begin(Duration now) {
  const int node = static_cast<int>(turns_.size()) % nodes_;
  DrainTurn& turn = turns_.emplace_back();
  turn.node = node;
  turn.asked = now;
  proto::DrainRequest request;
  request.set_action(proto::DrainRequest::DRAIN);
  request.set_by("outlast demo");
  const auto reply = ports_.ask(node, request);
  if (!reply.ok()) return fail(fmt::format("node {} cannot be drained: {}", node + 1, reply.error().message));
  if (!reply->code().empty()) return fail(fmt::format("node {} refuses to drain: {}", node + 1, reply->message()));
  turn.receipt = reply->status();
  ports_.say(fmt::format("  {:.0f} s: drain of node {}", seconds(now), node + 1));
  enter(Phase::kDraining, now);
}

void DrainRounds::look(Duration now) {
  DrainTurn& turn = turns_.back();
  const auto reply = ports_.ask(turn.node, proto::DrainRequest());
  if (!reply.ok() || !reply->code().empty()) return;  // asked again until the phase's limit
  turn.receipt = reply->status();
  turn.receipt.clear_last_receipt();  // the same once more, or that of the process before
  if (turn.receipt.end().empty()) return;
  turn.complete = now;
  ports_.say(fmt::format("  {:.0f} s: node {} drained in {:.1f} s: {} leases moved, {} sessions told to go",
                         seconds(now), turn.node + 1, seconds(now - turn.asked), turn.receipt.leases_moved(),
                         turn.receipt.sessions_shed()));
  ports_.stop(turn.node);
  enter(Phase::kStopping, now);
}

}  // namespace outlast::cli
