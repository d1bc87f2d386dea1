// restart.
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "cli/groups.h"
#include "cli/interrupt.h"
#include "cli/restart_follow.h"
#include "cli/restart_source.h"
#include "cli/table.h"

namespace outlast::cli {
namespace {

struct RestartOptions {
  std::string store, host, binary, format{"text"};
  bool plan{false}, wait{false};
  Duration timeout{std::chrono::minutes(5)};
};

std::string who() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const char* user = std::getenv("USER");
  return std::string("outlast restart, ") + (user == nullptr ? "somebody" : user) + "@" + host;
}

int usage(const std::string& sentence) {
  std::fprintf(stderr, "outlast: %s\n", sentence.c_str());
  return kUsage;
}

int show_plan(const RestartOptions& o, RestartSource& source) {
  const auto plan = source.plan(o.binary);
  if (!plan.ok()) return fail_with(plan.error());
  std::fputs(o.format == "json" ? (boost::json::serialize(*plan) + "\n").c_str() : restart_plan(*plan).c_str(), stdout);
  return plan_refusal(*plan).empty() ? kDone : kVerdictNegative;
}

int restart(const RestartOptions& o, RestartSource& source) {
  const InterruptScope interrupt;
  const auto write_to = [](std::FILE* file) {
    return [file](const std::string& text) {
      std::fputs(text.c_str(), file);
      std::fflush(file);
    };
  };
  RestartFollow follow({.wait = o.wait, .json = o.format == "json", .timeout = o.timeout},
                       {.start = [&] { return source.start(who(), o.binary); },
                        .look = [&](std::uint64_t id) { return source.look(id); },
                        .now = [] { return Duration(std::chrono::steady_clock::now().time_since_epoch()); },
                        .interrupted = [&] { return interrupt.interrupted(); },
                        .out = write_to(stdout),
                        .err = write_to(stderr)});
  return follow.run();
}

int run_restart(RestartOptions& o) {
  if (o.store.empty() == o.host.empty())
    return usage("name the node to restart: --store=DIR of a node on this machine, or --host=HOST:PORT of its HTTP");
  if (!o.host.empty() && (o.plan || !o.binary.empty()))
    return usage("--plan and --binary go with --store, on the node's own machine");
  if (!o.binary.empty()) {
    o.binary = std::filesystem::absolute(o.binary).string();
    if (::access(o.binary.c_str(), X_OK) != 0) return usage("--binary=" + o.binary + " is no program that can be run");
  }
  const auto source = o.store.empty() ? restart_by_http(o.host) : restart_by_store(o.store);
  return o.plan ? show_plan(o, *source) : restart(o, *source);
}

}  // namespace

void add_restart(Commands& all) {
  auto o = std::make_shared<RestartOptions>();
  all.push_back(
      {.path = "restart",
       .summary = "Replace a node's working process without its clients noticing",
       .details =
           "A new process of the program that lies at the node's path now, or of --binary, takes over sessions, "
           "leases\n"
           "and store; what cannot move is told to connect again (docs/restart.md). The restart is the supervisor's: "
           "it\n"
           "goes on when this command ends. One that is asked for while another runs follows it, and all who ask\n"
           "meanwhile get the same one. Returns 0 when it is complete (or, without --wait, accepted), and 1 when it "
           "was\n"
           "refused or rolled back: then the node serves as before. --plan returns 3 when it would be refused.\n\n"
           "  outlast restart --store=/data/n1 --plan\n"
           "  outlast restart --store=/data/n1 --wait --binary=/usr/bin/outlast-new\n"
           "  outlast restart --host=127.0.0.1:8080 --wait",
       .options =
           {{.name = "--store",
             .value_name = "DIR",
             .target = &o->store,
             .help = "the store of a node on this machine"},
            {.name = "--host", .value_name = "HOST:PORT", .target = &o->host, .help = "or a node's --http-addr"},
            {.name = "--wait", .value_name = "", .target = &o->wait, .help = "wait for the end; show the receipt"},
            {.name = "--plan",
             .value_name = "",
             .target = &o->plan,
             .help = "change nothing: try the program, and say what would move and what could not"},
            {.name = "--binary",
             .value_name = "PATH",
             .target = &o->binary,
             .help = "the program from now on; with --store only"},
            {.name = "--timeout", .value_name = "TIME", .target = &o->timeout, .help = "how long --wait waits"},
            {.name = "--format",
             .value_name = "FORMAT",
             .target = &o->format,
             .help = "text, or json: one object a line, the receipt last",
             .choices = {"text", "json"}}},
       .run = [o] { return run_restart(*o); }});
}

}  // namespace outlast::cli
