#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// What became of one task of the cluster that moves replicas. Times count since the load began.
struct TaskStory {
  struct Prediction {
    Duration at{0}, eta{0};
  };
  struct Stall {
    Duration at{0};
    std::string reason, why;
    int ranges{0};
  };
  Duration asked{0};
  std::uint64_t bytes{0};  ///< To be copied, as the task itself counted when it began.
  std::vector<Prediction>
      predictions;                 ///< The task's own, since a tenth of the bytes was copied; ten a second at most.
  std::optional<Duration> copied;  ///< No replica was left on the nodes that leave.
  std::optional<Duration> ended;
  std::vector<Stall> stalls;        ///< As the task named them, one for each time that the reason changed.
  Duration longest_silence{0};      ///< Longest time in which nothing moved, and nothing was named that it waits for.
  std::set<std::uint32_t> runners;  ///< Leader frontends that ran it.
  proto::TaskStatus last;

  std::optional<Duration> moving() const;
  /// The first one after a tenth of the bytes, and of the time that all of them took. Empty while it is not over.
  std::optional<Prediction> predicted() const;
  /// |predicted - real| / real; empty: nothing was predicted, or it is not over.
  std::optional<double> eta_error() const;
};

/// Follows a task by its statuses. Pure. Thread-safety: none.
class TaskWatch {
 public:
  explicit TaskWatch(Duration asked);
  /// `now` must not go back.
  void look(Duration now, const proto::TaskStatus& status);
  const TaskStory& story() const { return story_; }
  /// Of the bytes, 0 to 1; 0 while nothing is known.
  double share_copied() const;

 private:
  void look_at_progress(Duration now, const proto::TaskStatus& status);
  void look_at_silence(Duration now, const proto::TaskStatus& status);

  TaskStory story_;
  std::optional<std::uint64_t> left_;  ///< Empty until some was.
  std::string standing_;               ///< All that changes while something moves.
  Duration moved_{0};
  std::string stall_;
};

}  // namespace outlast::cli
