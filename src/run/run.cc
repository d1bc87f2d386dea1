#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "run/options.h"
#include "run/pid_file.h"
#include "run/runner.h"

namespace outlast::run {
namespace {
constexpr int kFailed = 1, kUsage = 2;

Result<Restart> parse_restart(const std::string& text) {
  if (text == "always") return Restart::kAlways;
  if (text == "on-failure") return Restart::kOnFailure;
  if (text == "never") return Restart::kNever;
  return Error(Errc::kInvalidArgument, "'" + text + "' is none of always, on-failure and never");
}

Result<std::vector<Listener>> open_all(const std::vector<std::string>& specs) {
  std::vector<Listener> all = take_inherited();
  for (const std::string& spec : specs) {
    auto one = open_listener(spec);
    if (!one.ok()) {
      close_all(all);
      return std::move(one).error();
    }
    all.push_back(*one);
  }
  return all;
}

Result<std::vector<std::string>> environment(const std::vector<std::string>& own,
                                             const std::vector<Listener>& sockets) {
  std::vector<std::string> all = environment_for_children(), names;
  std::string joined;
  for (const Listener& one : sockets) {
    joined += (names.empty() ? "" : ":") + one.name;
    names.push_back(one.name);
  }
  if (!sockets.empty()) {
    all.push_back("LISTEN_FDS=" + std::to_string(sockets.size()));
    all.push_back("LISTEN_FDNAMES=" + joined);
  }
  for (const std::string& one : own) {
    const std::size_t equals = one.find('=');
    if (equals == 0 || equals == std::string::npos)
      return Error(Errc::kInvalidArgument, "'" + one + "' is not NAME=VALUE");
    std::erase_if(all, [&](const std::string& known) { return known.starts_with(one.substr(0, equals + 1)); });
    ASSIGN_OR_RETURN(all.emplace_back(), fill_in(one, names));
  }
  return all;
}

Result<RunnerOptions> understand(const RunOptions& o, const std::vector<Listener>& listeners) {
  RunnerOptions out;
  if (o.command.empty())
    return Error(Errc::kInvalidArgument, "say what to run: outlast run --listen=tcp://:8080 -- COMMAND ARGUMENTS");
  out.command = o.command;
  out.check = o.check;
  out.ready_after = o.ready_after;
  out.json = o.format == "json";
  ASSIGN_OR_RETURN(out.ready, parse_ready(o.ready));
  ASSIGN_OR_RETURN(out.environment, environment(o.environment, listeners));
  out.settings = {.ready_timeout = o.ready_timeout, .grace = o.grace, .check = !o.check.empty()};
  ASSIGN_OR_RETURN(out.settings.stop_signal, parse_signal(o.stop_signal));
  ASSIGN_OR_RETURN(out.settings.restart, parse_restart(o.restart));
  return out;
}

int fail(const Error& error) {
  std::fprintf(stderr, "outlast: %s\n", error.message.c_str());
  return error.code == Errc::kInvalidArgument ? kUsage : kFailed;
}
}  // namespace

int run(const RunOptions& options) {
  Runner::block_signals();
  auto pid_file = PidFile::take(options.pid_file);
  if (!pid_file.ok()) return fail(pid_file.error());
  auto listeners = open_all(options.listen);
  if (!listeners.ok()) return fail(listeners.error());
  auto understood = understand(options, *listeners);
  const int code = understood.ok() ? Runner(std::move(*understood), *listeners).run() : fail(understood.error());
  close_all(*listeners);
  return code;
}

Result<void> ask_to_reload(const std::string& pid_file) {
  ASSIGN_OR_RETURN(const int pid, holder_of(pid_file));
  if (kill(pid, SIGUSR2) == 0) return {};
  return Error(Errc::kUnavailable, "cannot signal process " + std::to_string(pid) + ": " + std::strerror(errno));
}

}  // namespace outlast::run
