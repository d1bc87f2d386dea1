// start, start-single-node, init and the hidden worker.

#include <cstdio>
#include <memory>

#include "base/parse.h"
#include "cli/groups.h"
#include "server/check.h"
#include "server/init.h"
#include "server/supervise.h"

namespace outlast::cli {
namespace {
using server::StartOptions;

int fail(const Error& error) {
  std::fprintf(stderr, "outlast: %s\n", error.message.c_str());
  return error.code == Errc::kInvalidArgument ? kUsage : kFailed;
}

std::vector<Option> start_options(StartOptions& o) {
  return {
      {.name = "--store",
       .value_name = "DIR",
       .target = &o.store,
       .help = "where this node keeps its data",
       .required = true},
      {.name = "--listen-addr",
       .value_name = "HOST:PORT",
       .target = &o.listen_addr,
       .help = "for other nodes and the command line"},
      {.name = "--sql-addr", .value_name = "HOST:PORT", .target = &o.sql_addr, .help = "for PostgreSQL clients"},
      {.name = "--http-addr",
       .value_name = "HOST:PORT",
       .target = &o.http_addr,
       .help = "for health checks, metrics and the API"},
      {.name = "--advertise-addr",
       .value_name = "HOST",
       .target = &o.advertise_addr,
       .help = "what other nodes call this one; empty: the host of --listen-addr"},
      {.name = "--locality",
       .value_name = "TIERS",
       .target = &o.locality,
       .help =
           "where this node stands, the largest failure domain first: region=a,zone=b; replicas of a range are kept "
           "as far apart as possible"},
      {.name = "--max-connections",
       .value_name = "N",
       .target = &o.max_connections,
       .help = "SQL connections; more are refused with 53300",
       .min = 1,
       .max = 100'000},
      {.name = "--grace",
       .value_name = "DURATION",
       .target = &o.grace,
       .help = "how long the process manager waits for a stop before it kills (TimeoutStopSec, "
               "terminationGracePeriodSeconds): a drain then does first what hurts most; 0s: nobody said"},
      {.name = "--with-source-only",
       .value_name = "",
       .target = &o.with_source_only,
       .help = "inputs take in and buffer, and nothing of it is stored until SIGWINCH (docs/ingest.md)"},
      {.name = "--pid-file",
       .value_name = "FILE",
       .target = &o.pid_file,
       .help = "where the supervisor's pid stands while the node serves; it stays the same over restarts"},
      {.name = "--log-file", .value_name = "FILE", .target = &o.log_file, .help = "where the log goes; empty: stderr"},
      {.name = "--log-level",
       .value_name = "LEVEL",
       .target = &o.log_level,
       .help = "least level that is logged",
       .choices = {"trace", "debug", "info", "warn", "error", "off"}},
      {.name = "--insecure",
       .value_name = "",
       .target = &o.insecure,
       .help = "allow addresses that other machines reach, without TLS"}};
}

Option roles_option(std::string& roles) {
  return {
      .name = "--roles",
      .value_name = "LIST",
      .target = &roles,
      .help =
          "what this node does: frontend (SQL and HTTP for clients, leads the cluster when elected), backend (stores "
          "replicas), compute (runs parts of queries, stores nothing), one or more of them; or `none`: a collector "
          "that takes records in and passes them on, without a database (docs/ingest.md)"};
}

Option meta_option(std::string& meta, bool required) {
  return {.name = "--meta",
          .value_name = "URL",
          .target = &meta,
          .help =
              "the cluster's metadata: embedded:DIR, shared by the nodes of one machine, or etcd://HOST:PORT,… "
              "with /PREFIX?ca=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE as needed",
          .required = required};
}

Option config_option(std::string& config) {
  return {
      .name = "--config",
      .value_name = "FILE",
      .target = &config,
      .help = "TOML file with these options, named without the dashes; the command line wins. A restart reads it again",
      .in_file = false};
}

Option single_node_option(bool& single_node) {
  return {.name = "--single-node",
          .value_name = "",
          .target = &single_node,
          .help = "initialise the cluster: this node is all of it, as with `outlast start-single-node`",
          .in_file = false};
}

/// What `start` and its check have beside the node's own options.
struct StartCommand {
  StartOptions start;
  bool check{false};
};

int check_only(const StartOptions& options) {
  const auto disk = storage::make_posix_disk();
  const Result<server::CheckReport> report = server::check_start(*disk, options);
  if (!report.ok()) {
    std::fprintf(stderr, "outlast: %s\n", report.error().message.c_str());
    return kUsage;
  }
  std::puts(server::to_json(*report).c_str());
  return kDone;
}

/// Every option of the commands that start a node.
std::vector<Option> command_options(StartCommand& command) {
  std::vector<Option> options = start_options(command.start);
  options.push_back(meta_option(command.start.meta, false));
  options.push_back(config_option(command.start.config));
  options.push_back({.name = "--check",
                     .value_name = "",
                     .target = &command.check,
                     .help = "start nothing: say as JSON whether this program could start here, with these options",
                     .in_file = false});
  return options;
}

/// `start`, and `start-single-node` with `single`.
Command start_command(const std::shared_ptr<StartCommand>& command, bool single) {
  std::vector<Option> options = command_options(*command);
  if (!single) options.push_back(single_node_option(command->start.single_node));
  if (!single) options.push_back(roles_option(command->start.roles));
  return {.path = single ? "start-single-node" : "start",
          .summary = "",
          .details = "",
          .options = std::move(options),
          .run = [] { return kDone; },
          .config = &command->start.config,
          .given = &command->start.given};
}

/// What start-single-node means beyond its options.
void complete(StartOptions& options, bool single) {
  std::erase(options.given, "--check");
  if (!single) return;
  options.single_node = true;
  options.given.push_back("--single-node");
  if (!options.meta.empty()) return;
  options.meta = "embedded:" + options.store + "/meta";
  options.given.push_back("--meta=" + options.meta);
}

/// The words once more, with the file as it is now.
Result<StartOptions> read_again(const std::vector<std::string>& words, bool single) {
  const auto fresh = std::make_shared<StartCommand>();
  const Command command = start_command(fresh, single);
  std::vector<const char*> argv{"outlast", command.path.c_str()};
  for (const std::string& word : words) argv.push_back(word.c_str());
  TRY(read_command_line(static_cast<int>(argv.size()), argv.data(), command));
  complete(fresh->start, single);
  return fresh->start;
}

int start_node(StartCommand& command, bool single) {
  StartOptions& options = command.start;
  options.read_again = [words = options.given, single] { return read_again(words, single); };
  complete(options, single);
  return command.check ? check_only(options) : server::supervise(options);
}
}  // namespace

void add_start(Commands& all) {
  const auto add = [&all](bool single, const char* summary, const char* details) {
    auto command = std::make_shared<StartCommand>();
    Command& added = all.emplace_back(start_command(command, single));
    added.summary = summary;
    added.details = details;
    added.run = [command, single] { return start_node(*command, single); };
  };
  add(false, "Start a node of a cluster",
      "The process that you start supervises the node: it keeps its pid, starts the working process again when\n"
      "that dies, replaces it on SIGUSR2 (docs/restart.md), and stops on SIGTERM. A new cluster waits for\n"
      "`outlast init`. --meta is required, except with --roles=none. --check returns 0 and one JSON object, or 2\n"
      "and a sentence that says what is wrong.\n\n"
      "  outlast start --store=/data/n1 --meta=embedded:/data/meta --sql-addr=127.0.0.1:26257\n"
      "  outlast start --config=/etc/outlast.toml --check\n"
      "  outlast start --roles=none --store=/var/lib/collector --config=/etc/collector.toml");
  add(true, "Start a cluster of one node",
      "Initialises itself; metadata lies in the store unless --meta says otherwise.\n\n"
      "  outlast start-single-node --store=/tmp/one\n  psql -h 127.0.0.1 -p 26257 defaultdb");

  auto worker = std::make_shared<server::WorkerOptions>();
  auto supervisor_pid = std::make_shared<std::int64_t>(0);
  std::vector<Option> options = start_options(worker->start);
  options.push_back(meta_option(worker->start.meta, false));
  options.push_back(roles_option(worker->start.roles));
  options.push_back(config_option(worker->start.config));
  options.push_back(single_node_option(worker->start.single_node));
  options.push_back({.name = "--standby",
                     .value_name = "",
                     .target = &worker->standby,
                     .help = "take the node over from the worker at descriptor 6",
                     .in_file = false});
  options.push_back({.name = "--source-only",
                     .value_name = "",
                     .target = &worker->source_only,
                     .help = "store nothing until the supervisor says so",
                     .in_file = false});
  options.push_back({.name = "--input-socket",
                     .value_name = "FD=ADDRESS",
                     .target = &worker->input_sockets,
                     .help = "the open socket of an input",
                     .in_file = false});
  options.push_back({.name = "--ingest-config",
                     .value_name = "FILE",
                     .target = &worker->ingest_config,
                     .help = "where inputs and sinks are described; empty: --config",
                     .in_file = false});
  options.push_back({.name = "--supervisor-pid",
                     .value_name = "PID",
                     .target = supervisor_pid.get(),
                     .help = "who started it",
                     .in_file = false});
  all.push_back({.path = "worker",
                 .summary = "What `outlast start` runs; not for people",
                 .details = "",
                 .options = options,
                 .run =
                     [worker, supervisor_pid] {
                       worker->supervisor_pid = static_cast<int>(*supervisor_pid);
                       return server::work(*worker);
                     },
                 .config = &worker->start.config});
}

void add_init(Commands& all) {
  auto meta = std::make_shared<std::string>();
  all.push_back(
      {.path = "init",
       .summary = "Initialise a new cluster, once",
       .details =
           "Nodes that were started wait for it. Running it again on an initialised cluster changes nothing and fails.",
       .options = {meta_option(*meta, true)},
       .run = [meta] {
         const Result<std::string> cluster = server::init_cluster(*meta);
         if (!cluster.ok()) return fail(cluster.error());
         std::printf("cluster %s initialised\n", cluster->c_str());
         return static_cast<int>(kDone);
       }});
}

}  // namespace outlast::cli
