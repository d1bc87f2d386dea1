#include "cli/rolling_text.h"

#include <spdlog/fmt/fmt.h>

#include <boost/json/parse.hpp>

#include "base/parse.h"
#include "cli/table.h"
#include "server/restart_status.h"

namespace outlast::cli {
using lifecycle::RollingRecord;
using lifecycle::RollingStep;

namespace {
void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

std::string verb(RollingStep step) {
  switch (step) {
    case RollingStep::kDraining:
      return "drains";
    case RollingStep::kCommand:
      return "is drained";
    case RollingStep::kRunning:
      return "its command runs";
    case RollingStep::kRestarting:
      return "restarts";
    case RollingStep::kReturning:
      return "comes back";
    case RollingStep::kBackingOut:
      return "takes its drain back";
    case RollingStep::kPending:
      return "waits for its turn again";
    case RollingStep::kFailed:
      return "failed";
    case RollingStep::kDone:
      return "is back";
    case RollingStep::kSkipped:
      return "is left out";
  }
  return "";
}
}  // namespace

std::string safe_to_stop_text(const proto::SafeToStopReply& reply) {
  std::string out = reply.nodes_size() == 0
                        ? "no node may stop now\n"
                        : fmt::format("may stop together now: {}{}\n", joined(reply.nodes()),
                                      reply.largest() ? "" : " (there may be a larger set: the search was cut short)");
  for (const auto& left : reply.left()) out += fmt::format("  not node {}: {}\n", left.node(), left.why());
  return out;
}

std::string rolling_plan(const proto::RollingRestartReply& reply) {
  std::string out;
  for (int i = 0; i < reply.batches_size(); ++i)
    out += fmt::format("batch {}: {} {}\n", i + 1, reply.batches(i).nodes_size() == 1 ? "node" : "nodes",
                       joined(reply.batches(i).nodes()));
  for (const auto& left : reply.left()) out += fmt::format("not node {}: {}\n", left.node(), left.why());
  return out;
}

std::string command_for(std::string command, const proto::NodeStatus& node) {
  replace_all(command, "{node}", std::to_string(node.id()));
  replace_all(command, "{address}", node.address());
  return command;
}

std::string RollingProgress::nodes_of(const RollingRecord& record) {
  std::string out;
  for (const RollingRecord::Node& node : record.nodes) {
    const auto [it, is_new] = steps_.try_emplace(node.node, RollingStep::kPending);
    if (it->second == node.step) continue;
    it->second = node.step;
    out += fmt::format("batch {}: node {} {}", node.batch, node.node.value, verb(node.step));
    if (node.step == RollingStep::kDone && node.began_micros > 0)
      out += " after " + format_duration(std::chrono::milliseconds((node.ended_micros - node.began_micros) / 1000));
    if (!node.note.empty()) out += ": " + node.note;
    out += '\n';
  }
  return out;
}

std::string RollingProgress::take(const proto::TaskStatus& task, const RollingRecord& record) {
  std::string out;
  if (std::exchange(first_, false))
    out += fmt::format("task {}: rolling restart of {} nodes{}\n", task.id(), record.nodes.size(),
                       record.baseline ? ""
                                       : fmt::format("; {} of baseline first",
                                                     format_duration(record.options.window * record.options.windows)));
  if (record.baseline && !std::exchange(baseline_, true))
    out += fmt::format("baseline: {:.0f} statements/s, p50 {:.1f} ms, p99 {:.1f} ms, {:.0f} errors\n",
                       record.baseline->per_second, record.baseline->p50_ms, record.baseline->p99_ms,
                       record.baseline->errors);
  out += nodes_of(record);
  if (!record.windows.empty() && record.windows.back().worse && record.windows.back().p99_ms != worst_ms_) {
    worst_ms_ = record.windows.back().p99_ms;
    out += fmt::format("worse than the baseline: p99 {:.1f} ms, {:.0f} errors ({} in a row)\n", worst_ms_,
                       record.windows.back().errors, record.worse_in_a_row);
  }
  boost::system::error_code error;
  const boost::json::value detail = boost::json::parse(task.detail(), error);
  const std::string waiting = error || !detail.is_object() ? "" : server::text_of(detail.get_object(), "waiting");
  if (waiting != waiting_ && !waiting.empty() && task.state() == "running") out += "waits: " + waiting + "\n";
  waiting_ = waiting;
  if (task.state() != state_ && task.state() == "paused")
    out += "paused: " + (record.paused_why.empty() ? "an operator asked for it" : record.paused_why) + "\n";
  if (task.state() != state_ && state_ == "paused" && task.state() == "running") out += "goes on\n";
  state_ = task.state();
  return out;
}

}  // namespace outlast::cli
