#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace outlast::sql {

/// Counts of the SQL port since the process started. Thread-safety: any thread.
struct SqlMetrics {
  std::atomic<std::int64_t> sessions_open{0};      ///< Connections, those still starting up included.
  std::atomic<std::uint64_t> sessions_total{0};    ///< Accepted connections.
  std::atomic<std::uint64_t> sessions_refused{0};  ///< Told to go at start-up, whatever the reason.
  std::atomic<std::uint64_t> sessions_shed{0};     ///< Ended with 57P01 at a safe point: nothing of theirs was open.
  std::atomic<std::uint64_t> sessions_cut{0};      ///< Ended with 57P01 inside a transaction or statement.
  std::atomic<std::uint64_t> statements{0};        ///< Simple and extended, failed ones included.
  std::atomic<std::uint64_t> cancel_requests{0};
  std::atomic<std::uint64_t> slow_clients_closed{0};  ///< Did not read for longer than the write deadline.
  std::atomic<std::uint64_t> bytes_in{0}, bytes_out{0};

  void count_error(std::string_view sqlstate) {
    const std::lock_guard lock(mutex_);
    ++errors_[std::string(sqlstate)];
  }
  std::map<std::string, std::uint64_t> errors() const {
    const std::lock_guard lock(mutex_);
    return errors_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> errors_;
};

}  // namespace outlast::sql
