#include "server/replica_sizes.h"

#include <algorithm>

namespace outlast::server {

void fill_sizes(placement::ClusterView& view, const Survey& seen) {
  for (placement::RangeView& range : view.ranges) {
    const NodeId holder = range.leaseholder ? range.leaseholder->node : NodeId();
    const proto::ReplicaState* leads = seen.find(holder, range.range);
    range.bytes = leads == nullptr ? 0 : leads->file_bytes();
    for (const auto& ref : range.insync)
      if (const auto* state = seen.find(ref.node, range.range); state != nullptr && leads == nullptr)
        range.bytes = std::max(range.bytes, state->file_bytes());
    for (const auto& ref : range.learners) {
      const auto* state = seen.find(ref.node, range.range);
      if (state == nullptr || state->replica() != ref.replica.value) continue;
      // With a log the snapshot is there, and what it lacks now are commits.
      const bool whole = state->end_lsn() > 0;
      const std::uint64_t here = whole ? range.bytes : state->file_bytes();
      // Part of it may have come from a leaseholder before this one.
      const bool in_line = leads != nullptr && std::ranges::count(leads->copies_in_line(), ref.node.value) > 0;
      range.received.push_back({ref.node, std::min(range.bytes, here), !whole && (here == 0 || in_line)});
    }
  }
}

void ReplicaSizes::keep_fresh(Instant now, Duration age) {
  if (waiting_ || (asked_ && now - *asked_ < age)) return;
  ask([](const Result<std::shared_ptr<const Survey>>&) {});
}

void ReplicaSizes::ask(Callback<std::shared_ptr<const Survey>> done) {
  std::set<NodeId> nodes;
  for (const auto& entry : admin_.ports().state.nodes().snapshot())
    if (admin_.addressee(entry->value.node)) nodes.insert(entry->value.node);
  nodes.insert(admin_.ports().self);
  proto::ReplicasRequest request;
  request.set_brief(true);
  waiting_ = true;
  asked_ = admin_.ports().loop.now();
  admin_.survey(nodes, request, [this, alive = admin_.alive(), done = std::move(done)](Result<Survey> seen) mutable {
    if (alive.expired()) return;
    waiting_ = false;
    if (seen.ok()) last_ = std::make_shared<const Survey>(*std::move(seen));
    done(last_);
  });
}

}  // namespace outlast::server
