#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "cli/record.h"

namespace outlast::cli {

struct SenderCounts {
  std::uint64_t sent{0};   ///< Records 0 … sent - 1: the kernel took them whole; HTTP: they were answered with 200.
  std::uint64_t begun{0};  ///< Records from `sent` to here may have arrived too: HTTP, without an answer.
  std::uint64_t send_errors{0};  ///< Sends, connects and HTTP answers that failed; the same records went again.
  std::uint64_t resets{0};       ///< Connections that ended while the sender needed them.
  std::uint64_t retried{0};      ///< Records of HTTP requests that went again, as nobody knew what became of the first.
  void add(const SenderCounts& more);
};

struct SenderPlan {
  RecordKind kind{RecordKind::kUdp};
  int id{0};
  int node{0};  ///< From 0.
  std::string host;
  std::uint16_t port{0};
};

/// One sender of numbered records, as naive as they are: it never waits for a restart. A stream goes out in pieces that
/// end in the middle of a record, over one connection for as long as that lives. An HTTP client keeps its connection
/// and sends a request again only when its answer never came, or says that the records were not taken.
/// Thread-safety: one thread at a time; counts() from any.
class RecordSender {
 public:
  using Steady = std::chrono::steady_clock;
  static std::unique_ptr<RecordSender> make(SenderPlan plan);
  virtual ~RecordSender();
  RecordSender(const RecordSender&) = delete;
  RecordSender& operator=(const RecordSender&) = delete;

  /// Sends what there is before record `due`, as far as it goes now.
  virtual void send_until(std::uint64_t due) = 0;
  /// The same to its end, or until `deadline`; no half record is left behind.
  virtual void finish(std::uint64_t due, Steady::time_point deadline) = 0;

  const SenderPlan& plan() const { return plan_; }
  SenderCounts counts() const;

 protected:
  explicit RecordSender(SenderPlan plan) : plan_(std::move(plan)) {}
  /// True: there is a connection, an old or a new one.
  bool connect();
  void disconnect();
  int fd() const { return fd_; }
  std::string framed_record(std::uint64_t number) const { return framed(plan_.kind, {plan_.id, number}); }
  /// The counters of this thread's own; others look at a copy.
  template <class Change>
  void count(Change change) {
    const std::lock_guard lock(mutex_);
    change(counts_);
  }
  std::uint64_t sent() const { return counts_.sent; }

 private:
  const SenderPlan plan_;
  int fd_{-1};
  mutable std::mutex mutex_;
  SenderCounts counts_;
};

}  // namespace outlast::cli
