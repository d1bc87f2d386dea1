// What the Runner waits for, and how processes end.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "run/runner.h"

namespace outlast::run {
namespace {
using namespace std::chrono_literals;
/// A process can leave the group of one that has ended without a signal to us.
constexpr Duration kLookAgain = 200ms;

int poll_millis(Instant until, Instant now) {
  if (until == Instant::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}
}  // namespace

Instant Runner::next_instant() const {
  Instant first = machine_.deadline();
  for (const auto& child : children_) {
    if (!child->main_alive) first = std::min(first, now() + kLookAgain);
    if (child->ready || !child->main_alive) continue;
    first = std::min(first, child->ready_at);
    if (child->probe != nullptr) first = std::min(first, child->probe->next());
  }
  return first;
}

void Runner::wait() {
  std::vector<pollfd> fds = {{signal_fd_, POLLIN, 0}};
  if (stderr_full_) fds.push_back({STDERR_FILENO, POLLOUT, 0});
  const auto add_output = [&](const Output& output) {
    if (!stderr_full_ && output.fd() >= 0) fds.push_back({output.fd(), POLLIN, 0});
  };
  for (const auto& child : children_) {
    fds.push_back({child->notify.fd(), POLLIN, 0});
    add_output(child->errors);
    if (!child->ready && child->probe != nullptr && child->probe->events() != 0)
      fds.push_back({child->probe->fd(), child->probe->events(), 0});
  }
  add_output(check_errors_);
  (void)poll(fds.data(), fds.size(), poll_millis(next_instant(), now()));
}

void Runner::reap() {
  int status = 0;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) on_end_of(pid, status);
}

void Runner::on_end_of(pid_t pid, int status) {
  const Ending ending{WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)};
  pump();  // what it said before
  if (pid == check_pid_) {
    check_pid_ = 0;
    kill(-pid, SIGKILL);
    const bool ok = !ending.signalled && ending.value == 0;
    machine_.check_ended(ok, to_string(ending), now());
    return perform();
  }
  const auto at = std::ranges::find(children_, pid, &Child::pid);
  if (at == children_.end()) return;  // an orphan of a server
  look_at(**at, now());
  (*at)->main_alive = false;
  (*at)->probe.reset();
  machine_.main_exited((*at)->process, ending, now());
  perform();
}

/// Forgets processes of which nothing is left.
void Runner::sweep() {
  for (std::size_t i = 0; i < children_.size();) {
    if (children_[i]->main_alive || group_exists(children_[i]->pid)) {
      ++i;
      continue;
    }
    const int process = children_[i]->process;
    children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
    machine_.gone(process, now());
    perform();
    i = 0;
  }
}

}  // namespace outlast::run
