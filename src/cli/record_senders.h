#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "cli/record_sender.h"

namespace outlast::cli {

/// How many records a sender must have sent after so long. Pure.
std::uint64_t records_due(Duration elapsed, double rate);

/// Senders of numbered records, each on a thread of its own, each at the same pace; who falls behind catches up.
class RecordSenders {
 public:
  /// `rate`: records a second of each.
  RecordSenders(std::vector<SenderPlan> plans, double rate);
  ~RecordSenders();  ///< Ends them where they are; a connection that nobody answers any more must be dead by then.
  void start();
  /// Everything that is due goes out whole; waits for it, 10 s at most.
  void stop();

  struct Sender {
    SenderPlan plan;
    SenderCounts counts;
  };
  std::vector<Sender> counts() const;

 private:
  using Steady = std::chrono::steady_clock;
  void run(RecordSender& sender, std::size_t index);
  /// False: the senders are to end.
  bool sleep_until(Steady::time_point until);
  void end(bool whole);

  const double rate_;
  std::vector<std::unique_ptr<RecordSender>> senders_;
  std::vector<std::thread> threads_;
  Steady::time_point began_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_{false}, whole_{false};
};

}  // namespace outlast::cli
