#pragma once
#include <memory>
#include <string>
#include <vector>

#include "meta/rebuild.h"
#include "proto/peer.pb.h"
#include "server/range_admin.h"

namespace outlast::server {

/// What live nodes said, as the rebuild needs it.
meta::Findings findings_from(const Survey& seen, const ClusterState& state, const meta::LivenessDriver& liveness);
proto::RebuildMetaReply to_proto(const meta::RebuildPlan& plan);

/// `outlast meta rebuild --store=DIR …`: the stores of stopped nodes and a metadata store, held as long as this object
/// lives, so that nothing starts on them between the plan and the writing. Thread-safety: none; its calls block.
class OfflineRebuild {
 public:
  /// kStoreLocked when a node runs on one of the stores; kNotFound for a directory that is no store.
  static Result<std::unique_ptr<OfflineRebuild>> open(const std::string& meta_url,
                                                      const std::vector<std::string>& stores);
  virtual ~OfflineRebuild() = default;
  virtual Result<meta::RebuildPlan> plan(bool allow_missing) = 0;
  virtual Result<meta::RebuildPlan> carry_out(meta::RebuildPlan plan) = 0;
};

}  // namespace outlast::server
