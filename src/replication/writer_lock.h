#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "replication/leased_range.h"

namespace outlast::replication {

/// The FIFO of writers of one range. Granting runs callbacks without any lock held; a callback that releases at once
/// does not recurse. Holds may outlive the lock and the leadership.
/// Thread-safety: any thread.
class FifoWriterLock final : public WriterLock {
 public:
  /// `wake_at` is asked (under no lock, from any thread) to have expire() called at or after that instant.
  explicit FifoWriterLock(std::function<void(Instant)> wake_at);
  ~FifoWriterLock() override;

  std::uint64_t acquire(Instant deadline, bool first, Callback<Hold> done) override;
  void withdraw(std::uint64_t ticket) override;
  std::size_t waiters() const override;

  /// Fails every waiter whose deadline is not after `now` with kLockTimeout.
  void expire(Instant now);
  /// Fails all waiters with `why`, and everybody who asks later.
  void close(const Error& why);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace outlast::replication
