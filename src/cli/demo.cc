#include "cli/demo.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "cli/demo_chaos.h"
#include "cli/demo_proof.h"
#include "cli/groups.h"
#include "cli/interrupt.h"
#include "cli/scoreboard.h"
#include "etcd/local_etcd.h"
#include "etcd/options.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;
constexpr auto kStartTimeout = 60s, kHealTimeout = 60s, kCompareTimeout = 60s;
constexpr auto kNodeDownFor = 2s;  ///< A killed node is started again after it.
constexpr auto kEventMargin = 2s;  ///< Latencies so near to an event count as "during" it.
constexpr auto kLookEvery = 1s;    ///< At ranges and readiness.

/// A folder of our own, gone with this object unless it is to be kept.
class DemoFolder {
 public:
  explicit DemoFolder(bool keep) : keep_(keep) {
    const char* base = std::getenv("TMPDIR");
    path_ = fmt::format("{}/outlast-demo-XXXXXX", base != nullptr ? base : "/tmp");
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~DemoFolder() {
    std::error_code ignored;
    if (!keep_ && !path_.empty()) fs::remove_all(path_, ignored);
  }
  DemoFolder(const DemoFolder&) = delete;
  DemoFolder& operator=(const DemoFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  const bool keep_;
  std::string path_;
};

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

/// One run, step by step; every step may be interrupted. Thread-safety: none, it lives on the main thread.
class Demo {
 public:
  /// `meta`: value of --meta; empty = an embedded store below `dir`.
  Demo(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir, const std::string& meta)
      : options_(options),
        interrupt_(interrupt),
        cluster_({.dir = dir, .meta = meta, .give_up = [&interrupt] { return interrupt.interrupted(); }}),
        chaos_(static_cast<std::uint64_t>(options.seed), nodes(), options.crash_every, options.duration),
        states_(static_cast<std::size_t>(nodes())) {
    report_.scenario = options.scenario;
    report_.seed = static_cast<std::uint64_t>(options.seed);
    report_.nodes = nodes();
  }

  Result<void> start();
  Result<void> load();
  void prove();
  const DemoReport& report() const { return report_; }
  void print_logs() const;

 private:
  struct NodeState {
    enum class Phase : std::uint8_t { kReady, kDown, kStarting } phase{Phase::kReady};
    Steady::time_point since{};  ///< Of the kill.
    pid_t killed_worker{0};
    std::size_t event{0};  ///< Index in report_.events.
    int leases{-1};
  };
  int nodes() const { return static_cast<int>(options_.nodes); }
  int wanted_rf() const { return std::min(3, nodes()); }
  Result<void> wait_replicated(Duration timeout);
  void print_urls() const;
  void look();
  void strike(const ChaosStep& step);
  void tend(int node);
  void show(const LoadRecord& record);
  void take_numbers(const LoadRecord& record);
  Duration elapsed() const { return Steady::now() - load_began_; }

  const DemoOptions& options_;
  const InterruptScope& interrupt_;
  LocalCluster cluster_;
  ChaosPlan chaos_;
  std::vector<NodeState> states_;
  std::vector<GatewayKill> kills_;  ///< By index of the node, which is that of its url.
  WorkloadPlan plan_;
  std::vector<ClientJournal> journals_;
  DemoReport report_;
  Scoreboard board_;
  std::string last_event_;
  Steady::time_point load_began_{}, looked_{};
  bool healed_{true};
};

Result<void> Demo::start() {
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
  for (int i = 0; i < nodes(); ++i) plan_.urls.push_back(cluster_.sql_url(i));
  print_urls();
  TRY(workload_init(plan_, false));
  return wait_replicated(kStartTimeout);
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
    const auto ranges = cluster_.ranges(0);
    return ranges.ok() && static_cast<int>(ranges->size()) >= plan_.databases && fully_replicated(*ranges, wanted_rf());
  });
}

Result<void> Demo::load() {
  LoadRecord record;
  WorkloadRun run(plan_, record);
  load_began_ = Steady::now();
  run.start();
  while (elapsed() < options_.duration) {
    if (interrupt_.wait(50ms)) {
      cluster_.kill_all();  // clients that wait for an answer see their connections end
      return Error(Errc::kCancelled, "interrupted");
    }
    for (int i = 0; i < nodes(); ++i) tend(i);
    if (Steady::now() - looked_ > kLookEvery) look();
    if (options_.scenario == "crash")
      if (const auto step = chaos_.next(elapsed(), healed_)) strike(*step);
    if (board_.wants_update(seconds(elapsed()))) show(record);
  }
  run.stop();
  report_.finished = true;
  take_numbers(record);
  journals_ = run.journals();
  return {};
}

/// Who leads what, and is everything in its place?
void Demo::look() {
  looked_ = Steady::now();
  bool all_ready = true;
  for (const NodeState& state : states_) all_ready = all_ready && state.phase == NodeState::Phase::kReady;
  Result<std::vector<RangeFacts>> ranges = Error(Errc::kNotReady, "");
  for (int i = 0; i < nodes() && !ranges.ok(); ++i)
    if (states_[static_cast<std::size_t>(i)].phase == NodeState::Phase::kReady) ranges = cluster_.ranges(i, 500ms);
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
  kills_.push_back({static_cast<std::size_t>(step.node), before, Steady::now()});
  state = {step.whole_node ? NodeState::Phase::kDown : NodeState::Phase::kStarting, Steady::now(),
           facts.ok() ? facts->worker_pid : 0, report_.events.size(), -1};
  report_.events.push_back(event);
  ++report_.restarts;
  healed_ = false;
  last_event_ = fmt::format("{:.0f} s: kill -9 of {} {}", event.at_seconds,
                            step.whole_node ? "supervisor and worker of node" : "the worker of node", event.node);
  board_.say("  " + last_event_);
}

/// Starts a killed node again, and notes when it is ready.
void Demo::tend(int node) {
  NodeState& state = states_[static_cast<std::size_t>(node)];
  if (state.phase == NodeState::Phase::kReady) return;
  if (state.phase == NodeState::Phase::kDown) {
    if (Steady::now() - state.since < kNodeDownFor || !cluster_.start(node).ok()) return;
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
                      .last_event = last_event_};
  for (int i = 0; i < nodes(); ++i) {
    const NodeState& state = states_[static_cast<std::size_t>(i)];
    const auto facts = cluster_.facts(i);
    view.nodes.push_back(
        {i + 1, state.phase == NodeState::Phase::kReady, state.leases, facts.ok() ? facts->sql_addr : ""});
  }
  board_.show(view);
}

void Demo::take_numbers(const LoadRecord& record) {
  report_.seconds = seconds(record.elapsed());
  report_.statements = record.statements();
  report_.statements.unknown_gateway_died = died_with_gateway(record.broken(), kills_);
  report_.connections = record.connections();
  report_.complaints = record.complaints();
  const LatencyTimeline timeline = record.timeline();
  const LatencyHistogram all = timeline.all();
  report_.p50_ms = all.quantile_ms(0.5);
  report_.p99_ms = all.quantile_ms(0.99);
  report_.max_ms = record.max_latency_ms();
  report_.max_pause_ms = record.max_pause_ms();
  if (report_.events.empty()) return;
  std::vector<LatencyTimeline::Offset> at;
  for (const DemoEvent& event : report_.events)
    at.push_back(std::chrono::duration_cast<LatencyTimeline::Offset>(std::chrono::duration<double>(event.at_seconds)));
  const auto [during, steady] = timeline.around(at, kEventMargin);
  if (during.count() == 0 || steady.count() == 0 || steady.quantile_ms(0.99) <= 0) return;
  report_.p99_ratio = during.quantile_ms(0.99) / steady.quantile_ms(0.99);
}

/// Waits for the cluster to heal, then reads the data: the verdict comes from it, not from the load's counters.
void Demo::prove() {
  board_.say("load stopped; waiting for every replica, then reading everything back through every node …");
  const auto complain = [this](const Error& error) { report_.complaints.push_back(error.message); };
  (void)cluster_.wait_until("every node ready", kHealTimeout, [this] {
    bool all = true;
    for (int i = 0; i < nodes(); ++i) {
      tend(i);
      all = all && states_[static_cast<std::size_t>(i)].phase == NodeState::Phase::kReady && cluster_.ready(i).ok();
    }
    return all;
  });
  if (auto healed = wait_replicated(kHealTimeout); !healed.ok()) complain(healed.error());
  if (const auto ranges = cluster_.ranges(0, 5s); ranges.ok())
    report_.under_replicated_after = static_cast<std::uint64_t>(std::count_if(
        ranges->begin(), ranges->end(), [this](const RangeFacts& r) { return !fully_replicated({r}, wanted_rf()); }));
  if (auto results = cli::read_back(cluster_, plan_, journals_); results.ok())
    report_.read_back = std::move(results).value();
  else
    complain(results.error());
  if (auto compared = compare_replicas(cluster_, kCompareTimeout); compared.ok())
    report_.replicas = std::move(compared).value();
  else
    complain(compared.error());
}

void Demo::print_logs() const {
  for (int i = 0; i < nodes(); ++i)
    std::fprintf(stderr, "--- last lines of node %d's log\n%s\n", i + 1, cluster_.log_tail(i, 3000).c_str());
}

bool write_report(const std::string& path, const DemoReport& report) {
  std::ofstream file(path);
  file << to_json(report);
  file.close();
  if (file) return true;
  std::fprintf(stderr, "outlast: cannot write %s: check the folder and the space left\n", path.c_str());
  return false;
}

/// Three members, as a cluster would have them; they end after everything that uses them.
Result<std::string> start_etcd(etcd::LocalEtcd& etcd) {
  fmt::print("starting etcd, {} members …\n", etcd.size());
  std::fflush(stdout);
  TRY(etcd.start(kStartTimeout));
  fmt::print("etcd serves at {}\n", etcd.endpoints());
  return std::string(etcd::kScheme) + etcd.endpoints();
}

int give_up(const Error& error, const InterruptScope& interrupt) {
  if (interrupt.interrupted()) {
    std::fputs("\ninterrupted: ending everything that the demo started\n", stderr);
    return kInterrupted;
  }
  std::fprintf(stderr, "outlast: the demo cannot go on: %s\n", error.message.c_str());
  return kFailed;
}

}  // namespace

int run_demo(const DemoOptions& given) {
  DemoOptions options = given;
  if (options.seed == 0) options.seed = static_cast<std::int64_t>(std::random_device{}() % 1'000'000 + 1);
  const InterruptScope interrupt;
  const DemoFolder folder(options.keep);
  if (folder.path().empty()) {
    std::fputs("outlast: cannot make a folder below $TMPDIR or /tmp: check its rights and space\n", stderr);
    return kFailed;
  }
  fmt::print("outlast demo, scenario {}, seed {}, in {}\n", options.scenario, options.seed, folder.path());
  etcd::LocalEtcd etcd({.dir = folder.path(), .give_up = [&interrupt] { return interrupt.interrupted(); }});
  std::string meta;
  if (options.meta == "etcd") {
    auto url = start_etcd(etcd);
    if (!url.ok()) return give_up(url.error(), interrupt);
    meta = *std::move(url);
  }
  Demo demo(options, interrupt, folder.path(), meta);
  auto went = demo.start();
  if (went.ok()) went = demo.load();
  if (went.ok()) demo.prove();
  if (interrupt.interrupted() && went.ok()) went = Error(Errc::kCancelled, "interrupted");
  // A run that broke off is reported too: what was not measured fails it.
  const bool written = options.report.empty() || write_report(options.report, demo.report());
  if (!went.ok()) return give_up(went.error(), interrupt);
  std::fputs(("\n" + summary(demo.report())).c_str(), stdout);
  if (!options.report.empty()) fmt::print("report      {}\n", options.report);
  const bool passed = failures(demo.report()).empty();
  if (!passed) demo.print_logs();
  if (!written) return kFailed;
  return passed ? kDone : kVerdictNegative;
}

void add_demo(Commands& all) {
  auto o = std::make_shared<DemoOptions>();
  all.push_back(
      {.path = "demo",
       .summary = "Start a cluster on this machine, put load on it, and prove what it kept",
       .details = "Returns 0 when the run passed, 3 when it did not, 1 when it could not run, 130 after Ctrl-C.\n"
                  "Examples:\n"
                  "  outlast demo\n"
                  "  outlast demo --scenario=crash --duration=1m --report=/tmp/crash.json\n"
                  "  outlast demo --meta=etcd",
       .options =
           {{.name = "--nodes", .value_name = "N", .target = &o->nodes, .help = "how many nodes", .min = 1, .max = 15},
            {.name = "--duration", .value_name = "TIME", .target = &o->duration, .help = "how long the load runs"},
            {.name = "--clients",
             .value_name = "N",
             .target = &o->clients,
             .help = "connections of the load",
             .min = 1,
             .max = 1000},
            {.name = "--databases",
             .value_name = "N",
             .target = &o->databases,
             .help = "databases under load; 0 = two for each node",
             .min = 0,
             .max = 1000},
            {.name = "--scenario",
             .value_name = "NAME",
             .target = &o->scenario,
             .help = "steady: nothing happens; crash: kill -9 of workers and whole nodes under load",
             .choices = {"steady", "crash"}},
            {.name = "--meta",
             .value_name = "KIND",
             .target = &o->meta,
             .help = "where the metadata lies: embedded, a file; or etcd, three processes of Debian's etcd-server",
             .choices = {"embedded", "etcd"}},
            {.name = "--crash-every", .value_name = "TIME", .target = &o->crash_every, .help = "time between kills"},
            {.name = "--report", .value_name = "FILE", .target = &o->report, .help = "write the JSON report here"},
            {.name = "--seed",
             .value_name = "N",
             .target = &o->seed,
             .help = "of the load's and the crashes' choices; 0 = any",
             .min = 0},
            {.name = "--keep", .target = &o->keep, .help = "keep the folder with stores and logs"}},
       .run = [o] { return run_demo(*o); }});
}

}  // namespace outlast::cli
