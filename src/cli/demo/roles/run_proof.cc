// How a run of the scenario roles is judged: its numbers, and what the data says.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

#include "base/parse.h"
#include "cli/demo/proof.h"
#include "cli/demo/roles/run.h"
#include "cli/http_get.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kHealTimeout = 60s, kCompareTimeout = 60s, kReadTimeout = 120s, kExpiryTimeout = 40s;
const std::string kDatabase = "load_1";

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
LatencyTimeline::Offset offset(Duration since_start) {
  return std::chrono::duration_cast<LatencyTimeline::Offset>(since_start);
}

Result<PgReply> ask(const std::string& url, const std::string& sql) {
  ASSIGN_OR_RETURN(PgConnection connection, PgConnection::connect(url, "", 10s));
  PgReply reply = connection.run(sql, kReadTimeout);
  if (!reply.ok) return Error(Errc::kUnavailable, fmt::format("\"{}\": {} {}", sql, reply.sqlstate, reply.message));
  return reply;
}
}  // namespace

void RolesDemo::take_numbers(const LoadRecord& record) {
  take_load_numbers(record, report_);
  (void)leader();  // the last to leave was one
  RolesReport& roles = *report_.roles;
  roles.exits = exits_.turns();
  for (ExitTurn& turn : roles.exits) turn.busy_until = busy_until(queries_.runs(), turn.asked);
  roles.leader_changes = leader_changes_;
  roles.medium = count_queries(queries_.runs(), QueryLength::kMedium, roles.exits);
  roles.long_ones = count_queries(queries_.runs(), QueryLength::kLong, roles.exits);
  if (!exits_.trouble().empty()) report_.complaints.push_back(exits_.trouble());
  for (const QueryCounts* counts : {&roles.medium, &roles.long_ones})
    for (const std::string& failure : counts->failures) report_.complaints.push_back(failure);
  const LatencyTimeline timeline = record.timeline();
  std::vector<LatencyTimeline::Window> windows;
  for (const ExitTurn& turn : roles.exits) {
    DemoEvent& event = report_.events.emplace_back(DemoEvent{seconds(turn.asked), "exit", turn.node + 1, {}});
    if (turn.ready) event.ready_after_seconds = seconds(*turn.ready - turn.asked);
    report_.restarts += turn.ready.has_value();
    windows.push_back({offset(turn.asked), offset(turn.back.value_or(elapsed()))});
  }
  const auto [during, rest] = timeline.split(windows);
  report_.p99_ratio = p99_ratio(during, rest);
  take_silence(timeline);
}

/// In slots of the timeline, the first and the last one left out: they are not whole.
void RolesDemo::take_silence(const LatencyTimeline& timeline) {
  constexpr auto kSlot = LatencyTimeline::kSlot;
  LatencyTimeline::Offset silent{0}, longest{0};
  const auto end = LatencyTimeline::Offset(static_cast<std::int64_t>(report_.seconds * 1e6)) - kSlot;
  for (LatencyTimeline::Offset at = kSlot; at + kSlot <= end; at += kSlot) {
    silent = timeline.between(at, at + kSlot).count() == 0 ? silent + kSlot : LatencyTimeline::Offset(0);
    longest = std::max(longest, silent);
  }
  if (report_.statements.ok != 0)
    report_.roles->longest_silence_seconds = std::chrono::duration<double>(longest).count();
}

void RolesDemo::prove() {
  board_.say("load stopped; waiting for every replica, then reading everything back through every frontend …");
  if (auto healed = wait_replicated(kHealTimeout); !healed.ok()) complain(healed.error());
  for (int i = 0; i < report_.nodes && !report_.under_replicated_after; ++i)
    if (const auto ranges = cluster_.ranges(i, 5s); is_frontend(i) && ranges.ok())
      report_.under_replicated_after = static_cast<std::uint64_t>(
          std::ranges::count_if(*ranges, [](const RangeFacts& r) { return !fully_replicated({r}, 3); }));
  if (auto read = read_back(); !read.ok()) complain(read.error());
  if (auto read = read_labels(); !read.ok()) complain(read.error());
  take_tasks();
  // Its ranges would go while they are compared.
  if (auto dropped = ask(urls(kDatabase).front(), "DROP TABLE recent"); !dropped.ok()) complain(dropped.error());
  if (auto compared = compare_replicas(cluster_, kCompareTimeout); compared.ok())
    report_.replicas = std::move(compared).value();
  else
    complain(compared.error());
}

/// What the short clients wrote.
Result<void> RolesDemo::read_back() {
  for (const std::string& url : urls(kDatabase)) {
    ASSIGN_OR_RETURN(const PgReply reply,
                     ask(url, fmt::format("SELECT client, seq FROM appended WHERE run = {}", run_)));
    DatabaseContents contents{.database = kDatabase};
    for (const auto& row : reply.rows) {
      ASSIGN_OR_RETURN(const std::int64_t client, parse_int(row.at(0).value_or("")));
      ASSIGN_OR_RETURN(const std::int64_t seq, parse_int(row.at(1).value_or("")));
      contents.appended.push_back({static_cast<int>(client), seq});
    }
    report_.read_back.push_back(compare(journals_, contents));
  }
  return {};
}

Result<void> RolesDemo::read_labels() {
  ASSIGN_OR_RETURN(const PgReply reply, ask(urls(kDatabase).front(),
                                            "SELECT label, count(*), count(DISTINCT line) FROM loaded GROUP BY label"));
  std::vector<LabelRows> there;
  for (const auto& row : reply.rows) {
    ASSIGN_OR_RETURN(const std::int64_t rows, parse_int(row.at(1).value_or("")));
    ASSIGN_OR_RETURN(const std::int64_t different, parse_int(row.at(2).value_or("")));
    there.push_back({row.at(0).value_or(""), static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(different)});
  }
  report_.roles->labels = count_labels(loads_.all(), true, there);
  report_.roles->plain_labels = count_labels(loads_.all(), false, there);
  return {};
}

std::optional<double> RolesDemo::leader_left() const {
  for (const ExitTurn& turn : exits_.turns())
    if (turn.leader && turn.gone)
      return std::chrono::duration<double>(load_began_at_.time_since_epoch() + *turn.gone).count();
  return std::nullopt;
}

/// Rows from before the leader's exit have to go under the next one, which may take until after the load.
void RolesDemo::take_tasks() {
  const std::optional<double> left = leader_left();
  (void)cluster_.wait_until("rows that are too old to go", kExpiryTimeout, [&] {
    if (const auto sample = look_at_expiry({urls(kDatabase), kDatabase})) expiry_.samples.push_back(*sample);
    return !expiry_.samples.empty() &&
           (!expiry_.samples.back().oldest || !left || *expiry_.samples.back().oldest > *left);
  });
  TaskCounts tasks = count_tasks(expiry_.inserted, expiry_.samples, times_, left);
  const auto waiting = count_waiting_loads();
  if (!waiting.ok()) return complain(waiting.error());
  tasks.loads_waiting = *waiting;
  tasks.loads_committed = report_.roles->labels ? report_.roles->labels->sent : 0;
  report_.roles->tasks = tasks;
}

/// Labels that are neither wholly in nor given up. Only those whose sender did not get its answer at once can be.
Result<std::uint64_t> RolesDemo::count_waiting_loads() const {
  constexpr std::string_view kOver[] = {"FINISHED", "CANCELLED"};
  std::uint64_t waiting = 0;
  for (const LoadRun& run : loads_.all()) {
    if (run.done && run.repeats == 0) continue;
    ASSIGN_OR_RETURN(
        const HttpAnswer answer,
        http_get(http_addresses().front(), fmt::format("/api/{}/_load_info?label={}", kDatabase, run.label), 5s));
    if (answer.status == 404) continue;  // it was never begun
    const std::string state = load_state(answer);
    if (state.empty())
      return Error(Errc::kProtocolViolation,
                   fmt::format("the state of label {} is answered with {} {}", run.label, answer.status, answer.body));
    waiting += std::ranges::find(kOver, state) == std::end(kOver);
  }
  return waiting;
}

void RolesDemo::print_logs() const {
  for (int i = 0; i < report_.nodes; ++i)
    std::fprintf(stderr, "--- last lines of node %d's log (%s)\n%s\n", i + 1,
                 to_string(roles_[static_cast<std::size_t>(i)]), cluster_.log_tail(i, 3000).c_str());
}

}  // namespace outlast::cli
