#include "cli/demo/demo.h"

#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>

#include "cli/demo/roles/run.h"
#include "cli/demo/run.h"
#include "cli/groups.h"
#include "cli/haproxy_process.h"
#include "etcd/local_etcd.h"
#include "etcd/options.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
constexpr auto kStartTimeout = 60s;

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

template <class Run>
int run_to_verdict(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir,
                   const std::string& meta) {
  Run demo(options, interrupt, dir, meta);
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

/// Empty: the scenario can run with these nodes. Else the process's end.
std::optional<int> refused(const DemoOptions& options) {
  const bool leaves = options.scenario == "decommission", rolls = options.scenario == "rolling-restart";
  const auto say = [](const char* text, int code) {
    std::fputs(text, stderr);
    return code;
  };
  if ((options.scenario == "drain" || rolls) && options.nodes < 3)
    return say("outlast: while one node drains two others have to serve: --nodes=3 or more\n", kUsage);
  if (leaves && options.nodes < 5)
    return say("outlast: when two nodes have left three others have to keep the copies: --nodes=5 or more\n", kUsage);
  if (options.scenario == "roles" && options.nodes != kRolesNodes)
    return say("outlast: this scenario has 2 frontends, 3 backends and a compute node: leave --nodes out\n", kUsage);
  if ((options.scenario == "drain" || leaves || rolls) && find_haproxy().empty())
    return say("outlast: this scenario needs HAProxy in PATH or /usr/sbin: apt-get install haproxy\n", kFailed);
  return std::nullopt;
}

int usual_nodes(const std::string& scenario) {
  if (scenario == "roles") return kRolesNodes;
  return scenario == "decommission" || scenario == "rolling-restart" ? 5 : 3;
}

}  // namespace

int run_demo(const DemoOptions& given) {
  DemoOptions options = given;
  if (options.seed == 0) options.seed = static_cast<std::int64_t>(std::random_device{}() % 1'000'000 + 1);
  if (options.nodes == 0) options.nodes = usual_nodes(options.scenario);
  if (const auto code = refused(options)) return *code;
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
  if (options.scenario == "roles") return run_to_verdict<RolesDemo>(options, interrupt, folder.path(), meta);
  return run_to_verdict<Demo>(options, interrupt, folder.path(), meta);
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
                  "  outlast demo --meta=etcd\n"
                  "  outlast demo --scenario=drain --duration=90s --report=/tmp/drain.json\n"
                  "  outlast demo --scenario=restart --duration=90s --report=/tmp/restart.json\n"
                  "  outlast demo --scenario=ingest --duration=90s --report=/tmp/ingest.json\n"
                  "  outlast demo --scenario=decommission --duration=90s --report=/tmp/decommission.json\n"
                  "  outlast demo --scenario=rolling-restart --duration=90s --report=/tmp/rolling.json\n"
                  "  outlast demo --scenario=roles --duration=120s --report=/tmp/roles.json",
       .options =
           {{.name = "--nodes",
             .value_name = "N",
             .target = &o->nodes,
             .help = "how many nodes; 0 = 5 for decommission and rolling-restart, 6 for roles, else 3",
             .min = 0,
             .max = 15},
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
             .help =
                 "steady: nothing happens; crash: kill -9 of workers and whole nodes under load; drain: a rolling "
                 "restart "
                 "behind HAProxy, with clients that never repeat anything; restart: working processes replaced in "
                 "turn, with clients that stay connected and never repeat anything, and senders of records; ingest: "
                 "records of every kind through restarts and one kill -9; decommission: two nodes leave for good and a "
                 "third is killed meanwhile; rolling-restart: the whole cluster restarted by one command, again and "
                 "again; roles: two frontends, three backends and a compute node, each leaving by `stop -g` and "
                 "returning under queries of every length, labelled loads and background work",
             .choices = {"steady", "crash", "drain", "restart", "ingest", "decommission", "rolling-restart", "roles"}},
            {.name = "--meta",
             .value_name = "KIND",
             .target = &o->meta,
             .help = "where the metadata lies: embedded, a file; or etcd, three processes of Debian's etcd-server",
             .choices = {"embedded", "etcd"}},
            {.name = "--crash-every", .value_name = "TIME", .target = &o->crash_every, .help = "time between kills"},
            {.name = "--rounds",
             .value_name = "N",
             .target = &o->rounds,
             .help = "how often each node is drained; about 9 s each",
             .min = 1,
             .max = 1000},
            {.name = "--rate",
             .value_name = "N",
             .target = &o->rate,
             .help = "restart and ingest: records a second, of all senders together",
             .min = 1,
             .max = 1'000'000},
            {.name = "--bulk",
             .value_name = "SIZE",
             .target = &o->bulk,
             .help = "decommission: data beside the load's, each byte in three copies, so that there is something to "
                     "move"},
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
