// run: the supervisor around somebody else's server.
#include <cstdio>
#include <memory>

#include "cli/groups.h"
#include "run/options.h"

namespace outlast::cli {
namespace {
struct RunCommand {
  run::RunOptions run;
  std::string reload;
};

std::vector<Option> socket_options(run::RunOptions& o) {
  return {{.name = "--listen",
           .value_name = "[NAME=]URL",
           .target = &o.listen,
           .help = "a socket for the server: tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH; several become "
                   "descriptors 3, 4, … in this order, after those of systemd"},
          {.name = "--env",
           .value_name = "NAME=VALUE",
           .target = &o.environment,
           .help = "for the server's environment; {fds;} in it becomes \"3;4;\", {fd:NAME} one descriptor",
           .whole = true}};
}

std::vector<Option> change_options(run::RunOptions& o) {
  return {{.name = "--ready",
           .value_name = "RULE",
           .target = &o.ready,
           .help = "a new process is ready when: notify (it says READY=1 to NOTIFY_SOCKET), tcp://HOST:PORT or "
                   "http://HOST:PORT/PATH (itself answers there), exec (it lives for --ready-after), none"},
          {.name = "--ready-after", .value_name = "TIME", .target = &o.ready_after, .help = "for --ready=exec"},
          {.name = "--ready-timeout",
           .value_name = "TIME",
           .target = &o.ready_timeout,
           .help = "a process that is not ready by then is killed; a reload's old process goes on"},
          {.name = "--check",
           .value_name = "COMMAND",
           .target = &o.check,
           .help = "a shell command before each reload, as 'nginx -t'; when it fails nothing is started"},
          {.name = "--stop-signal",
           .value_name = "SIGNAL",
           .target = &o.stop_signal,
           .help = "what makes the server finish and end; nginx needs SIGQUIT"},
          {.name = "--grace", .value_name = "TIME", .target = &o.grace, .help = "from that signal to SIGKILL"},
          {.name = "--restart",
           .value_name = "WHEN",
           .target = &o.restart,
           .help = "start a server again that ends by itself",
           .choices = {"always", "on-failure", "never"}}};
}

int start_or_reload(const RunCommand& o) {
  if (o.reload.empty()) return run::run(o.run);
  const auto asked = run::ask_to_reload(o.reload);
  if (asked.ok()) return kDone;
  std::fprintf(stderr, "outlast: %s\n", asked.error().message.c_str());
  return kFailed;
}
}  // namespace

void add_run(Commands& all) {
  auto o = std::make_shared<RunCommand>();
  std::vector<Option> options = socket_options(o->run);
  for (Option& option : change_options(o->run)) options.push_back(std::move(option));
  options.push_back({.name = "--pid-file",
                     .value_name = "FILE",
                     .target = &o->run.pid_file,
                     .help = "holds this process's pid, which never changes"});
  options.push_back({.name = "--reload",
                     .value_name = "FILE",
                     .target = &o->reload,
                     .help = "only ask the `outlast run` with this pid file to reload"});
  options.push_back({.name = "--format",
                     .target = &o->run.format,
                     .help = "events: sentences on stderr, or a JSON object a line on stdout",
                     .choices = {"text", "json"}});
  options.push_back({.name = "CMD", .value_name = "CMD", .target = &o->run.command, .help = "after --: the server"});
  all.push_back(
      {.path = "run",
       .summary = "Run any server and exchange its process without a client noticing",
       .details = "Keeps the sockets open, starts the server again when it ends by itself. SIGHUP or SIGUSR2 reloads:\n"
                  "the new process starts beside the old one, and only when it is ready is the old one told to stop.\n"
                  "docs/supervisor.md has recipes.\n\n"
                  "  outlast run --listen=tcp://:8080 --ready=notify -- ./server\n"
                  "  outlast run --listen=tcp://:80 --env='NGINX={fds;}' --stop-signal=SIGQUIT --check='nginx -t' \\\n"
                  "    --ready=http://127.0.0.1/ -- nginx -g 'daemon off;'",
       .options = options,
       .run = [o] { return start_or_reload(*o); }});
}

}  // namespace outlast::cli
