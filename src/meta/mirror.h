#pragma once
#include <spdlog/spdlog.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "meta/store.h"

namespace outlast::meta {

/// A prefix of the metadata store, watched and decoded: what this node knows at present. It may lag behind the store;
/// whoever changes a record compares its mod_revision.
/// A value that does not decode leaves the entry as it was and is logged: an old record makes compares fail, a missing
/// one could be taken for deleted.
/// Thread-safety: construct, destroy and register on the store's loop; ready(), revision(), find() and snapshot() from
/// any thread. Callbacks run on the loop, after the change is visible to find().
/// Lifetime: the store outlives the mirror; entries live as long as someone holds them.
template <class T>
class Mirror {
 public:
  struct Entry {
    std::string key;
    T value;
    Revision mod_revision, create_revision;
  };
  using EntryPtr = std::shared_ptr<const Entry>;
  struct Change {
    std::string key;
    EntryPtr before, after;  ///< Null: absent. Both set: changed.
  };
  using Decode = std::function<Result<T>(std::string_view key, std::string_view value)>;

  Mirror(Store& store, std::string prefix, Decode decode) : store_(store), decode_(std::move(decode)) {
    watch_ = store_.watch(std::move(prefix), [this](const WatchBatch& batch) { take(batch); });
  }
  ~Mirror() { store_.unwatch(watch_); }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// The first full state has arrived.
  bool ready() const {
    std::lock_guard lock(mutex_);
    return ready_;
  }
  /// Everything up to this revision is in.
  Revision revision() const {
    std::lock_guard lock(mutex_);
    return revision_;
  }
  EntryPtr find(std::string_view key) const {
    std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : it->second;
  }
  /// In key order.
  std::vector<EntryPtr> snapshot() const {
    std::lock_guard lock(mutex_);
    std::vector<EntryPtr> all;
    all.reserve(entries_.size());
    for (const auto& [key, entry] : entries_) all.push_back(entry);
    return all;
  }
  /// Every later change, one call each; a reset arrives as the difference. What is there already is in snapshot().
  void on_change(std::move_only_function<void(const Change&)> sink) { change_sinks_.push_back(std::move(sink)); }
  /// After each batch (one revision or a reset), when all its changes were told.
  void on_batch(std::move_only_function<void()> sink) { batch_sinks_.push_back(std::move(sink)); }

 private:
  using Entries = std::map<std::string, EntryPtr, std::less<>>;

  EntryPtr decoded(const KeyValue& kv) const {
    auto value = decode_(kv.key, kv.value);
    if (value.ok())
      return std::make_shared<const Entry>(Entry{kv.key, *std::move(value), kv.mod_revision, kv.create_revision});
    spdlog::error("metadata record {} is unreadable and ignored: {}", kv.key, value.error().message);
    return nullptr;
  }
  /// Puts one entry into the map and notes what changed. Holds no lock while decoding.
  void put(const KeyValue& kv, std::vector<Change>& changes) {
    EntryPtr after = decoded(kv);
    if (!after) return;
    std::lock_guard lock(mutex_);
    EntryPtr& entry = entries_[kv.key];
    if (entry && entry->mod_revision == after->mod_revision) return;
    changes.push_back({kv.key, entry, after});
    entry = std::move(after);
  }
  void erase(const std::string& key, std::vector<Change>& changes) {
    std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it == entries_.end()) return;
    changes.push_back({key, std::move(it->second), nullptr});
    entries_.erase(it);
  }
  void take(const WatchBatch& batch) {
    std::vector<Change> changes;
    if (batch.kind == WatchBatch::Kind::kReset) {
      std::map<std::string_view, const KeyValue*> there;
      for (const KeyValue& kv : batch.state) there.emplace(kv.key, &kv);
      for (const EntryPtr& entry : snapshot())
        if (!there.contains(entry->key)) erase(entry->key, changes);
      for (const KeyValue& kv : batch.state) put(kv, changes);
    } else {
      for (const Event& event : batch.events) {
        if (event.kind == Event::Kind::kPut)
          put(event.kv, changes);
        else
          erase(event.kv.key, changes);
      }
    }
    {
      std::lock_guard lock(mutex_);
      revision_ = batch.revision;
      ready_ = true;
    }
    // By index: a callback may register another one.
    for (const Change& change : changes)
      for (std::size_t i = 0; i < change_sinks_.size(); ++i) change_sinks_[i](change);
    for (std::size_t i = 0; i < batch_sinks_.size(); ++i) batch_sinks_[i]();
  }

  Store& store_;
  const Decode decode_;
  Store::WatchId watch_{0};
  mutable std::mutex mutex_;
  Entries entries_;
  Revision revision_;
  bool ready_{false};
  std::deque<std::move_only_function<void(const Change&)>> change_sinks_;  ///< The loop's; a deque, so that
                                                                           ///< registering moves no running one.
  std::deque<std::move_only_function<void()>> batch_sinks_;                ///< The loop's.
};

}  // namespace outlast::meta
