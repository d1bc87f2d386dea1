#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "meta/liveness_driver.h"
#include "proto/peer.pb.h"
#include "replication/replicas.h"
#include "rpc/client.h"
#include "server/cluster_state.h"
#include "server/range_status.h"

namespace outlast::server {

/// What nodes said about their replicas.
struct Survey {
  std::map<NodeId, proto::ReplicasReply> answers;
  std::map<NodeId, std::string> silent;  ///< Asked and not answered, with why.
  const proto::ReplicaState* find(NodeId node, RangeId range) const;
};

/// What operators ask about ranges and do to them by hand: one meaning for the CLI and HTTP. Each replica is shown as
/// its own node sees it, so a view is gathered from several nodes; a node that does not answer is named, never waited
/// for longer than a second. Replicas::Deps and the rest outlive it.
/// Thread-safety: the loop's, where callbacks run too.
class RangeAdmin {
 public:
  struct Ports {
    Loop& loop;
    meta::Store& meta;
    rpc::Client& client;
    ClusterState& state;
    meta::LivenessDriver& liveness;
    meta::Office& office;
    replication::Replicas& replicas;
    NodeId self;
    std::string meta_url;  ///< As told at start.
  };
  explicit RangeAdmin(Ports ports) : p_(std::move(ports)) {}

  // Asked by other nodes.
  proto::ReplicasReply own(const proto::ReplicasRequest& request) const;
  void digest(const proto::DigestRequest& request, Callback<proto::DigestReply> done);

  // Asked by operators.
  void ranges(Callback<proto::RangesReply> done);
  /// kNotFound when there is no such range.
  void range(RangeId range, Callback<proto::RangeReply> done);
  /// Compares all replicas byte for byte at one LSN (server/comparison.h).
  void verify(RangeId range, Duration limit, Callback<proto::VerifyRangeReply> done);
  /// Protocol A3, "unsafe recovery"; judged by placement::judge_recovery.
  void recover(const proto::RecoverRangeRequest& request, Callback<proto::RecoverRangeReply> done);
  void meta_status(Callback<proto::MetaStatusReply> done);
  /// Protocol A1's rebuild from what the live nodes' replicas accepted.
  void rebuild(const proto::RebuildMetaRequest& request, Callback<proto::RebuildMetaReply> done);

  /// Asks the nodes, this one included; `done` within about a second.
  void survey(const std::set<NodeId>& nodes, const proto::ReplicasRequest& request, Callback<Survey> done);
  /// The process of a node that lives now.
  std::optional<rpc::Addressee> addressee(NodeId node) const;
  const Ports& ports() const { return p_; }
  std::weak_ptr<char> alive() const { return alive_; }
  /// For callbacks from elsewhere: does nothing once this object is gone. Any thread may run the result.
  template <class T>
  Callback<T> on_loop(Callback<T> done) {
    return [&loop = p_.loop, alive = std::weak_ptr(alive_), done = std::move(done)](Result<T> result) mutable {
      loop.post([alive, done = std::move(done), result = std::move(result)]() mutable {
        if (!alive.expired()) done(std::move(result));
      });
    };
  }

 private:
  std::set<NodeId> known_nodes() const;
  void judge_and_recover(const proto::RecoverRangeRequest& request, const placement::RangeConfig& now,
                         const Survey& seen, Callback<proto::RecoverRangeReply> done);
  void write_recovery(const placement::RangeConfig& now, const placement::RangeConfig& next,
                      std::vector<meta::Compare> also, proto::RecoverRangeReply reply,
                      Callback<proto::RecoverRangeReply> done);
  const Ports p_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace outlast::server
