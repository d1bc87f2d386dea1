#include "server/supervise.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "base/parse.h"
#include "handover/supervisor.h"
#include "meta/fencing.h"
#include "server/asio_loop.h"
#include "server/log.h"
#include "server/meta_url.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLastFence = 3s;  ///< A supervisor that ends waits so long for the metadata store.

Result<void> check_address(const std::string& address, bool insecure) {
  const std::string host = address.substr(0, address.rfind(':'));
  if (insecure || host == "127.0.0.1" || host == "localhost") return {};
  return Error(Errc::kInvalidArgument, "'" + address +
                                           "' can be reached from other machines and there is no TLS yet: "
                                           "bind 127.0.0.1, or say --insecure if the network is trusted");
}

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

std::vector<std::string> worker_command(const StartOptions& o) {
  std::vector<std::string> command = {"/proc/self/exe",
                                      "worker",
                                      "--store=" + o.store,
                                      "--meta=" + o.meta,
                                      "--listen-addr=" + o.listen_addr,
                                      "--sql-addr=" + o.sql_addr,
                                      "--http-addr=" + o.http_addr,
                                      "--log-level=" + o.log_level,
                                      "--max-connections=" + std::to_string(o.max_connections),
                                      "--grace=" + format_duration(o.grace),
                                      "--supervisor-pid=" + std::to_string(getpid())};
  if (!o.log_file.empty()) command.push_back("--log-file=" + o.log_file);
  if (!o.advertise_addr.empty()) command.push_back("--advertise-addr=" + o.advertise_addr);
  if (o.insecure) command.push_back("--insecure");
  if (o.single_node) command.push_back("--single-node");
  command[0] = std::filesystem::read_symlink("/proc/self/exe").string();
  return command;
}

int supervise(const StartOptions& options) {
  handover::Supervisor::block_signals();
  if (auto log = open_log(options.log_file, options.log_level, "supervisor"); !log.ok()) return fail(log.error());
  for (const std::string& address : {options.listen_addr, options.sql_addr, options.http_addr})
    if (auto allowed = check_address(address, options.insecure); !allowed.ok()) return fail(allowed.error());
  auto lock = lock_supervisor(options.store);
  if (!lock.ok()) return fail(lock.error());
  auto sql = handover::listen_on(options.sql_addr);
  if (!sql.ok()) return fail(sql.error());
  auto http = handover::listen_on(options.http_addr);
  if (!http.ok()) return fail(http.error());

  std::mutex mutex;
  std::condition_variable fenced;
  int fences = 0;  // under way, under mutex
  AsioLoop loop;
  auto store = open_meta(options.meta, loop);
  if (!store.ok()) return fail(store.error());
  SystemClock clock;
  handover::SupervisorOptions supervisor_options;
  supervisor_options.worker_command = worker_command(options);
  supervisor_options.sql_fd = *sql;
  supervisor_options.http_fd = *http;
  supervisor_options.clock = &clock;
  supervisor_options.fence = [&](NodeId node, Incarnation incarnation) {
    {
      const std::lock_guard counting(mutex);
      ++fences;
    }
    loop.post([&, node, incarnation] {
      meta::fence_now(**store, loop, {node, incarnation}, "supervisor", "the worker process is gone",
                      [&](const Result<void>&) {
                        const std::lock_guard counting(mutex);
                        --fences;
                        fenced.notify_all();
                      });
    });
  };
  const int code = handover::Supervisor(std::move(supervisor_options)).run();
  {
    std::unique_lock counting(mutex);
    fenced.wait_for(counting, kLastFence, [&] { return fences == 0; });  // else the ttl decides
  }
  loop.stop();  // nothing of a fence that still tries may run once the store is gone
  store->reset();
  return code;
}

}  // namespace outlast::server
