#include "replication/writer_lock.h"

#include <algorithm>

namespace outlast::replication {
namespace {
struct Waiter {
  std::uint64_t ticket;
  Instant deadline;
  bool first;
  Callback<WriterLock::Hold> done;
};
}  // namespace

struct FifoWriterLock::State : std::enable_shared_from_this<State> {
  mutable std::mutex mutex;
  std::function<void(Instant)> wake_at;
  std::deque<Waiter> queue;
  std::vector<std::thread::id> granting;  // threads inside a grant's callback: their releases must not recurse
  std::optional<Error> closed;
  std::optional<Instant> wake;  // earliest wake-up asked for
  std::uint64_t last_ticket{0};
  bool held{false};

  Hold make_hold() {
    // The guard's deleter gives the lock back, on whichever thread drops the last copy.
    return Hold(
        std::shared_ptr<void>(static_cast<void*>(this), [self = shared_from_this()](void*) { self->release(); }));
  }
  void release() {
    std::unique_lock lock(mutex);
    held = false;
    if (std::find(granting.begin(), granting.end(), std::this_thread::get_id()) != granting.end()) return;
    grant(lock);
  }
  /// Hands the lock to the next waiter, and to the one after it if that one let go at once.
  void grant(std::unique_lock<std::mutex>& lock) {
    while (!held && !queue.empty()) {
      Waiter next = std::move(queue.front());
      queue.pop_front();
      held = true;
      granting.push_back(std::this_thread::get_id());
      lock.unlock();
      next.done(make_hold());
      lock.lock();
      granting.erase(std::find(granting.begin(), granting.end(), std::this_thread::get_id()));
    }
  }
  std::optional<Instant> earliest() const {
    std::optional<Instant> out;
    for (const Waiter& waiter : queue)
      if (!out || waiter.deadline < *out) out = waiter.deadline;
    return out;
  }
};

FifoWriterLock::FifoWriterLock(std::function<void(Instant)> wake_at) : state_(std::make_shared<State>()) {
  state_->wake_at = std::move(wake_at);
}

FifoWriterLock::~FifoWriterLock() {
  close({Errc::kNotLeaseholder, "the range is no longer served here"});
}

std::uint64_t FifoWriterLock::acquire(Instant deadline, bool first, Callback<Hold> done) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (state.closed) {
    Error why = *state.closed;
    lock.unlock();
    done(std::move(why));
    return 0;
  }
  const std::uint64_t ticket = ++state.last_ticket;
  auto place = state.queue.end();
  if (first) place = std::find_if(state.queue.begin(), state.queue.end(), [](const Waiter& w) { return !w.first; });
  state.queue.insert(place, Waiter{ticket, deadline, first, std::move(done)});
  const bool reentered =
      std::find(state.granting.begin(), state.granting.end(), std::this_thread::get_id()) != state.granting.end();
  if (!state.held && !reentered) {
    state.grant(lock);
    return ticket;
  }
  const bool earlier = !state.wake || deadline < *state.wake;
  if (earlier) state.wake = deadline;
  lock.unlock();
  if (earlier) state.wake_at(deadline);
  return ticket;
}

void FifoWriterLock::withdraw(std::uint64_t ticket) {
  std::unique_lock lock(state_->mutex);
  const auto it = std::find_if(state_->queue.begin(), state_->queue.end(),
                               [&](const Waiter& waiter) { return waiter.ticket == ticket; });
  if (it == state_->queue.end()) return;
  Waiter gone = std::move(*it);
  state_->queue.erase(it);
  lock.unlock();
  gone.done(Error(Errc::kCancelled, "the wait for the writer lock was cancelled"));
}

std::size_t FifoWriterLock::waiters() const {
  const std::lock_guard lock(state_->mutex);
  return state_->queue.size();
}

void FifoWriterLock::expire(Instant now) {
  std::vector<Waiter> late;
  std::unique_lock lock(state_->mutex);
  for (auto it = state_->queue.begin(); it != state_->queue.end();) {
    if (it->deadline > now) {
      ++it;
      continue;
    }
    late.push_back(std::move(*it));
    it = state_->queue.erase(it);
  }
  state_->wake = state_->earliest();
  const auto next = state_->wake;
  lock.unlock();
  for (Waiter& waiter : late)
    waiter.done(Error(Errc::kLockTimeout, "another transaction kept the database's writer lock; try again"));
  if (next) state_->wake_at(*next);
}

void FifoWriterLock::close(const Error& why) {
  std::unique_lock lock(state_->mutex);
  if (!state_->closed) state_->closed = why;
  std::deque<Waiter> all = std::exchange(state_->queue, {});
  lock.unlock();
  for (Waiter& waiter : all) waiter.done(why);
}

}  // namespace outlast::replication
