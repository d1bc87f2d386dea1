// What the node does about the disk under its store: too little room, and syncs that fail (protocol A4.8).
#include "server/blocking.h"
#include "server/node.h"
#include "server/ports.h"

namespace outlast::server {
namespace {
constexpr std::uint64_t kOfNoRange = 0;
/// The files of removed replicas are deleted so much later, one after the other: whatever was being moved goes first.
constexpr Duration kLater = std::chrono::seconds(1);
}  // namespace

Result<void> Node::open_replica_store() {
  storage::StoreOptions options = storage_options(state_->settings(), clock_);
  options.later = [this](Task task) {
    loop_.post([this, task = std::move(task)]() mutable {
      loop_.after(kLater, [this, task = std::move(task)]() mutable { copiers_.submit(kOfNoRange, std::move(task)); });
    });
  };
  ASSIGN_OR_RETURN(replica_store_, storage::open_replica_store(*disk_, store_->path(), options));
  if (distrust_store_) {
    for (const storage::ReplicaIdentity& replica : replica_store_->list()) TRY(replica_store_->distrust(replica.range));
    const auto mine = state_->nodes().find(meta::keys::node(member_.node));
    const meta::StoreReport marked{mine ? mine->value.store.failure : "an earlier failure", false};
    TRY(wait_on<void>(loop_,
                      [&](Callback<void> done) { meta::report_store(*meta_, member_.node, marked, std::move(done)); }));
  }
  loop_.run_and_wait([this] {
    store_health_ = std::make_unique<meta::StoreHealth>(*meta_, loop_, state_->nodes(), self(),
                                                        [this] { end(Ending::kStoreFailed); });
  });
  return {};
}

/// Writes stop short of a full disk, and go on when there is room again. After a failure of the disk every look tries
/// it as well.
void Node::look_at_disk() {
  if (!store_health_) return;
  workers_.submit(kOfNoRange, [this, try_it = store_health_->on_probation()] {
    const auto space = disk_->space(store_->path());
    const auto tried = try_it ? storage::try_disk(*disk_, store_->path()) : Result<void>();
    loop_.post([this, space, try_it, tried] {
      if (try_it && store_health_) store_health_->tried(tried);
      if (!space.ok() || !replicas_) return;
      disk_space_ = *space;
      disk_low_ = storage::is_low(*space, disk_low_);
      replicas_->set_disk_low(disk_low_);
    });
  });
}

}  // namespace outlast::server
