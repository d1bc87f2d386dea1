#include "cli/demo/report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "cli/demo/drain_report.h"
#include "cli/demo/restart_report.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;

json::value or_null(const std::optional<double>& value) {
  return value ? json::value(*value) : json::value();
}

json::array words(const std::vector<std::string>& texts) {
  json::array list;
  for (const std::string& text : texts) list.emplace_back(text);
  return list;
}

std::string times(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "?";
}

/// Processes are killed in it, which costs the clients of their gateways an answer.
bool kills(const DemoReport& report) {
  return report.scenario == "crash" || report.scenario == "decommission";
}

bool rolls(const DemoReport& report) {
  return report.scenario == "rolling-restart";
}

/// Without a ratio when something happened all the time: there is no rest to compare with.
std::string events_text(const DemoReport& report) {
  if (rolls(report))
    return fmt::format("p99         {} x the rest's while the cluster was restarted\n", times(report.p99_ratio));
  const std::string what = kills(report)                 ? "kills"
                           : report.scenario == "ingest" ? "restarts and kills"
                                                         : report.scenario + "s";
  if (!report.p99_ratio) return fmt::format("events      {} {}\n", report.events.size(), what);
  const bool leaves = report.scenario == "decommission";
  return fmt::format(
      "events      {} {}, p99 during {} {} x the rest's{}\n", report.events.size(), what, leaves ? "the task" : "them",
      times(report.p99_ratio),
      report.p99_ratio_with_restart
          ? fmt::format(" ({} x with {})", times(report.p99_ratio_with_restart), leaves ? "the kill" : "stop and start")
          : "");
}

double round3(double value) {
  return std::round(value * 1000) / 1000;
}

/// The promises about rows, over all nodes: what one node shows and another does not is broken at that one.
CheckResult all_nodes(const DemoReport& report) {
  CheckResult worst;
  for (const CheckResult& one : report.read_back) {
    worst.acked = std::max(worst.acked, one.acked);
    worst.unknown = std::max(worst.unknown, one.unknown);
    worst.unknown_applied = std::max(worst.unknown_applied, one.unknown_applied);
    worst.missing = std::max(worst.missing, one.missing);
    worst.duplicated = std::max(worst.duplicated, one.duplicated);
    worst.resurrected = std::max(worst.resurrected, one.resurrected);
    worst.unasked = std::max(worst.unasked, one.unasked);
    worst.broken_balances = std::max(worst.broken_balances, one.broken_balances);
    if (worst.details.empty()) worst.details = one.details;
  }
  return worst;
}

json::array events_json(const DemoReport& report) {
  json::array list;
  for (const DemoEvent& event : report.events)
    list.push_back({{"at_seconds", round3(event.at_seconds)},
                    {"kind", event.kind},
                    {"node", event.node},
                    {"ready_after_seconds", or_null(event.ready_after_seconds)}});
  return list;
}

json::object statements_json(const StatementCounts& s) {
  json::object by_code;
  for (const auto& [code, count] : s.by_sqlstate) by_code[code] = count;
  return {{"ok", s.ok},
          {"retried", s.retried},
          {"failed", s.failed},
          {"unknown", s.unknown},
          {"unknown_gateway_died", s.unknown_gateway_died},
          {"by_sqlstate", by_code},
          {"failed_without_sqlstate", s.unnamed}};
}

json::object rows_json(const DemoReport& report) {
  const CheckResult r = all_nodes(report);
  json::object rows{{"acked", r.acked},
                    {"missing", r.missing},
                    {"duplicated", r.duplicated},
                    {"reported_as_not_applied_but_there", r.resurrected},
                    {"never_asked_for", r.unasked},
                    {"unknown", r.unknown},
                    {"unknown_applied", r.unknown_applied},
                    {"wrong_balances", r.broken_balances},
                    {"read_through_nodes", report.read_back.size()},
                    {"details", words(r.details)}};
  if (!report.replicas) return rows;
  rows["replicas"] = {{"ranges", report.replicas->ranges},
                      {"compared", report.replicas->replicas},
                      {"different", report.replicas->different},
                      {"not_compared", report.replicas->not_compared},
                      {"details", words(report.replicas->details)}};
  return rows;
}

json::object connections_json(const ConnectionCounts& c) {
  return {{"opened", c.opened},           {"refused", c.refused}, {"retired", c.retired},
          {"closed_idle", c.closed_idle}, {"lost", c.lost},       {"lost_in_transaction", c.lost_in_transaction}};
}

/// Working processes were replaced, and numbered records sent meanwhile.
bool replaced_workers(const DemoReport& report) {
  return report.scenario == "restart" || report.scenario == "ingest";
}

bool is_kill(const DemoEvent& event) {
  return event.kind.starts_with("kill");
}

void records_failures(const DemoReport& report, std::vector<std::string>& why) {
  if (!report.records) return why.push_back("it is not known what became of the records");
  record_failures(*report.records, why);
  if (report.scenario != "ingest") return;
  if (!report.after_kill) return why.push_back("it is not known what became of the records after the kill");
  record_failures_after_kill(*report.after_kill, why);
}

void rows_failures(const DemoReport& report, std::vector<std::string>& why) {
  const int readers = report.readers.value_or(report.nodes_after.value_or(report.nodes));
  if (static_cast<int>(report.read_back.size()) < readers || report.read_back.empty())
    why.push_back(fmt::format("the data was read back through {} of {} nodes", report.read_back.size(), readers));
  const CheckResult r = all_nodes(report);
  const auto broken = [&why](std::uint64_t count, const char* what) {
    if (count != 0) why.push_back(fmt::format("{} {}", count, what));
  };
  broken(r.missing, "acknowledged rows are missing");
  broken(r.duplicated, "rows are there more than once");
  broken(r.resurrected, "rows are there that were reported as not applied");
  broken(r.unasked, "rows are there that nobody wrote");
  broken(r.broken_balances, "balances contradict their transfers");
  if (!report.read_back.empty() && r.acked == 0) why.push_back("no write was acknowledged");
}

void replicas_failures(const DemoReport& report, std::vector<std::string>& why) {
  if (!report.replicas || report.replicas->ranges == 0) return why.push_back("the replicas were not compared");
  if (report.replicas->different != 0)
    why.push_back(fmt::format("{} ranges have replicas that differ at one LSN", report.replicas->different));
  if (report.replicas->not_compared != 0)
    why.push_back(fmt::format("{} ranges could not be compared", report.replicas->not_compared));
}

}  // namespace

void take_load_numbers(const LoadRecord& record, DemoReport& report) {
  report.seconds = std::chrono::duration<double>(record.elapsed()).count();
  report.statements = record.statements();
  report.connections = record.connections();
  report.complaints = record.complaints();
  const LatencyHistogram all = record.timeline().all();
  report.p50_ms = all.quantile_ms(0.5);
  report.p99_ms = all.quantile_ms(0.99);
  report.max_ms = record.max_latency_ms();
  report.max_pause_ms = record.max_pause_ms();
}

std::vector<std::string> failures(const DemoReport& report) {
  std::vector<std::string> why;
  const bool crash = kills(report), drain = report.scenario == "drain";
  const bool sql = report.scenario != "ingest";
  if (!report.finished) why.push_back("the load did not run to its end");
  if (sql && report.statements.ok == 0) why.push_back("no statement succeeded");
  if (report.statements.unnamed != 0)
    why.push_back(fmt::format("{} statements got a wrong answer or none at all", report.statements.unnamed));
  if (!crash && report.statements.failed != 0)
    why.push_back(fmt::format("{} statements failed", report.statements.failed));
  if (!crash && report.statements.unknown != 0)
    why.push_back("statements ended as unknown although nothing was killed");
  if (crash && report.statements.unknown != report.statements.unknown_gateway_died)
    why.push_back(fmt::format("{} of {} unknown statements had a gateway that was not killed",
                              report.statements.unknown - report.statements.unknown_gateway_died,
                              report.statements.unknown));
  if (sql) rows_failures(report, why);
  replicas_failures(report, why);
  if (!report.under_replicated_after)
    why.push_back("it is not known whether all ranges have their replicas again");
  else if (*report.under_replicated_after != 0)
    why.push_back(fmt::format("{} ranges lack replicas after the run", *report.under_replicated_after));
  if (drain) drain_failures(report, why);
  if (replaced_workers(report)) {
    restart_failures(report, why);
    records_failures(report, why);
  }
  if (report.scenario == "decommission")
    decommission_failures(report.decommission.value_or(DecommissionReport()), report.seconds, report.p99_ratio, why);
  if (report.roles) roles_failures(*report.roles, report, why);
  if (rolls(report)) rolling_failures(report.rounds, report.connections, why);
  if (!crash && !drain && sql && !rolls(report)) return why;
  if ((crash || !sql) && !std::ranges::any_of(report.events, is_kill)) why.push_back("nothing was killed");
  if (sql && !report.p99_ratio) why.push_back("the latencies during and between the events were not measured");
  for (const DemoEvent& event : report.events)
    if (!event.ready_after_seconds)
      why.push_back(
          fmt::format("node {} did not come back after {} at {:.0f} s", event.node, event.kind, event.at_seconds));
  return why;
}

std::string to_json(const DemoReport& report) {
  const auto why = failures(report);
  json::object all{
      {"scenario", report.scenario},
      {"seed", report.seed},
      {"nodes", report.nodes},
      {"seconds", round3(report.seconds)},
      {"pass", why.empty()},
      {"failures", words(why)},
      {"events", events_json(report)},
      {"statements", statements_json(report.statements)},
      {"connections", connections_json(report.connections)},
      {"rows", rows_json(report)},
      {"latency_ms", {{"p50", round3(report.p50_ms)}, {"p99", round3(report.p99_ms)}, {"max", round3(report.max_ms)}}},
      {"p99_ratio", or_null(report.p99_ratio)},
      {"p99_ratio_with_restart", or_null(report.p99_ratio_with_restart)},
      {"max_pause_ms", round3(report.max_pause_ms)},
      {"restarts", report.restarts},
      {"receipts", drain_receipts(report)},
      {"under_replicated_after",
       report.under_replicated_after ? json::value(*report.under_replicated_after) : json::value()},
      {"complaints", words(report.complaints)}};
  if (report.nodes_after) all["nodes_after"] = *report.nodes_after;
  if (report.decommission) add_decommission_fields(*report.decommission, all);
  if (report.roles) add_roles_fields(*report.roles, report, all);
  if (rolls(report)) add_rolling_fields(report.rounds, report.max_pause_ms, all);
  if (replaced_workers(report)) add_restart_fields(report, all);
  if (report.records) all["records"] = to_json(*report.records);
  if (report.records) all["order_breaks"] = report.records->stored().order_breaks;
  if (report.after_kill) all["after_kill"] = to_json(*report.after_kill);
  return json::serialize(all) + "\n";
}

std::string summary(const DemoReport& report) {
  const CheckResult r = all_nodes(report);
  const StatementCounts& s = report.statements;
  std::string text;
  if (report.scenario != "ingest")
    text += fmt::format(
        "statements  {} ok ({:.0f}/s), {} retried, {} unknown ({} with their gateway), {} failed\n"
        "latency     p50 {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms; longest wait of one client {:.0f} ms\n"
        "rows        {} acknowledged, {} missing, {} duplicated (read back through {} nodes)\n",
        s.ok, static_cast<double>(s.ok) / std::max(report.seconds, 0.001), s.retried, s.unknown, s.unknown_gateway_died,
        s.failed, report.p50_ms, report.p99_ms, report.max_ms, report.max_pause_ms, r.acked, r.missing, r.duplicated,
        report.read_back.size());
  if (report.replicas)
    text += fmt::format("replicas    {} of {} ranges compared byte for byte, {} differ\n", report.replicas->replicas,
                        report.replicas->ranges, report.replicas->different);
  if (!report.events.empty()) text += events_text(report);
  if (rolls(report)) text += rolling_summary(report.rounds, report.connections);
  if (report.scenario == "drain") text += drain_summary(report);
  if (report.roles) text += roles_summary(*report.roles, report);
  if (report.decommission) text += decommission_summary(*report.decommission);
  if (replaced_workers(report)) text += restart_summary(report);
  if (report.records) text += records_summary("records", *report.records);
  if (report.after_kill) text += records_summary("after kill", *report.after_kill);
  for (const auto& [code, count] : s.by_sqlstate) text += fmt::format("            {} x {}\n", count, code);
  for (const std::string& complaint : report.complaints) text += "            first " + complaint + "\n";
  const auto why = failures(report);
  text += why.empty() ? "verdict     PASS: nothing acknowledged was lost\n" : "verdict     FAIL\n";
  for (const std::string& reason : why) text += "            " + reason + "\n";
  for (const std::string& one : r.details) text += "            " + one + "\n";
  return text;
}

}  // namespace outlast::cli
