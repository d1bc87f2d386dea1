#include "server/supervise.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/parse.h"
#include "base/version.h"
#include "handover/supervisor.h"
#include "meta/fencing.h"
#include "placement/locality.h"
#include "server/asio_loop.h"
#include "server/check.h"
#include "server/ingest_sockets.h"
#include "server/log.h"
#include "server/meta_url.h"
#include "server/reload.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLastFence = 3s;  ///< A supervisor that ends waits so long for the metadata store.

/// Held for the supervisor's life: a second `outlast start` on the store fails at once instead of fighting over it.
Result<int> lock_supervisor(const std::string& store) {
  std::error_code error;
  std::filesystem::create_directories(store, error);
  const std::string path = store + "/SUPERVISOR";
  const int fd = error ? -1 : open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Error(Errc::kIo, "cannot use the store " + store + ": " + std::strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    const std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0)
      return Error(Errc::kIo, "cannot write " + path + ": " + std::strerror(errno));
    return fd;
  }
  char holder[32] = "";
  const ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
  close(fd);
  return Error(Errc::kStoreLocked, "the store " + store + " is in use by the node with pid " +
                                       std::string(holder, n > 0 ? static_cast<std::size_t>(n - 1) : 0) +
                                       "; stop that node first, or choose another --store");
}

int fail(const Error& error) {
  std::fprintf(stderr, "outlast: %s\n", error.message.c_str());
  return error.code == Errc::kInvalidArgument ? 2 : 1;
}
}  // namespace

namespace {
/// For options that nobody gave as words.
std::vector<std::string> words_of(const StartOptions& o) {
  std::vector<std::string> words = {"--store=" + o.store,
                                    "--listen-addr=" + o.listen_addr,
                                    "--sql-addr=" + o.sql_addr,
                                    "--http-addr=" + o.http_addr,
                                    "--log-level=" + o.log_level,
                                    "--max-connections=" + std::to_string(o.max_connections),
                                    "--grace=" + format_duration(o.grace)};
  if (is_collector(o) || !roles_of(o).all()) words.push_back("--roles=" + o.roles);
  if (!o.meta.empty()) words.push_back("--meta=" + o.meta);
  if (!o.log_file.empty()) words.push_back("--log-file=" + o.log_file);
  if (!o.locality.empty()) words.push_back("--locality=" + o.locality);
  if (!o.advertise_addr.empty()) words.push_back("--advertise-addr=" + o.advertise_addr);
  if (o.insecure) words.emplace_back("--insecure");
  if (o.single_node) words.emplace_back("--single-node");
  return words;
}
}  // namespace

/// The words as they were given: who takes over reads the configuration file anew, with the options that it knows. What
/// this program cannot read, a newer one may; the trial tells.
handover::CommandLines command_lines(const StartOptions& o) {
  const std::vector<std::string> words = o.given.empty() ? words_of(o) : o.given;
  const auto fresh = o.read_again ? o.read_again() : Result<StartOptions>(o);
  handover::CommandLines lines;
  lines.worker = {"worker", "--supervisor-pid=" + std::to_string(getpid())};
  lines.again = lines.worker;
  lines.trial = {"start", "--check"};
  for (std::vector<std::string>* line : {&lines.worker, &lines.trial})
    line->insert(line->end(), words.begin(), words.end());
  const std::vector<std::string> values = words_of(fresh.ok() ? *fresh : o);
  lines.again.insert(lines.again.end(), values.begin(), values.end());
  if (!o.config.empty()) lines.again.push_back("--ingest-config=" + o.config);
  return lines;
}

namespace {
/// Our own words, for the program that takes our place.
std::vector<std::string> own_arguments() {
  std::ifstream in("/proc/self/cmdline");
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  return words;
}

/// Of a restart that the present worker can hand over to.
Result<handover::CommandLines> lines_of_restart(const StartOptions& options) {
  if (options.read_again) {
    const auto fresh = options.read_again();
    if (fresh.ok() && !same_roles(*fresh, options))
      return Error(Errc::kInvalidArgument, "roles was \"" + options.roles + "\" and is \"" + fresh->roles +
                                               "\" now: that takes a stop and a start, a restart cannot change it");
  }
  return command_lines(options);
}

/// Those that a process manager passed, and our own for the rest.
Result<handover::Listeners> bind_listeners(handover::Listeners given, const StartOptions& options) {
  if (given.sql < 0 && takes_clients(options)) {
    ASSIGN_OR_RETURN(given.sql, handover::listen_on(options.sql_addr));
  }
  if (given.http < 0) {
    ASSIGN_OR_RETURN(given.http, handover::listen_on(options.http_addr));
  }
  ASSIGN_OR_RETURN(const ingest::IngestConfig inputs, read_ingest_config(options.config, options));
  return bind_inputs(std::move(given), inputs);
}

/// Fences incarnations in the metadata store, again and again until it answers.
class Fences {
 public:
  explicit Fences(AsioLoop& loop) : loop_(loop) {}
  Result<void> open(const std::string& meta) {
    ASSIGN_OR_RETURN(store_, open_meta(meta, loop_));
    return {};
  }
  void fence(NodeId node, Incarnation incarnation) {
    {
      const std::lock_guard counting(mutex_);
      ++under_way_;
    }
    loop_.post([this, node, incarnation] {
      meta::fence_now(*store_, loop_, {node, incarnation}, "supervisor", "the worker process is gone",
                      [this](const Result<void>&) {
                        const std::lock_guard counting(mutex_);
                        --under_way_;
                        fenced_.notify_all();
                      });
    });
  }
  void settle() {
    std::unique_lock counting(mutex_);
    fenced_.wait_for(counting, kLastFence, [&] { return under_way_ == 0; });  // else the ttl decides
  }
  /// After the loop has stopped: nothing of a fence that still tries may run once the store is gone.
  void close() { store_.reset(); }

 private:
  AsioLoop& loop_;
  std::unique_ptr<meta::Store> store_;
  std::mutex mutex_;
  std::condition_variable fenced_;
  int under_way_{0};  // under mutex_
};
}  // namespace

namespace {
/// Reads the configuration again. What takes effect at once is known from then on; the rest is told each time.
Result<std::string> reload(StartOptions& known) {
  ASSIGN_OR_RETURN(const StartOptions next, known.read_again());
  const std::string found = reload_json(compare_options(known, next));
  if (known.log_level != next.log_level) spdlog::set_level(spdlog::level::from_str(next.log_level));
  known.log_level = next.log_level;
  known.max_connections = next.max_connections;
  known.grace = next.grace;
  return found;
}

/// Tests of processes that hang do not wait for minutes: OUTLAST_RESTART_TIMEOUT is the limit of every state.
handover::RestartTimeouts restart_timeouts() {
  const char* const text = std::getenv("OUTLAST_RESTART_TIMEOUT");
  const Result<Duration> limit = parse_duration(text == nullptr ? "" : text);
  if (!limit.ok()) return {};
  return {.trial = *limit, .standby = *limit, .sessions = *limit, .owned = *limit, .leaving = *limit};
}
}  // namespace

int supervise(const StartOptions& options) {
  handover::Supervisor::block_signals();
  handover::raise_fd_limit();
  std::optional<handover::SupervisorState> passed = handover::take_passed_state();
  const bool collector = is_collector(options);
  if (auto log = open_log(options.log_file, options.log_level, "supervisor"); !log.ok()) return fail(log.error());
  if (auto allowed = check_roles(options); !allowed.ok()) return fail(allowed.error());
  const handover::Listeners given =
      handover::inherited_listeners(takes_clients(options) ? options.sql_addr : "", options.http_addr);
  if (auto allowed = check_addresses(options); !allowed.ok()) return fail(allowed.error());
  if (auto known = placement::parse_locality(options.locality); !known.ok()) return fail(known.error());
  auto lock = passed ? Result<int>(passed->lock_fd) : lock_supervisor(options.store);
  if (!lock.ok()) return fail(lock.error());
  AsioLoop loop;
  Fences fences(loop);
  if (auto opened = collector ? Result<void>() : fences.open(options.meta); !opened.ok()) return fail(opened.error());
  SystemClock clock;
  handover::SupervisorOptions all;
  all.argv = own_arguments();
  all.binary = handover::path_of_program(all.argv.empty() ? "" : all.argv[0]);
  all.version = program_version();
  all.store = options.store;
  all.pid_file = options.pid_file;
  all.lock_fd = *lock;
  all.command_lines = [&options] { return lines_of_restart(options); };
  all.bind = [&](const handover::Listeners& open) { return bind_listeners(open.http >= 0 ? open : given, options); };
  if (options.read_again) all.reload = [known = options]() mutable { return reload(known); };
  all.clock = &clock;
  all.timeouts = restart_timeouts();
  all.fence = [&](NodeId node, Incarnation incarnation) {
    if (!collector) fences.fence(node, incarnation);  // whom nobody else relies on needs no fence
  };
  all.source_only = options.with_source_only;
  all.settle = [&] { fences.settle(); };
  all.passed = std::move(passed);
  const int code = handover::Supervisor(std::move(all)).run();
  fences.settle();
  loop.stop();
  fences.close();
  return code;
}

}  // namespace outlast::server
