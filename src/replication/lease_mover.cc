#include "replication/lease_mover.h"

#include <algorithm>

namespace outlast::replication {

LeaseMover::LeaseMover(std::vector<Lease> leases, LeaseTransferOptions options, Ports ports,
                       Callback<LeaseTransferProgress> done)
    : options_(std::move(options)), ports_(std::move(ports)), done_(std::move(done)) {
  std::ranges::stable_sort(leases, [](const Lease& a, const Lease& b) { return a.heat > b.heat; });
  for (const Lease& lease : leases) waiting_.push_back({lease.range, {}, {}});
  progress_.remaining = waiting_.size();
}

void LeaseMover::stop() {
  if (done_) std::exchange(done_, nullptr)(progress_);
}

void LeaseMover::step() {
  if (!done_) return;
  while (moving_ < options_.at_once && !waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    take(std::move(next));
  }
  if (moving_ > 0 || !waiting_.empty()) return;
  std::exchange(done_, nullptr)(progress_);
}

void LeaseMover::take(Waiting lease) {
  const auto targets = ports_.targets(lease.range);
  if (!targets) {  // it left by itself
    --progress_.remaining;
    return;
  }
  const std::optional<NodeId> target = choose(*targets, lease.tried);
  if (!target) {
    --progress_.remaining;
    if (!lease.last)
      lease.last = LeaseNotMoved{lease.range, NodeId(),
                                 Error(Errc::kUnavailable, "no other in-sync replica could take the lease now")};
    progress_.failed.push_back(std::move(*lease.last));
    return;
  }
  ++moving_;
  ++options_.leases[*target];
  const RangeId range = lease.range;
  ports_.transfer(range, *target,
                  [self = shared_from_this(), lease = std::move(lease), target = *target](Result<void> result) mutable {
                    self->ended(std::move(lease), target, result);
                  });
}

std::optional<NodeId> LeaseMover::choose(const std::vector<NodeId>& targets, const std::set<NodeId>& tried) const {
  const auto load = [this](NodeId node) {
    const auto it = options_.leases.find(node);
    return it == options_.leases.end() ? std::size_t{0} : it->second;
  };
  std::optional<NodeId> best;
  for (const NodeId node : targets) {
    if (options_.avoid.contains(node) || tried.contains(node) || (options_.to && *options_.to != node)) continue;
    if (!best || load(node) < load(*best)) best = node;
  }
  return best;
}

void LeaseMover::ended(Waiting lease, NodeId target, const Result<void>& result) {
  --moving_;
  if (result.ok()) {
    ++progress_.moved;
    --progress_.remaining;
  } else {
    --options_.leases[target];
    if (result.error().code != Errc::kMoving) {
      lease.tried.insert(target);
      lease.last = LeaseNotMoved{lease.range, target, result.error()};
    }
    waiting_.push_front(std::move(lease));
  }
  ports_.post([self = shared_from_this()] { self->step(); });
}

}  // namespace outlast::replication
