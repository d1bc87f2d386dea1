#include "storage/replica_store.h"

#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "storage/failed_mark.h"
#include "storage/incoming.h"
#include "storage/replica_impl.h"
#include "storage/template_db.h"
#include "storage/vfs_shim.h"

namespace outlast::storage {
namespace {

constexpr const char* kRemoved = ".removed";

/// The range that a directory is named after; 0 for another name.
RangeId range_in(const std::string& name) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  return error == std::errc() && end == name.data() + name.size() ? RangeId(id) : RangeId();
}

/// Which replicas are there and which are open. Shared with what is open.
struct Shelf {
  std::mutex mutex;
  std::map<RangeId, ReplicaIdentity> known;
  std::set<RangeId> open;
};

class DiskReplicaStore final : public ReplicaStore {
 public:
  DiskReplicaStore(Disk& disk, std::string root, const StoreOptions& options)
      : disk_(disk),
        root_(std::move(root)),
        options_(options),
        files_(std::make_shared<OpenFiles>(disk, options.open_segments_max)),
        retention_(std::make_shared<LogRetention>(options.log_retain, options.now)),
        incoming_(disk, root_) {}

  Result<void> load();
  std::vector<ReplicaIdentity> list() const override;
  Result<std::unique_ptr<Replica>> create(const ReplicaIdentity& identity) override;
  Result<std::unique_ptr<Replica>> open(RangeId range) override;
  Result<std::uint64_t> receive_snapshot(const ReplicaIdentity& identity, const SnapshotPoint& point,
                                         std::uint64_t file_size, std::uint64_t offset,
                                         std::string_view data) override {
    return incoming_.receive(identity, point, file_size, offset, data);
  }
  Result<std::unique_ptr<Replica>> finish_snapshot(const ReplicaIdentity& identity,
                                                   const SnapshotPoint& point) override;
  Result<void> remove(RangeId range) override;
  Result<void> distrust(RangeId range) override;
  Result<std::unique_ptr<Replica>> salvage(RangeId range) override;

 private:
  std::string path_of(RangeId range) const { return root_ + "/" + range.to_string(); }
  Result<void> recover(const std::set<std::string>& names);
  Result<std::shared_ptr<void>> use(RangeId range);
  Result<ReplicaIdentity> identity_of(RangeId range) const;
  Result<std::unique_ptr<Replica>> open_in(const std::string& dir, const ReplicaIdentity& identity,
                                           std::shared_ptr<void> in_use);
  std::string accepted_config(RangeId range);

  Disk& disk_;
  const std::string root_;
  const StoreOptions options_;
  const std::shared_ptr<OpenFiles> files_;
  const std::shared_ptr<LogRetention> retention_;
  const std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>();
  Incoming incoming_;
};

Result<void> DiskReplicaStore::load() {
  auto made = disk_.make_dir(root_);
  if (!made.ok() && made.error().code != Errc::kAlreadyExists) return made;
  TRY(disk_.sync_dir(root_.substr(0, root_.rfind('/'))));
  ASSIGN_OR_RETURN(auto names, disk_.list(root_));
  TRY(recover({names.begin(), names.end()}));
  ASSIGN_OR_RETURN(names, disk_.list(root_));
  for (const std::string& name : names) {
    const RangeId range = range_in(name);
    if (!range) continue;
    auto identity = read_replica_identity(disk_, root_ + "/" + name);
    // A damaged one is listed without its replica id: open() says what is wrong with it.
    shelf_->known[range] = identity.ok() && identity->range == range ? *identity : ReplicaIdentity{range, {}, {}};
  }
  return {};
}

/// Finishes or undoes what a crash interrupted: creation, removal, the exchange of a replica for a snapshot.
Result<void> DiskReplicaStore::recover(const std::set<std::string>& names) {
  bool changed = false;
  for (const std::string& name : names) {
    const std::size_t dot = name.find('.');
    const std::string base = name.substr(0, dot), suffix = dot == std::string::npos ? "" : name.substr(dot);
    const std::string path = root_ + "/" + name;
    if (suffix == ".creating" || suffix.starts_with(kRemoved) || (suffix == ".old" && names.contains(base))) {
      TRY(remove_tree(disk_, path));
      changed = true;
    } else if (suffix == ".old") {
      const std::string incoming = root_ + "/" + base + ".incoming";
      const bool complete = exists(disk_, incoming + "/mark");
      TRY(disk_.rename(complete ? incoming : path, root_ + "/" + base));
      TRY(disk_.sync_dir(root_));
      if (complete) TRY(remove_tree(disk_, path));
      changed = true;
    }
  }
  if (changed) return disk_.sync_dir(root_);
  return {};
}

std::vector<ReplicaIdentity> DiskReplicaStore::list() const {
  const std::lock_guard lock(shelf_->mutex);
  std::vector<ReplicaIdentity> all;
  all.reserve(shelf_->known.size());
  for (const auto& [range, identity] : shelf_->known) all.push_back(identity);
  return all;
}

Result<std::shared_ptr<void>> DiskReplicaStore::use(RangeId range) {
  const std::lock_guard lock(shelf_->mutex);
  if (!shelf_->open.insert(range).second)
    return Error(Errc::kInvalidState, "the replica of range " + range.to_string() + " is open already");
  return std::shared_ptr<void>(nullptr, [shelf = shelf_, range](void*) {
    const std::lock_guard relock(shelf->mutex);
    shelf->open.erase(range);
  });
}

Result<std::unique_ptr<Replica>> DiskReplicaStore::open_in(const std::string& dir, const ReplicaIdentity& identity,
                                                           std::shared_ptr<void> in_use) {
  auto files = std::make_shared<ReplicaFiles>(disk_, files_, retention_, options_, dir, identity);
  if (auto loaded = files->load(); !loaded.ok()) {
    if (loaded.error().code == Errc::kIo) files->file_failed(loaded.error());
    return std::move(loaded).error();
  }
  TRY(files->offer_log());
  TRY(files->remove_scratch(true));
  auto replica = std::make_unique<ReplicaImpl>(std::move(files), std::move(in_use));
  TRY(replica->load_config());
  return std::unique_ptr<Replica>(std::move(replica));
}

Result<std::unique_ptr<Replica>> DiskReplicaStore::create(const ReplicaIdentity& identity) {
  const std::string path = path_of(identity.range), temporary = path + ".creating";
  ASSIGN_OR_RETURN(auto in_use, use(identity.range));
  {
    const std::lock_guard lock(shelf_->mutex);
    if (shelf_->known.contains(identity.range))
      return Error(Errc::kAlreadyExists, "range " + identity.range.to_string() + " has a replica in this store");
  }
  TRY(remove_tree(disk_, temporary));
  TRY(disk_.make_dir(temporary));
  {
    ASSIGN_OR_RETURN(const auto file, disk_.open(temporary + "/db", OpenMode::kCreateNew));
    TRY(file->pwrite(0, template_database()));
    TRY(file->sync());
  }
  TRY(ReplicaFiles::lay_out(disk_, temporary, identity, {}, ""));
  TRY(disk_.rename(temporary, path));
  {  // also when the sync fails: what has its name is there, and must be removed before the next one
    const std::lock_guard lock(shelf_->mutex);
    shelf_->known[identity.range] = identity;
  }
  TRY(disk_.sync_dir(root_));
  return open_in(path, identity, std::move(in_use));
}

Result<ReplicaIdentity> DiskReplicaStore::identity_of(RangeId range) const {
  {
    const std::lock_guard lock(shelf_->mutex);
    if (!shelf_->known.contains(range))
      return Error(Errc::kNotFound, "range " + range.to_string() + " has no replica in this store");
  }
  ASSIGN_OR_RETURN(ReplicaIdentity identity, read_replica_identity(disk_, path_of(range)));
  if (identity.range != range)
    return Error(Errc::kCorrupt, path_of(range) + " belongs to range " + identity.range.to_string() +
                                     "; remove the directory and let the range rebuild its replica");
  return identity;
}

Result<std::unique_ptr<Replica>> DiskReplicaStore::open(RangeId range) {
  ASSIGN_OR_RETURN(auto in_use, use(range));
  ASSIGN_OR_RETURN(const ReplicaIdentity identity, identity_of(range));
  TRY(check_no_failed_mark(disk_, path_of(range)));
  return open_in(path_of(range), identity, std::move(in_use));
}

Result<void> DiskReplicaStore::distrust(RangeId range) {
  {
    const std::lock_guard lock(shelf_->mutex);
    if (!shelf_->known.contains(range)) return {};
  }
  return leave_failed_mark(disk_, path_of(range), "noted by the node");
}

Result<std::unique_ptr<Replica>> DiskReplicaStore::salvage(RangeId range) {
  ASSIGN_OR_RETURN(auto in_use, use(range));
  ASSIGN_OR_RETURN(const ReplicaIdentity identity, identity_of(range));
  const std::string dir = path_of(range);
  if (!has_failed_mark(disk_, dir)) return Error(Errc::kNotFound, dir + " carries no mark of a failed disk");
  {
    ReplicaFiles files(disk_, files_, retention_, options_, dir, identity);
    TRY(files.load());
    TRY(files.log->write_again());
  }
  // Pages of the database file that came behind its mark are written again from the log before they are read.
  TRY(remove_failed_mark(disk_, dir));
  return open_in(dir, identity, std::move(in_use));
}

/// The configuration that the present replica accepted last: its epoch must outlive the exchange for a snapshot.
/// "" when there is none, or when it is too damaged to tell (then it was out of the in-sync set).
std::string DiskReplicaStore::accepted_config(RangeId range) {
  const auto identity = read_replica_identity(disk_, path_of(range));
  if (!identity.ok()) return {};
  ReplicaFiles present(disk_, files_, retention_, options_, path_of(range), *identity);
  return present.load().ok() ? present.log->config() : std::string();
}

Result<std::unique_ptr<Replica>> DiskReplicaStore::finish_snapshot(const ReplicaIdentity& identity,
                                                                   const SnapshotPoint& point) {
  const RangeId range = identity.range;
  ASSIGN_OR_RETURN(auto in_use, use(range));
  ASSIGN_OR_RETURN(const std::string incoming, incoming_.seal(identity, point));
  TRY(ReplicaFiles::lay_out(disk_, incoming, identity, point, accepted_config(range)));
  const std::string path = path_of(range), old = path + ".old";
  TRY(remove_tree(disk_, old));
  if (exists(disk_, path)) TRY(disk_.rename(path, old));
  TRY(disk_.rename(incoming, path));
  TRY(disk_.sync_dir(root_));
  {
    const std::lock_guard lock(shelf_->mutex);
    shelf_->known[range] = identity;
  }
  files_->forget_under(path);
  files_->forget_under(incoming);
  TRY(remove_tree(disk_, old));
  return open_in(path, identity, std::move(in_use));
}

/// May be asked again after each failure: the range is known until no crash can bring its files back.
Result<void> DiskReplicaStore::remove(RangeId range) {
  ASSIGN_OR_RETURN(const auto in_use, use(range));
  const std::string path = path_of(range);
  incoming_.forget(range);
  TRY(remove_tree(disk_, path + ".incoming"));
  TRY(remove_tree(disk_, path + ".old"));  // of an exchange that failed half-way: the next opening would take it back
  ReplicaId replica;
  {
    const std::lock_guard lock(shelf_->mutex);
    const auto known = shelf_->known.find(range);
    if (known == shelf_->known.end()) return {};
    replica = known->second.replica;
  }
  // A name that comes once: the one before may still be on its way out.
  const std::string removed = path + kRemoved + "." + replica.to_string();
  if (exists(disk_, path)) {
    TRY(remove_tree(disk_, removed));
    TRY(disk_.rename(path, removed));
  }
  TRY(disk_.sync_dir(root_));
  files_->forget_under(path);
  {
    const std::lock_guard lock(shelf_->mutex);
    shelf_->known.erase(range);
  }
  if (!options_.later) return remove_tree(disk_, removed);
  // What stays for want of success goes when the store is opened again.
  options_.later([&disk = disk_, removed] { (void)remove_tree(disk, removed); });
  return {};
}

}  // namespace

Result<std::unique_ptr<ReplicaStore>> open_replica_store(Disk& disk, const std::string& store_path,
                                                         const StoreOptions& options) {
  configure_sqlite();
  auto store = std::make_unique<DiskReplicaStore>(disk, store_path + "/ranges", options);
  TRY(store->load());
  return std::unique_ptr<ReplicaStore>(std::move(store));
}

}  // namespace outlast::storage
