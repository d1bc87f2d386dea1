#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

namespace outlast::cli {
namespace {
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile std::sig_atomic_t g_interrupted = 0;
int g_pipe[2] = {-1, -1};  ///< Written by the handler, so that wait() cannot miss a signal.

void on_signal(int) {
  g_interrupted = 1;
  const int saved = errno;
  [[maybe_unused]] const auto n = ::write(g_pipe[1], "x", 1);
  errno = saved;
}
}  // namespace

struct InterruptScope::Old {
  struct sigaction actions[std::size(kSignals)];
};

InterruptScope::InterruptScope() : old_(new Old) {
  g_interrupted = 0;
  OUTLAST_ASSERT(::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0, "a pipe for signals");
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &action, &old_->actions[i]);
}

InterruptScope::~InterruptScope() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &old_->actions[i], nullptr);
  for (int& fd : g_pipe) ::close(std::exchange(fd, -1));
  delete old_;
}

bool InterruptScope::interrupted() const {
  return g_interrupted != 0;
}

bool InterruptScope::wait(Duration timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!interrupted()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd p{g_pipe[0], POLLIN, 0};
    (void)::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
  }
  return true;
}

}  // namespace outlast::cli
