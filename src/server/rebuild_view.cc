#include "server/rebuild_view.h"

#include <filesystem>

#include "server/asio_loop.h"
#include "server/blocking.h"
#include "server/meta_url.h"
#include "storage/replica_store.h"
#include "storage/store_dir.h"

namespace outlast::server {

meta::Findings findings_from(const Survey& seen, const ClusterState& state, const meta::LivenessDriver& liveness) {
  meta::Findings found;
  for (const auto& [node, answer] : seen.answers) {
    meta::FoundStore store;
    store.uuid = state.store_of(node);
    store.node = node;
    if (const auto view = liveness.current(node)) store.incarnation = view->peer.incarnation;
    found.stores.push_back(std::move(store));
    for (const proto::ReplicaState& each : answer.replicas()) {
      meta::FoundReplica replica{
          RangeId(each.range()), {node, each.store(), ReplicaId(each.replica())}, std::nullopt, each.trouble()};
      if (!each.accepted().empty())
        if (auto config = placement::decode_range_config(each.accepted()); config.ok())
          replica.accepted = *std::move(config);
      found.replicas.push_back(std::move(replica));
    }
  }
  return found;
}

proto::RebuildMetaReply to_proto(const meta::RebuildPlan& plan) {
  proto::RebuildMetaReply reply;
  for (const meta::RebuildLine& line : plan.lines) {
    auto& out = *reply.add_lines();
    out.set_range(line.range.value);
    out.set_database(line.database);
    if (line.record) {
      out.set_record_epoch(line.record->epoch.value);
      out.set_record_cfg(line.record->cfg.value);
    }
    if (line.found) {
      out.set_found_epoch(line.found->epoch.value);
      out.set_found_cfg(line.found->cfg.value);
      out.set_found_node(line.found_on.value);
    }
    out.set_action(std::string(meta::to_string(line.action)));
    out.set_why(line.why);
    out.set_outcome(line.outcome);
  }
  for (const auto& [key, value] : plan.counters) reply.add_others(key + " is raised to " + std::to_string(value));
  if (!plan.cluster.empty()) reply.add_others("the cluster record is written anew: " + plan.cluster);
  return reply;
}

namespace {

/// One stopped store, locked.
struct OpenStore {
  std::unique_ptr<storage::StoreDir> dir;
  std::unique_ptr<storage::ReplicaStore> replicas;
};

Result<OpenStore> open_stopped(storage::Disk& disk, const std::string& path) {
  if (!std::filesystem::exists(path + "/IDENTITY"))
    return Error(Errc::kNotFound, path + " is no store of a node; --store wants the directory of `outlast start`");
  OpenStore out;
  ASSIGN_OR_RETURN(out.dir, storage::open_store(disk, path));
  TRY(out.dir->acquire_lock());
  ASSIGN_OR_RETURN(out.replicas, storage::open_replica_store(disk, path));
  return out;
}

/// Opens each replica for a moment: recovery reads the last configuration from its log.
void read_store(const OpenStore& store, meta::Findings& found) {
  const storage::StoreIdentity identity = store.dir->identity();
  found.stores.push_back({identity.cluster_id, identity.store_uuid, identity.node, store.dir->incarnation()});
  for (const storage::ReplicaIdentity& each : store.replicas->list()) {
    meta::FoundReplica replica{each.range, {identity.node, each.store_uuid, each.replica}, std::nullopt, {}};
    const auto opened = store.replicas->open(each.range);
    if (opened.ok())
      replica.accepted = (*opened)->recorded_config();
    else
      replica.trouble = opened.error().message;
    found.replicas.push_back(std::move(replica));
  }
}

class StoppedStores final : public OfflineRebuild {
 public:
  ~StoppedStores() override {
    loop_.run_and_wait([this] { meta_.reset(); });
  }
  Result<void> open(const std::string& meta_url, const std::vector<std::string>& stores) {
    disk_ = storage::make_posix_disk();
    for (const std::string& path : stores) {
      ASSIGN_OR_RETURN(OpenStore store, open_stopped(*disk_, path));
      stores_.push_back(std::move(store));
    }
    ASSIGN_OR_RETURN(meta_, open_meta(meta_url, loop_));
    for (const OpenStore& store : stores_) read_store(store, found_);
    return {};
  }
  Result<meta::RebuildPlan> plan(bool allow_missing) override {
    ASSIGN_OR_RETURN(const meta::MetaImage image,
                     wait_on<meta::MetaImage>(loop_, [&](auto done) { meta::read_image(*meta_, std::move(done)); }));
    return meta::plan_rebuild(image, found_, allow_missing);
  }
  Result<meta::RebuildPlan> carry_out(meta::RebuildPlan plan) override {
    return wait_on<meta::RebuildPlan>(loop_, [&](auto done) {
      meta::carry_out(*meta_, std::move(plan), found_.stores.at(0).node, loop_.wall_micros(), std::move(done));
    });
  }

 private:
  AsioLoop loop_;
  std::unique_ptr<storage::Disk> disk_;
  std::vector<OpenStore> stores_;
  std::unique_ptr<meta::Store> meta_;
  meta::Findings found_;
};

}  // namespace

Result<std::unique_ptr<OfflineRebuild>> OfflineRebuild::open(const std::string& meta_url,
                                                             const std::vector<std::string>& stores) {
  auto out = std::make_unique<StoppedStores>();
  TRY(out->open(meta_url, stores));
  return std::unique_ptr<OfflineRebuild>(std::move(out));
}

}  // namespace outlast::server
