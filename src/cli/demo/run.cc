#include "cli/demo/run.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "cli/demo/proof.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using Words = std::vector<std::string>;
constexpr auto kStartTimeout = 60s;
constexpr auto kNodeDownFor = 2s;   ///< A killed node is started again after it.
constexpr auto kLookEvery = 1s;     ///< At ranges and readiness.
constexpr auto kLookOften = 200ms;  ///< When something waits for what is seen.

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
}  // namespace

Demo::Demo(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir, const std::string& meta)
    : options_(options),
      interrupt_(interrupt),
      dir_(dir),
      cluster_({.dir = dir,
                .meta = meta,
                .node_args = [this](int node) { return records_ ? records_->start_args(node) : Words(); },
                .give_up = [&interrupt] { return interrupt.interrupted(); }}),
      records_(make_records()),
      chaos_(static_cast<std::uint64_t>(options.seed), static_cast<int>(options.nodes), options.crash_every,
             options.duration),
      rounds_(static_cast<int>(options.nodes), static_cast<int>(options.rounds), options.duration, drain_ports()),
      restarts_(static_cast<int>(options.nodes), restarts_end(), restart_ports()),
      rolling_(options.duration, rolling_ports()),
      states_(static_cast<std::size_t>(options.nodes)) {
  report_.scenario = options.scenario;
  report_.seed = static_cast<std::uint64_t>(options.seed);
  report_.nodes = nodes();
}

Result<void> Demo::start() {
  TRY(start_nodes());
  if (is_balanced()) TRY(start_balancer());
  if (has_sql_load()) TRY(workload_init(plan_, false));
  if (decommissions()) TRY(prepare_decommission());
  if (records_) TRY(records_->prepare());
  return wait_replicated(kStartTimeout);
}

Result<void> Demo::start_nodes() {
  fmt::print("starting {} nodes …\n", nodes());
  std::fflush(stdout);
  for (int i = 0; i < nodes(); ++i) TRY(cluster_.start(i));
  TRY(cluster_.init());
  for (int i = 0; i < nodes(); ++i) {
    auto ready = cluster_.wait_ready(i, kStartTimeout);
    if (!ready.ok()) return std::move(ready).error();
  }
  plan_ = {.databases = static_cast<int>(options_.databases != 0 ? options_.databases : 2 * options_.nodes),
           .clients = static_cast<int>(options_.clients),
           .seed = static_cast<std::uint64_t>(options_.seed),
           .run = static_cast<std::int64_t>(std::time(nullptr))};
  if (!has_sql_load()) plan_.databases = plan_.clients = 0;
  for (int i = 0; i < nodes(); ++i) plan_.urls.push_back(cluster_.sql_url(i));
  print_urls();
  return {};
}

void Demo::print_urls() const {
  fmt::print("\nconnect to any of them with psql or any PostgreSQL driver:\n");
  for (int i = 0; i < nodes(); ++i)
    if (const auto facts = cluster_.facts(i); facts.ok())
      fmt::print("  node {}  psql '{}'   http://{}\n", i + 1, cluster_.sql_url(i), facts->http_addr);
  fmt::print("\n");
  std::fflush(stdout);
}

Result<void> Demo::wait_replicated(Duration timeout) {
  return cluster_.wait_until(fmt::format("full replication ({} copies of every range)", wanted_rf()), timeout, [this] {
    const auto ranges = cluster_.ranges(ready_node());
    return ranges.ok() && static_cast<int>(ranges->size()) >= plan_.databases && fully_replicated(*ranges, wanted_rf());
  });
}

Result<void> Demo::load() {
  LoadRecord record;
  WorkloadRun run(load_plan(), record);
  load_began_ = Steady::now();
  run.start();
  if (auto went = run_until_over(record); !went.ok()) {
    cluster_.kill_all();  // clients that wait for an answer see their connections end
    return went;
  }
  run.stop();
  report_.finished = true;
  take_numbers(record);
  journals_ = run.journals();
  return {};
}

WorkloadPlan Demo::load_plan() const {
  if (decommissions()) return stubborn_plan();
  if (is_balanced()) return naive_plan();
  return restarts() ? patient_plan() : plan_;
}

Result<void> Demo::run_until_over(const LoadRecord& record) {
  if (records_) records_->begin();
  while (goes_on()) TRY(step(record));
  if (records_) end_records(Duration(0));
  if (ingests()) TRY(kill_under_records(record));
  return {};
}

Result<void> Demo::step(const LoadRecord& record) {
  TRY(keep_going());
  if (board_.wants_update(seconds(elapsed()))) show(record);
  return {};
}

/// A slow machine gets twice the time to finish its rounds.
bool Demo::goes_on() const {
  return elapsed() < restarts_end() || (in_rounds() && !rounds_finished() && elapsed() < 2 * options_.duration);
}

Result<void> Demo::keep_going() {
  if (interrupt_.wait(in_rounds() ? 20ms : 50ms)) return Error(Errc::kCancelled, "interrupted");
  for (int i = 0; i < nodes(); ++i) tend(i);
  if (Steady::now() - looked_ > (in_rounds() ? kLookOften : kLookEvery)) look();
  if (options_.scenario == "crash")
    if (const auto step = chaos_.next(elapsed(), healed_)) strike(*step);
  if (replaces_workers()) restarts_.step(elapsed());
  if (records_ && Steady::now() - looked_at_records_ > kLookEvery) {
    looked_at_records_ = Steady::now();
    records_->look();
  }
  if (is_balanced() && !haproxy_.running())
    return Error(Errc::kUnavailable, "HAProxy has ended: see haproxy.log (--keep keeps it)");
  if (drains()) rounds_.step(elapsed());
  if (rolls()) {
    start_stopped_nodes();
    rolling_.step(elapsed());
  }
  if (decommissions()) return step_decommission();
  return {};
}

bool Demo::rounds_finished() const {
  if (decommissions()) return doors_seen_;
  if (rolls()) return rolling_.finished();
  return drains() ? rounds_.finished() : restarts_.finished();
}

int Demo::ready_node() const {
  const auto found = std::ranges::find(states_, NodeState::Phase::kReady, &NodeState::phase);
  return found == states_.end() ? 0 : static_cast<int>(found - states_.begin());
}

/// Who leads what, and is everything in its place?
void Demo::look() {
  looked_ = Steady::now();
  bool all_ready = true;
  for (const NodeState& state : states_)
    all_ready = all_ready && (state.phase == NodeState::Phase::kReady || state.phase == NodeState::Phase::kGone);
  Result<std::vector<RangeFacts>> ranges = Error(Errc::kNotReady, "");
  for (int i = 0; i < nodes() && !ranges.ok(); ++i)
    if (is(i, NodeState::Phase::kReady)) ranges = cluster_.ranges(i, 500ms);
  healed_ = all_ready && ranges.ok() && fully_replicated(*ranges, wanted_rf());
  for (int i = 0; i < nodes(); ++i) {
    const auto facts = cluster_.facts(i);
    int& leases = states_[static_cast<std::size_t>(i)].leases;
    leases = -1;
    if (!ranges.ok() || !facts.ok()) continue;
    leases = static_cast<int>(std::count_if(ranges->begin(), ranges->end(),
                                            [&](const RangeFacts& r) { return r.leaseholder == facts->node; }));
  }
}

void Demo::strike(const ChaosStep& step) {
  NodeState& state = states_[static_cast<std::size_t>(step.node)];
  const auto before = Steady::now();
  const DemoEvent event{seconds(elapsed()), step.whole_node ? "kill_node" : "kill_worker", step.node + 1, {}};
  const auto facts = cluster_.facts(step.node);
  if (step.whole_node) {
    cluster_.kill_node(step.node);
  } else if (!cluster_.kill_worker(step.node).ok()) {
    return;  // it is just being restarted: the next interval tries again
  }
  kills_.push_back({is_balanced() ? 0 : static_cast<std::size_t>(step.node), before, Steady::now()});
  state = {step.whole_node ? NodeState::Phase::kDown : NodeState::Phase::kStarting, Steady::now(),
           facts.ok() ? facts->worker_pid : 0, report_.events.size(), -1};
  report_.events.push_back(event);
  ++report_.restarts;
  healed_ = false;
  last_event_ = fmt::format("{:.0f} s: kill -9 of {} {}", event.at_seconds,
                            step.whole_node ? "supervisor and worker of node" : "the worker of node", event.node);
  board_.say("  " + last_event_);
}

/// How long a node is away before it is started again: a task has to go on without it for a while.
Duration Demo::down_for() const {
  if (rolls()) return {};
  return decommissions() ? std::max<Duration>(kNodeDownFor, options_.duration / 15) : Duration(kNodeDownFor);
}

/// Starts a killed node again, and notes when it is ready.
void Demo::tend(int node) {
  NodeState& state = states_[static_cast<std::size_t>(node)];
  if (state.phase != NodeState::Phase::kDown && state.phase != NodeState::Phase::kStarting) return;
  if (state.phase == NodeState::Phase::kDown) {
    if (Steady::now() - state.since < down_for() || !cluster_.start(node).ok()) return;
    state.phase = NodeState::Phase::kStarting;
  }
  if (!cluster_.ready(node, state.killed_worker).ok()) return;
  state.phase = NodeState::Phase::kReady;
  report_.events[state.event].ready_after_seconds = seconds(Steady::now() - state.since);
}

void Demo::show(const LoadRecord& record) {
  const auto last = record.last(1s);
  ScoreboardView view{.seconds = seconds(elapsed()),
                      .seconds_total = seconds(options_.duration),
                      .statements_per_second = static_cast<double>(last.count()),
                      .p50_ms = last.quantile_ms(0.5),
                      .p99_ms = last.quantile_ms(0.99),
                      .statements = record.statements(),
                      .sql = has_sql_load(),
                      .records = records_ ? records_->progress() : "",
                      .last_event = last_event_};
  for (int i = 0; i < nodes(); ++i) {
    const NodeState& state = states_[static_cast<std::size_t>(i)];
    const auto facts = cluster_.facts(i);
    view.nodes.push_back(
        {i + 1, state.phase == NodeState::Phase::kReady, state.leases, facts.ok() ? facts->sql_addr : ""});
  }
  board_.show(view);
}

}  // namespace outlast::cli
