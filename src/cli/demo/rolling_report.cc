#include "cli/demo/rolling_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>

#include "server/json_views.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;

double seconds(Duration d) {
  return std::round(std::chrono::duration<double>(d).count() * 1000) / 1000;
}

std::string failure_of(const RollingTurn& turn) {
  if (!turn.over) return "did not end";
  if (turn.receipt.state() != "completed")
    return fmt::format("is {}: {}", turn.receipt.state(), turn.receipt.outcome());
  if (turn.exit_code != 0) return fmt::format("ended its command line with code {}", *turn.exit_code);
  if (turn.replaced != turn.nodes)
    return fmt::format("left {} of {} nodes with their processes", turn.nodes - turn.replaced, turn.nodes);
  return "";
}
}  // namespace

void rolling_failures(const std::vector<RollingTurn>& turns, const ConnectionCounts& connections,
                      std::vector<std::string>& why) {
  for (const RollingKind kind : {RollingKind::kZeroDowntime, RollingKind::kCommand})
    if (std::ranges::none_of(turns, [&](const RollingTurn& turn) { return turn.kind == kind && turn.over; }))
      why.push_back(fmt::format("the cluster was not restarted in the way \"{}\"", to_string(kind)));
  for (const RollingTurn& turn : turns)
    if (const std::string text = failure_of(turn); !text.empty())
      why.push_back(fmt::format("the restart at {:.0f} s {}", seconds(turn.asked), text));
  if (connections.lost != 0) why.push_back(fmt::format("{} connections were lost", connections.lost));
  if (connections.refused != 0) why.push_back(fmt::format("{} connections were refused", connections.refused));
}

void add_rolling_fields(const std::vector<RollingTurn>& turns, double longest_pause_ms, json::object& all) {
  json::array rounds;
  for (const RollingTurn& turn : turns)
    rounds.push_back({{"kind", to_string(turn.kind)},
                      {"at_seconds", seconds(turn.asked)},
                      {"seconds", turn.over ? json::value(seconds(*turn.over - turn.asked)) : json::value()},
                      {"exit_code", turn.exit_code ? json::value(*turn.exit_code) : json::value()},
                      {"nodes", turn.nodes},
                      {"replaced", turn.replaced},
                      {"receipt", server::to_json(turn.receipt)}});
  all["longest_pause_ms"] = std::round(longest_pause_ms * 1000) / 1000;
  all["rounds"] = std::move(rounds);
}

std::string rolling_summary(const std::vector<RollingTurn>& turns, const ConnectionCounts& connections) {
  std::string text;
  for (const RollingTurn& turn : turns)
    text += fmt::format("round       at {:.0f} s, {}: {} of {} nodes replaced in {} s\n", seconds(turn.asked),
                        to_string(turn.kind), turn.replaced, turn.nodes,
                        turn.over ? fmt::format("{:.1f}", seconds(*turn.over - turn.asked)) : "?");
  return text + fmt::format("connections {} opened, {} told to go, {} refused, {} lost\n", connections.opened,
                            connections.closed_idle, connections.refused, connections.lost);
}

}  // namespace outlast::cli
