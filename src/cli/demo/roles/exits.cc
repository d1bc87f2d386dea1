#include "cli/demo/roles/exits.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kRest = 500ms;  ///< Between two exits, and before the first one.
constexpr Duration kSlack = 40s;   ///< Ten times what a phase needs beyond its own waits.
constexpr const char* kPhaseNames[] = {
    "rest", "have its queries running", "leave", "start again", "be shown as OK with every replica in sync", "be over"};

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

const char* to_string(NodeRole role) {
  constexpr const char* kNames[] = {"frontend", "backend", "compute"};
  return kNames[static_cast<int>(role)];
}

bool ExitTurn::seen_leaving() const {
  const auto shutdown_at = std::ranges::find(codes, "SHUTDOWN");
  return std::find(shutdown_at, codes.end(), "DISCONNECTED") != codes.end();
}

RolesExits::RolesExits(std::vector<NodeRole> roles, const RolesPlan& plan, Ports ports)
    : roles_(std::move(roles)), plan_(plan), ports_(std::move(ports)) {}

void RolesExits::enter(Phase next, Duration now) {
  phase_ = next;
  since_ = now;
}

void RolesExits::fail(const std::string& why) {
  trouble_ = why;
  ports_.say("  " + why);
  phase_ = Phase::kOver;
}

const ExitTurn* RolesExits::current() const {
  return phase_ == Phase::kResting || phase_ == Phase::kOver ? nullptr : &turns_.back();
}

/// Those that are left, the leader frontend behind all others; empty while nobody says who that is.
std::optional<int> RolesExits::choose() const {
  const auto left = [this](int node) {
    return std::ranges::none_of(turns_, [node](const ExitTurn& turn) { return turn.node == node; });
  };
  const std::optional<int> leader = ports_.leader();
  for (const NodeRole role : {NodeRole::kCompute, NodeRole::kBackend, NodeRole::kFrontend})
    for (int node = 0; node < static_cast<int>(roles_.size()); ++node)
      if (roles_[static_cast<std::size_t>(node)] == role && left(node) && leader && *leader != node) return node;
  return leader && left(*leader) ? leader : std::nullopt;
}

/// What a phase may take: its own waits, and ample time on a busy machine.
Duration RolesExits::limit() const {
  return phase_ == Phase::kLeaving ? turns_.back().window + plan_.fragments_timeout + kSlack
                                   : kSlack + plan_.long_limit;
}

void RolesExits::step(Duration now) {
  if (phase_ == Phase::kOver) return;
  if (phase_ == Phase::kResting) {
    if (turns_.size() == roles_.size()) return enter(Phase::kOver, now);
    if (now - since_ >= kRest && ports_.healed()) prepare(now);
    if (phase_ == Phase::kResting && now - since_ > limit())
      fail("no node can leave: not every replica is in sync, or nobody says who leads");
    return;
  }
  ExitTurn& turn = turns_.back();
  if (phase_ == Phase::kPreparing && ports_.prepared(turn)) {
    begin(now);
  } else if (phase_ == Phase::kLeaving) {
    look(turn, now);
  } else if (phase_ == Phase::kStarting && ports_.ready(turn.node)) {
    turn.ready = now;
    enter(Phase::kReturning, now);
  } else if (phase_ == Phase::kReturning && ports_.healed()) {
    if (const auto shown = ports_.shown(turn); shown && shown->code == "OK") {
      turn.codes.push_back(shown->code);
      turn.back = now;
      enter(Phase::kResting, now);
    }
  }
  if (phase_ != Phase::kResting && phase_ != Phase::kOver && now - since_ > limit())
    fail(fmt::format("node {} ({}) did not {} within {:.0f} s", turn.node + 1, to_string(turn.role),
                     kPhaseNames[static_cast<int>(phase_)], seconds(limit())));
}

void RolesExits::prepare(Duration now) {
  const auto node = choose();
  if (!node) return;
  const NodeRole role = roles_[static_cast<std::size_t>(*node)];
  const bool frontend = role == NodeRole::kFrontend;
  turns_.push_back({.node = *node,
                    .role = role,
                    .leader = ports_.leader() == *node,
                    .with_long = !frontend && turns_.size() < plan_.long_exits,
                    .window = frontend ? plan_.frontend_timeout : plan_.window()});
  enter(Phase::kPreparing, now);
}

void RolesExits::begin(Duration now) {
  ExitTurn& turn = turns_.back();
  turn.asked = now;
  turn.queries = ports_.queries();
  if (const auto shown = ports_.shown(turn)) turn.running = shown->running;
  if (const auto asked = ports_.stop(turn); !asked.ok())
    return fail(fmt::format("node {} cannot be told to leave: {}", turn.node + 1, asked.error().message));
  ports_.say(fmt::format("  {:.0f} s: node {} ({}{}) leaves, {} queries run{}", seconds(now), turn.node + 1,
                         to_string(turn.role), turn.leader ? ", the leader" : "", turn.queries,
                         turn.with_long ? ", one of them a long one" : ""));
  enter(Phase::kLeaving, now);
}

/// Everybody else sees it leave; it ends when its command did, its process too, and it is shown as disconnected.
void RolesExits::look(ExitTurn& turn, Duration now) {
  if (turn.role == NodeRole::kFrontend && !turn.unhealthy && ports_.unhealthy(turn.node)) turn.unhealthy = now;
  if (const auto shown = ports_.shown(turn); shown && (turn.codes.empty() || turn.codes.back() != shown->code)) {
    turn.codes.push_back(shown->code);
    if (shown->code == "SHUTDOWN" && !turn.shutdown) turn.shutdown = now;
    if (shown->code == "DISCONNECTED" && !turn.disconnected) turn.disconnected = now;
  }
  if (!turn.gone && !ports_.running(turn.node)) turn.gone = now;
  if (!turn.exit_code) turn.exit_code = ports_.stopped();
  if (turn.gone && turn.exit_code && turn.disconnected) end_leaving(turn, now);
}

void RolesExits::end_leaving(ExitTurn& turn, Duration now) {
  ports_.take_receipt(turn);
  ports_.say(fmt::format("  {:.0f} s: node {} left in {:.1f} s", seconds(now), turn.node + 1,
                         seconds(*turn.gone - turn.asked)));
  if (const auto started = ports_.start(turn.node); !started.ok()) return fail(started.error().message);
  enter(Phase::kStarting, now);
}

}  // namespace outlast::cli
