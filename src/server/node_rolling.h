#pragma once
#include "meta/liveness_driver.h"
#include "meta/office.h"
#include "rpc/client.h"
#include "server/cluster_state.h"
#include "server/rolling_api.h"
#include "server/rolling_runner.h"

namespace outlast::server {

/// A node's part in rolling restarts: it runs them while it is the leader frontend, and begins them for operators at
/// any time.
/// Thread-safety: the loop's. Lifetime: what Parts refers to outlives it.
class NodeRolling {
 public:
  struct Parts {
    Loop& loop;
    meta::Store& meta;
    ClusterState& state;
    meta::LivenessDriver& liveness;
    meta::Office& office;
    rpc::Client& client;
    liveness::Peer self;
    // Of this process, as Peer has them of others.
    std::function<void(const proto::DrainRequest&, Callback<proto::DrainStatus>)> drain;
    std::function<void(const proto::RestartRequest&, Callback<proto::RestartReply>)> restart;
    std::function<proto::StatementsReply()> statements;
  };
  explicit NodeRolling(Parts parts);

  void begin(const proto::RollingRestartRequest& request, Callback<proto::RollingRestartReply> done);
  proto::SafeToStopReply safe_to_stop(const proto::SafeToStopRequest& request) const;
  RollingRunner& runner() { return runner_; }

 private:
  RollingRunner::Ports ports();
  template <class Reply>
  Callback<Reply> on_loop(Callback<Reply> done);
  std::optional<rpc::Addressee> find(liveness::Peer peer) const;
  void drain(liveness::Peer peer, const proto::DrainRequest& request, Callback<proto::DrainStatus> done);
  void restart(liveness::Peer peer, const proto::RestartRequest& request, Callback<RestartStatus> done);
  void statements(liveness::Peer peer, Callback<proto::StatementsReply> done);
  void store(const meta::TaskMirror::EntryPtr& read, meta::TaskRecord next, Callback<void> done);

  const Parts p_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  RollingRunner runner_;
};

}  // namespace outlast::server
