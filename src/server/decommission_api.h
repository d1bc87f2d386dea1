#pragma once
#include <memory>

#include "placement/preflight.h"
#include "proto/peer.pb.h"
#include "server/cluster_state.h"
#include "server/replica_sizes.h"

namespace outlast::server {

/// What operators ask about nodes that leave for good, at any node: the pre-flight over what all live nodes say now,
/// the task that the leader frontend then runs, and the way back. Every wish is stored before it is answered. What
/// looks at all ranges runs on a worker: the loop has leases to renew meanwhile.
/// Thread-safety: the loop's. Lifetime: what Parts refers to outlives it.
class DecommissionApi {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;
    meta::Store& meta;
    ClusterState& state;
    ReplicaSizes& sizes;
    NodeId self;
  };
  DecommissionApi(Parts parts, std::uint64_t seed) : p_(parts), random_(seed) {}

  /// Refusals come in the reply, with the pre-flight beside them.
  void handle(const proto::DecommissionRequest& request, Callback<proto::DecommissionReply> done);
  /// Every node with its readiness to be decommissioned, each judged alone.
  void node_status(Callback<proto::NodeStatusReply> done);

 private:
  struct Wish;  ///< Of an operator, on its way into the metadata store.
  using WishPtr = std::shared_ptr<Wish>;
  using ViewPtr = std::shared_ptr<const placement::ClusterView>;
  /// `work` on a worker, then `done` on the loop with what came of it.
  template <class T>
  void on_worker(std::move_only_function<T()> work, std::move_only_function<void(T)> done);
  void judge(const WishPtr& wish, const Survey& seen);
  void begin(const WishPtr& wish, const ViewPtr& view, const Result<placement::Preflight>& found);
  void recommission(const WishPtr& wish);
  void store(const WishPtr& wish);
  void change(const WishPtr& wish);
  void again(const WishPtr& wish);
  void create(const WishPtr& wish);
  void answer(const WishPtr& wish) const;
  void refuse(const WishPtr& wish, const Error& why) const;

  const Parts p_;
  SeededRandom random_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

placement::TargetRules target_rules(const meta::Settings& settings);
proto::Preflight to_proto(const placement::Preflight& found);
/// The view of placement, with the sizes that nodes said.
placement::ClusterView sized_view(const ClusterState& state, const Survey& seen);

}  // namespace outlast::server
