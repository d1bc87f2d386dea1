#include "cli/demo/decommission_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>

#include "handover/supervisor.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;
constexpr double kEfficiencyMax = 2, kEtaErrorMax = 0.2, kP99RatioMax = 1.5;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
double round3(double value) {
  return std::round(value * 1000) / 1000;
}
double mib(std::uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}
json::value or_null(const std::optional<double>& value) {
  return value ? json::value(round3(*value)) : json::value();
}
json::value or_null(const std::optional<Duration>& value) {
  return value ? json::value(round3(seconds(*value))) : json::value();
}
std::string text(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "?";
}

void door_failures(const DoorCheck& door, std::vector<std::string>& why) {
  const auto say = [&](const std::string& what) { why.push_back(fmt::format("node {} {}", door.node, what)); };
  if (door.membership != "decommissioned") return say("is " + door.membership + ", not decommissioned");
  if (!door.fenced_for_good) say("is not fenced for good");
  if (!door.sql_refused.value_or(false)) say("still serves SQL");
  if (door.ready_status == 200) say("still says that it is ready");
  if (!door.stopped_after_seconds) say("did not stop in order when it was told to");
  if (door.start_code != handover::kExitFatal)
    say(fmt::format("was started again and ended with code {}, not {}",
                    door.start_code ? std::to_string(*door.start_code) : "?", handover::kExitFatal));
  else if (door.start_words.find("decommissioned") == std::string::npos)
    say("does not say why it does not start again");
}

void task_failures(const TaskStory& task, std::vector<std::string>& why) {
  if (task.last.state() != "completed")
    return why.push_back(fmt::format("task {} is {}: {}", task.last.id(), task.last.state(),
                                     task.last.outcome().empty() ? task.last.stall().why() : task.last.outcome()));
  for (const auto& node : task.last.nodes())
    if (node.in_absentia())
      why.push_back(fmt::format("the task says of node {}, which was live, that it was dead", node.node()));
  if (!task.moving() || seconds(*task.moving()) < kJudgedSeconds) return;
  if (!task.eta_error()) return why.push_back("the task did not predict its end after a tenth of it");
  if (*task.eta_error() > kEtaErrorMax)
    why.push_back(fmt::format("the predicted end was {:.0f} % off, {:.0f} % are allowed", 100 * *task.eta_error(),
                              100 * kEtaErrorMax));
}

void quiet_failures(const DecommissionReport& report, std::vector<std::string>& why) {
  const auto efficiency = report.efficiency();
  if (!efficiency) return why.push_back("moving was not compared with a plain copy");
  if (std::ranges::min(report.quiet, {}, &QuietMove::bytes).bytes >= kJudgedBytes && *efficiency > kEfficiencyMax)
    why.push_back(
        fmt::format("moving took {:.2f} x the time of a plain copy, {} x are allowed", *efficiency, kEfficiencyMax));
}

json::object to_json(const DoorCheck& door) {
  return {{"node", door.node},
          {"membership", door.membership},
          {"fenced_for_good", door.fenced_for_good},
          {"sql_refused", door.sql_refused.value_or(false)},
          {"sql_words", door.sql_words},
          {"ready_status", door.ready_status},
          {"stopped_after_seconds", or_null(door.stopped_after_seconds)},
          {"start_code", door.start_code ? json::value(*door.start_code) : json::value()},
          {"start_words", door.start_words}};
}

json::object to_json(const TaskStory& task) {
  json::array stalls, runners;
  for (const TaskStory::Stall& stall : task.stalls)
    stalls.push_back({{"at_seconds", round3(seconds(stall.at))},
                      {"reason", stall.reason},
                      {"why", stall.why},
                      {"ranges", stall.ranges}});
  for (const std::uint32_t runner : task.runners) runners.emplace_back(runner);
  json::object all{{"asked_at_seconds", round3(seconds(task.asked))},
                   {"bytes", task.bytes},
                   {"moving_seconds", or_null(task.moving())},
                   {"total_seconds", task.ended ? or_null(*task.ended - task.asked) : json::value()},
                   {"eta_error", or_null(task.eta_error())},
                   {"stalls", std::move(stalls)},
                   {"longest_silence_seconds", round3(seconds(task.longest_silence))},
                   {"run_by", std::move(runners)},
                   {"receipt", server::to_json(task.last)}};
  if (const auto said = task.predicted())
    all["predicted"] = {{"at_seconds", round3(seconds(said->at))}, {"eta_seconds", round3(seconds(said->eta))}};
  return all;
}

json::object to_json(const QuietMove& quiet) {
  json::object all{{"bytes", quiet.bytes},
                   {"files", quiet.files},
                   {"moving_seconds", or_null(quiet.task.moving())},
                   {"copy_seconds", round3(quiet.copy_seconds)},
                   {"efficiency", or_null(quiet.efficiency())},
                   {"rate_max", json::value()}};
  all["task"] = to_json(quiet.task);
  return all;
}
}  // namespace

std::optional<double> QuietMove::efficiency() const {
  if (!task.moving() || task.last.state() != "completed" || copy_seconds <= 0 || bytes == 0) return std::nullopt;
  return seconds(*task.moving()) / copy_seconds;
}

std::optional<double> DecommissionReport::efficiency() const {
  std::vector<double> all;
  for (const QuietMove& move : quiet) {
    const auto one = move.efficiency();
    if (!one) return std::nullopt;
    all.push_back(*one);
  }
  if (all.empty()) return std::nullopt;
  std::ranges::sort(all);
  return all[all.size() / 2];
}

void decommission_failures(const DecommissionReport& report, double run_seconds, std::optional<double> p99_ratio,
                           std::vector<std::string>& why) {
  if (!report.task) return why.push_back("no node was decommissioned");
  task_failures(*report.task, why);
  if (report.doors.size() != report.nodes.size())
    why.push_back(
        fmt::format("{} of {} nodes were looked at after they left", report.doors.size(), report.nodes.size()));
  for (const DoorCheck& door : report.doors) door_failures(door, why);
  if (!report.killed) why.push_back("no third node was killed while the others left");
  quiet_failures(report, why);
  if (!report.bulk || report.bulk->rows == 0)
    why.push_back("it is not known whether the data that was moved is all there");
  else if (report.bulk->wrong != 0)
    why.push_back(fmt::format("{} rows of the data that was moved are not as they were", report.bulk->wrong));
  if (run_seconds >= kJudgedSeconds && p99_ratio.value_or(0) > kP99RatioMax)
    why.push_back(fmt::format("p99 was {:.2f} x that of the quiet time, {} x are allowed", *p99_ratio, kP99RatioMax));
}

void add_decommission_fields(const DecommissionReport& report, json::object& all) {
  json::array doors, nodes, quiet;
  for (const DoorCheck& door : report.doors) doors.push_back(to_json(door));
  for (const int node : report.nodes) nodes.emplace_back(node);
  for (const QuietMove& move : report.quiet) quiet.push_back(to_json(move));
  all["efficiency"] = or_null(report.efficiency());
  all["eta_error"] = or_null(report.task ? report.task->eta_error() : std::nullopt);
  json::object more{{"nodes", std::move(nodes)},
                    {"rate_max", report.rate_max},
                    {"preflight", server::to_json(report.preflight)},
                    {"task", report.task ? json::value(to_json(*report.task)) : json::value()},
                    {"doors", std::move(doors)},
                    {"quiet", std::move(quiet)}};
  if (report.bulk) more["bulk"] = {{"rows", report.bulk->rows}, {"wrong", report.bulk->wrong}};
  all["decommission"] = std::move(more);
}

std::string decommission_summary(const DecommissionReport& report) {
  std::string out;
  if (report.task) {
    const TaskStory& task = *report.task;
    out += fmt::format(
        "task        {}, {:.0f} MiB moved in {} s at {:.1f} MiB/s from a node, all in {} s\n"
        "eta         {} of what was left was wrong; longest time without a move or a reason {:.1f} s\n",
        task.last.state(), mib(task.bytes), task.moving() ? fmt::format("{:.1f}", seconds(*task.moving())) : "?",
        mib(report.rate_max), task.ended ? fmt::format("{:.1f}", seconds(*task.ended - task.asked)) : "?",
        task.eta_error() ? fmt::format("{:.0f} %", 100 * *task.eta_error()) : "?", seconds(task.longest_silence));
    for (const TaskStory::Stall& stall : task.stalls)
      out += fmt::format("            {:.0f} s: waited: {}: {}\n", seconds(stall.at), stall.reason, stall.why);
  }
  for (const DoorCheck& door : report.doors)
    out += fmt::format("node {}      {}, {}, started again: {}\n", door.node, door.membership,
                       door.sql_refused.value_or(false) ? "refused" : "served", door.start_words);
  for (const QuietMove& move : report.quiet)
    out +=
        fmt::format("quiet move  {}: {:.0f} MiB moved in {} s without a limit, copied and synced in {:.2f} s\n",
                    text(move.efficiency()), mib(move.bytes),
                    move.task.moving() ? fmt::format("{:.2f}", seconds(*move.task.moving())) : "?", move.copy_seconds);
  if (!report.quiet.empty()) out += fmt::format("efficiency  {}, the median\n", text(report.efficiency()));
  return out;
}

}  // namespace outlast::cli
