#include "cli/node_decommission_text.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>

#include "base/parse.h"

namespace outlast::cli {
namespace {
constexpr int kRangesShown = 10;

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

Table seed_table() {
  return Table({"id", "is_live", "replicas", "is_decommissioning", "membership", "is_draining"});
}

std::vector<std::string> row(std::uint32_t id, bool live, std::uint64_t replicas, const std::string& membership,
                             bool draining) {
  return {std::to_string(id),          yes(live),  std::to_string(replicas),
          yes(membership != "active"), membership, yes(draining)};
}

std::string amount_left(const proto::TaskStatus& task) {
  if (task.replicas_left() == 0) return "no replicas left";
  std::string text = counted(task.replicas_left(), "replica", "replicas");
  if (task.bytes_at_start() > 0 || task.bytes_left() > 0)
    text += fmt::format(", {} of {}", format_bytes(task.bytes_left()),
                        format_bytes(std::max(task.bytes_at_start(), task.bytes_left())));
  return text + " left";
}

std::string speed(const proto::TaskStatus& task) {
  std::string text;
  if (task.bytes_per_second() >= 1)
    text += "; " + format_bytes(static_cast<std::uint64_t>(task.bytes_per_second())) + " a second";
  text += task.eta_ms() < 0 ? "; time left not known"
                            : "; about " + time_left(static_cast<std::uint64_t>(task.eta_ms())) + " left";
  if (task.eta_at_least_ms() > 0) text += ", at least " + time_left(task.eta_at_least_ms());
  if (task.bottleneck().empty() || task.bottleneck() == "nothing") return text;
  text += "; limited by " + task.bottleneck();
  return task.bottleneck_node() == 0 ? text : text + fmt::format(" (node {})", task.bottleneck_node());
}

std::string ranges_text(const proto::TaskStatus::Stall& stall) {
  std::string text;
  const int shown = std::min(stall.ranges_size(), kRangesShown);
  for (int i = 0; i < shown; ++i) text += fmt::format("{}r{}", i == 0 ? "" : ", ", stall.ranges(i));
  if (stall.ranges_size() > shown) text += fmt::format(" and {} more", stall.ranges_size() - shown);
  return text;
}

}  // namespace

Table decommission_table(const proto::TaskStatus& task, const std::set<std::uint32_t>& nodes) {
  Table table = seed_table();
  for (const std::uint32_t id : nodes)
    for (const auto& n : task.nodes())
      if (n.node() == id) table.add(row(id, n.is_live(), n.replicas(), n.membership(), n.is_draining()));
  return table;
}

Table decommission_table(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& nodes) {
  Table table = seed_table();
  for (const std::uint32_t id : nodes)
    for (const auto& n : cluster.nodes())
      if (n.id() == id) table.add(row(id, n.is_live(), n.replicas(), n.membership(), n.is_draining()));
  return table;
}

Table readiness_table(const proto::DecommissionReply& reply) {
  Table table(
      {"id", "is_live", "replicas", "is_decommissioning", "membership", "is_draining", "readiness", "blocking_ranges"});
  for (const auto& checked : reply.preflight().nodes())
    for (const auto& n : reply.nodes())
      if (n.id() == checked.node()) {
        auto cells = row(n.id(), n.is_live(), n.replicas(), n.membership(), n.is_draining());
        cells.push_back(checked.readiness());
        cells.push_back(std::to_string(checked.blocking_ranges()));
        table.add(std::move(cells));
      }
  return table;
}

std::string decommission_progress(const proto::TaskStatus& task) {
  std::string text = amount_left(task) + (task.replicas_left() == 0 ? "" : speed(task)) + "\n";
  for (const auto& node : task.nodes())
    if (!node.blocker().empty() && node.stage() != "settled" && node.stage() != "moving")
      text += fmt::format("  node {} is {}, and waits for: {}\n", node.node(), node.stage(), node.blocker());
  return text;
}

std::string decommission_stall(const proto::TaskStatus& task) {
  const auto& stall = task.stall();
  if (stall.reason().empty()) return {};
  const bool says_it = stall.why().find(stall.reason()) != std::string::npos;
  std::string text =
      fmt::format("possible decommission stall detected\n{}{}\n", says_it ? "" : stall.reason() + ": ", stall.why());
  if (stall.ranges_size() > 0) text += "ranges that have yet to move: " + ranges_text(stall) + "\n";
  return text;
}

std::string decommission_plan(const proto::Preflight& p) {
  std::string text = "dry run: nothing was changed\n" + counted(p.ranges_checked(), "range", "ranges") + " checked; ";
  if (!p.may_begin()) return text + "it would not begin\n";
  text += counted(p.moves(), "replica", "replicas") + " would be copied";
  if (p.bytes() > 0) text += ", " + format_bytes(p.bytes());
  if (p.reductions() > 0)
    text += "; " + counted(p.reductions(), "range gets a", "ranges get a") + " smaller replication factor";
  return text + "\n";
}

std::string decommission_receipt(const proto::TaskStatus& task, const std::set<std::uint32_t>& nodes) {
  std::uint64_t replicas = 0, bytes = 0;
  std::string losses;
  for (const auto& node : task.nodes()) {
    if (!nodes.contains(node.node())) continue;
    replicas += node.replicas_at_start();
    bytes += node.bytes_at_start();
    if (!node.in_absentia()) continue;
    losses += fmt::format("warning: node {} was dead: ", node.node());
    losses += node.possible_loss_bytes() == 0
                  ? "nothing waited in its ingest buffers when it was last heard of\n"
                  : format_bytes(node.possible_loss_bytes()) +
                        " in its ingest buffers were not flushed when it was last heard of and are possibly lost\n";
  }
  std::string text = fmt::format("decommissioned  {}", nodes_text(nodes));
  if (task.ended_micros() > task.started_micros())
    text += " in " + time_left(static_cast<std::uint64_t>((task.ended_micros() - task.started_micros()) / 1000));
  text += "; " + counted(replicas, "replica", "replicas") + (bytes > 0 ? " (" + format_bytes(bytes) + ")" : "");
  return text + (replicas == 1 ? " is" : " are") + " elsewhere now\n" + losses;
}

std::string nodes_text(const std::set<std::uint32_t>& nodes) {
  std::string text;
  for (const std::uint32_t node : nodes) text += (text.empty() ? "" : ", ") + std::to_string(node);
  return (nodes.size() == 1 ? "node " : "nodes ") + text;
}

std::string node_words(const std::set<std::uint32_t>& nodes) {
  std::string text;
  for (const std::uint32_t node : nodes) text += (text.empty() ? "" : " ") + std::to_string(node);
  return text;
}

std::string time_left(std::uint64_t ms) {
  if (ms < 10'000) return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000);
  return format_duration(std::chrono::seconds((ms + 500) / 1000));
}

}  // namespace outlast::cli
