#pragma once
#include <memory>

#include "meta/fence_cleanup.h"
#include "meta/office.h"

namespace outlast::meta {

/// What the leader frontend does for the metadata store: keeps the newest 10,000 revisions (protocol A2.5) and the
/// newest 2,000 events, the newest 100 tasks that are over, and deletes fences that nobody needs any more. Does nothing
/// while this node does not hold the office; all of it is harmless when two do it. Thread-safety: the loop's. Lifetime:
/// store, loop and office outlive it.
class Housekeeping {
 public:
  static constexpr std::uint64_t kRevisionsKept = 10'000;
  static constexpr std::size_t kEventsKept = 2'000;
  static constexpr Duration kPause = std::chrono::minutes(1);

  Housekeeping(Store& store, Loop& loop, const Office& office)
      : store_(store), loop_(loop), office_(office), fences_(store, office) {
    schedule();
  }
  ~Housekeeping() { loop_.cancel(timer_); }
  Housekeeping(const Housekeeping&) = delete;
  Housekeeping& operator=(const Housekeeping&) = delete;

 private:
  void schedule() {
    timer_ = loop_.after(kPause, [this] { run(); });
  }
  void run();
  Store& store_;
  Loop& loop_;
  const Office& office_;
  FenceCleanup fences_;
  Loop::TimerId timer_{0};
};

}  // namespace outlast::meta
