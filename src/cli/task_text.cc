#include "cli/task_text.h"

#include <spdlog/fmt/fmt.h>

#include "base/parse.h"
#include "cli/node_decommission_text.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {

std::set<std::uint32_t> nodes_of(const proto::TaskStatus& task) {
  std::set<std::uint32_t> nodes;
  for (const auto& node : task.nodes()) nodes.insert(node.node());
  return nodes;
}

std::string time_or_dash(std::int64_t micros) {
  return micros == 0 ? "-" : server::time_text(micros);
}

std::string eta(const proto::TaskStatus& task) {
  if (!task.has_progress() || task.eta_ms() < 0 || task.ended_micros() != 0) return "-";
  return time_left(static_cast<std::uint64_t>(task.eta_ms()));
}

std::string left(const proto::TaskStatus& task) {
  if (!task.has_progress() || task.kind() != "decommission") return "-";
  return fmt::format("{} replicas, {}", task.replicas_left(), format_bytes(task.bytes_left()));
}

/// The last word about it: how it ended, or why it stands still.
std::string word(const proto::TaskStatus& task) {
  if (!task.outcome().empty()) return task.outcome();
  if (!task.stall().reason().empty()) return "stalls: " + task.stall().reason();
  return task.has_progress() || task.ended_micros() != 0 ? "-" : "no leader frontend says how far it is";
}

std::string head(const proto::TaskStatus& task) {
  std::string text = fmt::format("task {}: {}, {}", task.id(), task.kind(), task.state());
  if (task.ended_micros() == 0 && !task.stage().empty()) text += ", " + task.stage();
  text += fmt::format("\nasked for by {}\nstarted {}", task.by().empty() ? "somebody" : task.by(),
                      server::time_text(task.started_micros()));
  if (task.ended_micros() != 0) text += ", ended " + server::time_text(task.ended_micros());
  text += task.owner() == 0 ? "\n" : fmt::format(", run by the leader frontend, node {}\n", task.owner());
  return text;
}

}  // namespace

Table task_table(const proto::TasksReply& tasks) {
  Table table({"id", "kind", "state", "stage", "nodes", "started_at", "ended_at", "left", "eta", "by", "outcome"});
  for (const auto& t : tasks.tasks())
    table.add({std::to_string(t.id()), t.kind(), t.state(),
               t.ended_micros() != 0 || t.stage().empty() ? "-" : t.stage(), joined(nodes_of(t)),
               time_or_dash(t.started_micros()), time_or_dash(t.ended_micros()), left(t), eta(t), t.by(), word(t)});
  return table;
}

std::string task_text(const proto::TaskStatus& task) {
  std::string text = head(task);
  if (task.state() == "paused") text += fmt::format("paused: `outlast task resume {}` lets it go on\n", task.id());
  if (!task.nodes().empty() && (task.has_progress() || task.ended_micros() != 0))
    text += decommission_table(task, nodes_of(task)).table();
  if (task.ended_micros() == 0) {
    if (!task.has_progress())
      text += "no leader frontend says how far it is; one takes it up by itself\n";
    else if (task.kind() == "decommission")
      text += decommission_progress(task) + decommission_stall(task);
  }
  if (!task.outcome().empty()) text += task.outcome() + "\n";
  if (!task.detail().empty()) text += task.detail() + "\n";
  return text;
}

}  // namespace outlast::cli
