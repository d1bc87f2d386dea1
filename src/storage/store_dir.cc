#include "storage/store_dir.h"

#include <unistd.h>

#include <algorithm>

#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kStoreKind{"store", StoreDir::kFormat};
const SealedKind kRetiredKind{"retired", 1};
const SealedKind kIncarnationKind{"incarnation", 1};

Result<StoreIdentity> read_identity(Disk& disk, const std::string& path) {
  auto fields = read_sealed(disk, path + "/IDENTITY", kStoreKind);
  if (!fields.ok()) {
    if (fields.error().code == Errc::kNotFound) return StoreIdentity{};
    return std::move(fields).error();
  }
  ASSIGN_OR_RETURN(const std::uint64_t node, number_field(*fields, "node"));
  return StoreIdentity{text_field(*fields, "cluster"), text_field(*fields, "uuid"),
                       NodeId(static_cast<std::uint32_t>(node))};
}

Result<Incarnation> read_incarnation(Disk& disk, const std::string& path) {
  auto fields = read_sealed(disk, path + "/INCARNATION", kIncarnationKind);
  if (!fields.ok()) {
    if (fields.error().code == Errc::kNotFound) return Incarnation{};
    return std::move(fields).error();
  }
  ASSIGN_OR_RETURN(const std::uint64_t value, number_field(*fields, "incarnation"));
  return Incarnation(value);
}

Result<void> check_not_retired(Disk& disk, const std::string& path, const StoreIdentity& identity) {
  const auto mark = read_sealed(disk, path + "/RETIRED", kRetiredKind);
  if (!mark.ok() && mark.error().code == Errc::kNotFound) return {};
  // A mark that cannot be read is one all the same.
  return Error(Errc::kInvalidState, "the store " + path + " is that of node " + identity.node.to_string() +
                                        " of cluster " + identity.cluster_id +
                                        ", which was decommissioned for good: it is never opened again; give a new "
                                        "node an empty --store");
}

}  // namespace

StoreDir::StoreDir(Disk& disk, std::string path, StoreIdentity identity, Incarnation incarnation)
    : disk_(disk), path_(std::move(path)), identity_(std::move(identity)), incarnation_(incarnation) {}

bool StoreDir::is_new() const {
  const std::lock_guard lock(mutex_);
  return identity_.store_uuid.empty();
}

StoreIdentity StoreDir::identity() const {
  const std::lock_guard lock(mutex_);
  return identity_;
}

Result<void> StoreDir::set_identity(const StoreIdentity& identity) {
  if (identity.store_uuid.empty() || identity.cluster_id.empty() || !identity.node)
    return Error(Errc::kInvalidArgument, "a store's identity needs a cluster id, a uuid and a node id");
  const std::lock_guard lock(mutex_);
  if (identity_ == identity) return {};
  if (!identity_.store_uuid.empty())
    return Error(Errc::kAlreadyInitialised, "the store " + path_ + " is already node " + identity_.node.to_string() +
                                                " of cluster " + identity_.cluster_id +
                                                "; give a new node an empty --store");
  TRY(write_sealed(
      disk_, path_, "IDENTITY", kStoreKind,
      {{"cluster", identity.cluster_id}, {"uuid", identity.store_uuid}, {"node", identity.node.to_string()}}));
  identity_ = identity;
  return {};
}

Result<void> StoreDir::check_cluster(const std::string& cluster_id) const {
  const std::lock_guard lock(mutex_);
  if (identity_.cluster_id.empty() || identity_.cluster_id == cluster_id) return {};
  return Error(Errc::kWrongCluster, "the store " + path_ + " belongs to cluster " + identity_.cluster_id + ", not to " +
                                        cluster_id + "; give this node another --store or --meta");
}

Incarnation StoreDir::incarnation() const {
  const std::lock_guard lock(mutex_);
  return incarnation_;
}

Result<void> StoreDir::record_incarnation(Incarnation incarnation) {
  const std::lock_guard lock(mutex_);
  if (incarnation <= incarnation_)
    return Error(Errc::kInvalidState, "the store " + path_ + " has already seen incarnation " +
                                          incarnation_.to_string() + "; the metadata store gave out " +
                                          incarnation.to_string() +
                                          ", so it lost or regressed its state; run `outlast meta rebuild "
                                          "--meta=URL --store=" +
                                          path_ + "` (all stopped stores at once)");
  TRY(write_sealed(disk_, path_, "INCARNATION", kIncarnationKind, {{"incarnation", incarnation.to_string()}}));
  incarnation_ = incarnation;
  return {};
}

Result<void> StoreDir::retire() {
  const std::lock_guard lock(mutex_);
  return write_sealed(disk_, path_, "RETIRED", kRetiredKind, {{"why", "decommissioned"}});
}

Result<void> StoreDir::acquire_lock() {
  const std::lock_guard lock(mutex_);
  if (lock_ != nullptr) return {};
  ASSIGN_OR_RETURN(lock_, disk_.lock(path_ + "/LOCK", "pid " + std::to_string(::getpid()) + "\n"));
  return {};
}

void StoreDir::release_lock() {
  const std::lock_guard lock(mutex_);
  lock_.reset();
}

bool StoreDir::locked() const {
  const std::lock_guard lock(mutex_);
  return lock_ != nullptr;
}

Result<std::unique_ptr<StoreDir>> open_store(Disk& disk, const std::string& path) {
  auto made = disk.make_dir(path);
  if (!made.ok() && made.error().code != Errc::kAlreadyExists) return std::move(made).error();
  if (made.ok()) {
    const std::size_t slash = path.rfind('/');
    TRY(disk.sync_dir(slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1))));
  }
  ASSIGN_OR_RETURN(StoreIdentity identity, read_identity(disk, path));
  TRY(check_not_retired(disk, path, identity));
  ASSIGN_OR_RETURN(const Incarnation incarnation, read_incarnation(disk, path));
  return std::make_unique<StoreDir>(disk, path, std::move(identity), incarnation);
}

}  // namespace outlast::storage
