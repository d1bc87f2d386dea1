#include "cli/demo/roles/report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>

#include "cli/demo/report.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;

double seconds(Duration d) {
  return std::round(std::chrono::duration<double>(d).count() * 1000) / 1000;
}
/// Since the exit was asked for.
json::value after(const ExitTurn& turn, const std::optional<Duration>& at) {
  return at ? json::value(seconds(*at - turn.asked)) : json::value();
}

json::array words(const std::vector<std::string>& texts) {
  json::array list;
  for (const std::string& text : texts) list.emplace_back(text);
  return list;
}

json::object counts(const QueryCounts& c) {
  return {
      {"ok", c.ok},
      {"failed", c.failed},
      {"cancelled", c.cancelled},
      {"retried", c.retried},
      {"seconds", {{"min", std::round(c.seconds_min * 1000) / 1000}, {"max", std::round(c.seconds_max * 1000) / 1000}}},
      {"details", words(c.failures)}};
}

json::value counts(const std::optional<LabelCounts>& measured) {
  if (!measured) return {};
  const LabelCounts& c = *measured;
  return json::object{{"sent", c.sent},
                      {"lost", c.lost},
                      {"doubled", c.doubled},
                      {"retried", c.retried},
                      {"failed", c.failed},
                      {"halves", c.halves},
                      {"rows", c.rows},
                      {"rows_missing", c.rows_missing},
                      {"rows_duplicated", c.rows_duplicated},
                      {"rows_unasked", c.rows_unasked},
                      {"details", words(c.details)}};
}

json::value counts(const std::optional<TaskCounts>& measured) {
  if (!measured) return {};
  return json::object{{"ttl",
                       {{"inserted", measured->inserted},
                        {"expired", measured->expired},
                        {"longest_delay_seconds", measured->longest_delay_seconds},
                        {"delay_after_seconds", measured->delay_after_seconds},
                        {"after_leader_left", measured->after_leader_left}}},
                      {"load_apply", {{"done", measured->loads_committed}, {"waiting", measured->loads_waiting}}}};
}

json::object exit_json(const ExitTurn& turn) {
  json::object one{{"node", turn.node + 1},
                   {"role", to_string(turn.role)},
                   {"leader", turn.leader},
                   {"at_seconds", seconds(turn.asked)},
                   {"window_seconds", seconds(turn.window)},
                   {"seconds", after(turn, turn.gone)},
                   {"status_codes", words(turn.codes)},
                   {"shutdown_after_seconds", after(turn, turn.shutdown)},
                   {"disconnected_after_seconds", after(turn, turn.disconnected)},
                   {"ready_after_seconds", after(turn, turn.ready)},
                   {"back_after_seconds", after(turn, turn.back)},
                   {"queries_at_begin", turn.queries},
                   {"queries_over_after_seconds", after(turn, turn.busy_until)},
                   {"running_at_begin", turn.running ? json::value(*turn.running) : json::value()},
                   {"long_query", turn.with_long},
                   {"exit_code", turn.exit_code ? json::value(*turn.exit_code) : json::value()},
                   {"killed", turn.killed}};
  if (turn.role == NodeRole::kFrontend) one["unhealthy_after_seconds"] = after(turn, turn.unhealthy);
  one["fragments"] =
      turn.work
          ? json::value{{"finished", turn.work->finished}, {"cut", turn.work->cut}, {"refused", turn.work->refused}}
          : json::value();
  return one;
}

json::object plan_json(const RolesPlan& plan) {
  return {{"loop_count_wait_fragments_finish", plan.loops},
          {"window_seconds", seconds(plan.window())},
          {"medium_scan_seconds", seconds(plan.medium_scan)},
          {"medium_join_seconds", seconds(plan.medium_join)},
          {"long_limit_seconds", seconds(plan.long_limit)},
          {"min_graceful_exit_time_second", seconds(plan.detection)},
          {"frontend_timeout_seconds", seconds(plan.frontend_timeout)},
          {"fragments_timeout_seconds", seconds(plan.fragments_timeout)},
          {"ttl_seconds", seconds(plan.ttl)},
          {"interval_seconds", seconds(plan.interval)}};
}

void exit_failures(const ExitTurn& turn, std::vector<std::string>& why) {
  const std::string name = fmt::format("the exit of node {} ({})", turn.node + 1, to_string(turn.role));
  if (!turn.gone) return why.push_back(name + " did not end");
  if (turn.killed) why.push_back(name + " ended by a kill");
  if (turn.exit_code.value_or(1) != 0)
    why.push_back(fmt::format("{}: `outlast stop -g` returned {}", name, turn.exit_code.value_or(-1)));
  if (!turn.seen_leaving()) why.push_back(name + " was not seen as SHUTDOWN and DISCONNECTED after it");
  if (!turn.back) why.push_back(name + ": it did not come back");
}

void label_failures(const std::optional<LabelCounts>& measured, const char* what, std::vector<std::string>& why) {
  if (!measured) return why.push_back(fmt::format("it is not known what became of {}", what));
  if (measured->sent == 0) why.push_back(fmt::format("none of {} was acknowledged", what));
  const auto none = [&](std::uint64_t count, const char* text) {
    if (count != 0) why.push_back(fmt::format("{} of {} {}", count, what, text));
  };
  none(measured->lost, "lost rows although they were acknowledged");
  none(measured->doubled, "have rows more than once");
  none(measured->halves, "are there by half");
  if (measured->rows_unasked != 0)
    why.push_back(fmt::format("{} rows are there that nobody loaded", measured->rows_unasked));
}
}  // namespace

void roles_failures(const RolesReport& roles, const DemoReport& report, std::vector<std::string>& why) {
  for (const ExitTurn& turn : roles.exits) exit_failures(turn, why);
  for (std::size_t node = 0; node < roles.nodes.size(); ++node)
    if (std::ranges::none_of(roles.exits, [node](const ExitTurn& t) { return t.node == static_cast<int>(node); }))
      why.push_back(fmt::format("node {} ({}) did not leave", node + 1, to_string(roles.nodes[node])));
  if (roles.nodes.empty()) why.push_back("there were no nodes");
  label_failures(roles.labels, "the labels that are repeated", why);
  label_failures(roles.plain_labels, "the labels that are sent once", why);
  if (roles.labels && roles.labels->failed != 0)
    why.push_back(fmt::format("{} labels were given up although they were repeated", roles.labels->failed));
  if (report.connections.lost != 0) why.push_back(fmt::format("{} connections were lost", report.connections.lost));
  for (const Expectation& row : roles_expectations(roles, report))
    if (row.verdict != Expectation::Verdict::kMet)
      why.push_back(fmt::format("{}: {} ({}; measured: {})", row.task, to_string(row.verdict), row.expected,
                                row.measured.empty() ? "nothing" : row.measured));
}

void add_roles_fields(const RolesReport& roles, const DemoReport& report, json::object& all) {
  const StatementCounts& s = report.statements;
  all["plan"] = plan_json(roles.plan);
  all["queries"] = {
      {"short", {{"ok", s.ok}, {"failed", s.failed + s.unknown}, {"cancelled", 0}, {"retried", s.retried}}},
      {"medium", counts(roles.medium)},
      {"long", counts(roles.long_ones)}};
  all["labels"] = counts(roles.labels);
  all["plain_labels"] = counts(roles.plain_labels);
  all["tasks"] = counts(roles.tasks);
  all["leader_changes"] = roles.leader_changes;
  json::array exits, rows;
  for (const ExitTurn& turn : roles.exits) exits.push_back(exit_json(turn));
  for (const Expectation& row : roles_expectations(roles, report))
    rows.push_back({{"task", row.task},
                    {"expected", row.expected},
                    {"measured", row.measured},
                    {"verdict", to_string(row.verdict)}});
  all["exits"] = std::move(exits);
  all["expectations"] = std::move(rows);
}

std::string roles_summary(const RolesReport& roles, const DemoReport& report) {
  std::string text;
  for (const ExitTurn& turn : roles.exits) {
    std::string codes;
    for (const std::string& code : turn.codes) codes += (codes.empty() ? "" : " → ") + code;
    text += fmt::format("exit        node {} ({}{}) in {} s: {}\n", turn.node + 1, to_string(turn.role),
                        turn.leader ? ", leader" : "",
                        turn.gone ? fmt::format("{:.1f}", seconds(*turn.gone - turn.asked)) : "?", codes);
  }
  for (const Expectation& row : roles_expectations(roles, report))
    text += fmt::format("{:<12}{}: {}\n", to_string(row.verdict), row.task, row.measured);
  return text;
}

}  // namespace outlast::cli
