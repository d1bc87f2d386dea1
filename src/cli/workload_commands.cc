// `outlast workload init|run|verify`.
#include <spdlog/fmt/fmt.h>

#include <csignal>
#include <cstdio>
#include <ctime>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/interrupt.h"
#include "cli/workload_check.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct WorkloadOptions {
  std::vector<std::string> urls;
  std::string kind{"both"};
  std::int64_t databases{1}, clients{8}, accounts{100}, seed{1};
  Duration duration{10s};
  bool drop{false};
  std::string journal;

  WorkloadPlan plan() const {
    return {.urls = urls,
            .databases = static_cast<int>(databases),
            .clients = static_cast<int>(clients),
            .accounts = static_cast<int>(accounts),
            .bank = kind != "append",
            .append = kind != "bank",
            .seed = static_cast<std::uint64_t>(seed),
            .run = static_cast<std::int64_t>(std::time(nullptr))};
  }
};

int complain(const Error& error) {
  std::fprintf(stderr, "outlast: %s\n", error.message.c_str());
  return kFailed;
}

void print_summary(const LoadRecord& record) {
  const auto s = record.statements();
  const auto c = record.connections();
  const auto latencies = record.timeline().all();
  const double seconds = std::chrono::duration<double>(record.elapsed()).count();
  fmt::print("statements: {} ok ({:.0f}/s), {} retried, {} unknown ({} broken connections), {} failed\n", s.ok,
             static_cast<double>(s.ok) / std::max(seconds, 0.001), s.retried, s.unknown, record.broken().size(),
             s.failed);
  fmt::print("connections: {} opened, {} closed while idle, {} lost\n", c.opened, c.closed_idle, c.lost);
  fmt::print("latency: p50 {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms; longest wait of a client {:.1f} ms\n",
             latencies.quantile_ms(0.5), latencies.quantile_ms(0.99), record.max_latency_ms(), record.max_pause_ms());
  for (const auto& [code, count] : s.by_sqlstate) fmt::print("  {} x {}\n", count, code);
  for (const auto& text : record.complaints()) fmt::print("  first: {}\n", text);
}

int run_init(const WorkloadOptions& options) {
  if (auto done = workload_init(options.plan(), options.drop); !done.ok()) return complain(done.error());
  fmt::print("{} database(s) ready: {} … {}\n", options.databases, options.plan().database(0),
             options.plan().database(static_cast<int>(options.databases) - 1));
  return kDone;
}

int run_load(const WorkloadOptions& options) {
  const WorkloadPlan plan = options.plan();
  const InterruptScope interrupt;
  LoadRecord record;
  WorkloadRun load(plan, record);
  load.start();
  for (const auto end = LoadRecord::Clock::now() + options.duration; LoadRecord::Clock::now() < end;) {
    if (interrupt.wait(std::min<Duration>(1s, end - LoadRecord::Clock::now()))) break;
    const auto last = record.last(1s);
    fmt::print("{:5.0f}s {:8} statements/s  p50 {:7.1f} ms  p99 {:7.1f} ms  failed {}\n",
               std::chrono::duration<double>(record.elapsed()).count(), last.count(), last.quantile_ms(0.5),
               last.quantile_ms(0.99), record.statements().failed);
    std::fflush(stdout);
  }
  load.stop();
  print_summary(record);
  if (!options.journal.empty())
    if (auto written = write_journals(options.journal, plan.run, load.journals()); !written.ok())
      return complain(written.error());
  if (interrupt.interrupted()) return kInterrupted;
  if (record.statements().ok == 0) {
    std::fputs("outlast: no statement succeeded: is a node listening at the urls, and was `workload init` run?\n",
               stderr);
    return kFailed;
  }
  return record.statements().failed == 0 ? kDone : kVerdictNegative;
}

int run_verify(const WorkloadOptions& options) {
  auto file = read_journals(options.journal);
  if (!file.ok()) return complain(file.error());
  CheckResult total;
  for (const std::string& url : options.urls)
    for (int i = 0; i < options.databases; ++i) {
      auto contents = read_database(url, options.plan().database(i), file->run);
      if (!contents.ok()) return complain(contents.error());
      total.merge(compare(file->journals, *contents));
    }
  fmt::print(
      "acknowledged {}, missing {}, duplicated {}, reported as not applied and there {}, never asked for {}, "
      "unknown {} (applied {}), wrong balances {}\n",
      total.acked, total.missing, total.duplicated, total.resurrected, total.unasked, total.unknown,
      total.unknown_applied, total.broken_balances);
  for (const std::string& text : total.details) fmt::print("  {}\n", text);
  return total.passed() ? kDone : kVerdictNegative;
}

/// Adds the command with the options that all three share, and its own.
void add(Commands& all, const char* name, const char* summary, const char* details, std::vector<Option> own,
         std::shared_ptr<WorkloadOptions> o, int (*run)(const WorkloadOptions&)) {
  std::vector<Option> options{{.name = "--url",
                               .value_name = "URL",
                               .target = &o->urls,
                               .help = "postgresql:// address of a node; several are separated by commas",
                               .required = true},
                              {.name = "--databases",
                               .value_name = "N",
                               .target = &o->databases,
                               .help = "how many databases: load_1, load_2, ...",
                               .min = 1,
                               .max = 1000}};
  for (Option& option : own) options.push_back(std::move(option));
  all.push_back({.path = fmt::format("workload {}", name),
                 .summary = summary,
                 .details = details,
                 .options = std::move(options),
                 .run = [o, run] { return run(*o); }});
}

}  // namespace

void add_workload(Commands& all) {
  auto init = std::make_shared<WorkloadOptions>();
  add(all, "init", "Create the tables of the test load",
      "Example: outlast workload init --url=postgresql://root@127.0.0.1:26257/defaultdb --databases=4",
      {{.name = "--accounts",
        .value_name = "N",
        .target = &init->accounts,
        .help = "bank accounts in each database",
        .min = 2,
        .max = 100'000},
       {.name = "--drop", .target = &init->drop, .help = "drop the databases first"}},
      init, run_init);
  auto run = std::make_shared<WorkloadOptions>();
  add(all, "run", "Put load on a cluster and tell how every statement ended",
      "Bank clients move money in transactions and run them again on 40001; append clients insert one row a statement\n"
      "and never retry. Returns 0 when no statement failed, 3 when one did, 1 when it could not run.\n"
      "Example: outlast workload run --url=URL1,URL2,URL3 --duration=1m --journal=run.txt",
      {{.name = "--kind",
        .value_name = "KIND",
        .target = &run->kind,
        .help = "which clients",
        .choices = {"both", "bank", "append"}},
       {.name = "--clients",
        .value_name = "N",
        .target = &run->clients,
        .help = "connections, spread over the urls",
        .min = 1,
        .max = 10'000},
       {.name = "--duration", .value_name = "TIME", .target = &run->duration, .help = "how long"},
       {.name = "--accounts",
        .value_name = "N",
        .target = &run->accounts,
        .help = "as given to init",
        .min = 2,
        .max = 100'000},
       {.name = "--seed", .value_name = "N", .target = &run->seed, .help = "of the clients' choices"},
       {.name = "--journal",
        .value_name = "FILE",
        .target = &run->journal,
        .help = "where to write what was acknowledged, for verify"}},
      run, run_load);
  auto verify = std::make_shared<WorkloadOptions>();
  add(all, "verify", "Read everything back and compare it with what clients were told",
      "Reads through every --url. Returns 0 when nothing is missing, duplicated or made up, 3 when something is.\n"
      "Example: outlast workload verify --url=URL1,URL2,URL3 --databases=4 --journal=run.txt",
      {{.name = "--journal",
        .value_name = "FILE",
        .target = &verify->journal,
        .help = "written by `workload run`",
        .required = true}},
      verify, run_verify);
}

}  // namespace outlast::cli
