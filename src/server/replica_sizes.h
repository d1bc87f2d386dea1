#pragma once
#include <memory>

#include "placement/view.h"
#include "server/range_admin.h"

namespace outlast::server {

/// Sets how large ranges are and how far their learners, as the nodes of the survey said: a range is as large as its
/// leaseholder's replica, else as the largest that is known.
void fill_sizes(placement::ClusterView& view, const Survey& seen);

/// What live nodes last said of their replicas; asked again when somebody needs it and the last answer is old.
/// Thread-safety: the loop's. Lifetime: `admin` outlives it.
class ReplicaSizes {
 public:
  explicit ReplicaSizes(RangeAdmin& admin) : admin_(admin) {}

  /// Asks unless an answer is younger than `age`, or on its way.
  void keep_fresh(Instant now, Duration age);
  /// Asks, and calls back with the answers, within about a second.
  void ask(Callback<std::shared_ptr<const Survey>> done);
  const Survey& last() const { return *last_; }
  /// False until the first answers.
  bool known() const { return asked_.has_value() && !waiting_; }

 private:
  RangeAdmin& admin_;
  std::shared_ptr<const Survey> last_ = std::make_shared<const Survey>();
  std::optional<Instant> asked_;
  bool waiting_{false};
};

}  // namespace outlast::server
