#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "liveness/params.h"
#include "meta/live_record.h"
#include "meta/store.h"
#include "placement/range_config.h"

namespace outlast::meta {

class Office;

/// Incarnations that nobody can meet again, so that their fences and liveness records may go (protocol A1): a later
/// incarnation of the same node is live, which has the store's lock and so proves that the process is gone; no range
/// record names it as leaseholder; it does not hold the office. Pure.
std::vector<liveness::Peer> finished_for_good(const std::set<liveness::Peer>& fenced,
                                              const std::set<liveness::Peer>& live,
                                              const std::vector<placement::RangeConfig>& ranges,
                                              const std::optional<liveness::Peer>& office);

/// Deletes fences and liveness records of such incarnations, for the leader frontend and only while it is that. An
/// incarnation goes with the second call that finds it finished, so that whoever still sees an older state of the
/// metadata has long seen the present one.
/// Thread-safety: the loop's. Lifetime: store and office outlive it; destroying it drops what is under way.
class FenceCleanup {
 public:
  FenceCleanup(Store& store, const Office& office) : store_(store), office_(office) {}
  /// Calls back on the loop with how many went; at most kAtOnce.
  void run(Callback<std::size_t> done);
  static constexpr std::size_t kAtOnce = 40;  // two deletions each, within one transaction

 private:
  void remove(const std::vector<liveness::Peer>& finished, Callback<std::size_t> done);
  Store& store_;
  const Office& office_;
  std::set<liveness::Peer> found_;  ///< By the call before.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace outlast::meta
