#pragma once
// A linearizable metadata store on simulated time, with slow, lost and doubtful answers. Test support.
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "meta/keys.h"
#include "meta/store.h"
#include "meta/txn_apply.h"

namespace outlast::replication::testing {

/// The store itself; survives every node.
class MetaCore {
 public:
  std::map<std::string, meta::KeyValue> kvs;
  Revision revision{1};
  std::function<void(const meta::KeyValue&)> on_put = [](const meta::KeyValue&) {};
  std::map<std::uint64_t, std::function<void(const std::vector<meta::Event>&, Revision)>> watchers;
  std::uint64_t last_watch{0};
  std::uint64_t transactions{0};  ///< Applied or refused by their compares.

  meta::TxnReply apply(const meta::Txn& txn) {
    ++transactions;
    View view(kvs);
    const meta::TxnReply reply = meta::apply_txn(view, txn, revision).value();
    revision = reply.revision;
    for (const meta::Event& event : view.events)
      if (event.kind == meta::Event::Kind::kPut) on_put(event.kv);
    if (!view.events.empty())
      for (auto& [id, watcher] : watchers) watcher(view.events, revision);
    return reply;
  }
  void put(const std::string& key, const std::string& value) {
    meta::Txn txn;
    txn.then = {meta::Op::put(key, value)};
    (void)apply(txn);
  }

 private:
  class View final : public meta::KvView {
   public:
    using Map = std::map<std::string, meta::KeyValue>;
    explicit View(Map& map) : map_(map) {}
    Result<std::optional<meta::KeyValue>> get(const std::string& key) override {
      const auto it = map_.find(key);
      return it == map_.end() ? std::optional<meta::KeyValue>() : std::optional(it->second);
    }
    Result<std::vector<meta::KeyValue>> scan(const std::string& prefix) override {
      std::vector<meta::KeyValue> out;
      for (auto it = map_.lower_bound(prefix); it != map_.end() && it->first.starts_with(prefix); ++it)
        out.push_back(it->second);
      return out;
    }
    Result<void> put(const std::string& key, const std::string& value, Revision at) override {
      const auto it = map_.find(key);
      const Revision created = it == map_.end() ? at : it->second.create_revision;
      map_[key] = {key, value, at, created};
      events.push_back({meta::Event::Kind::kPut, map_[key]});
      return {};
    }
    Result<bool> erase(const std::string& key, Revision at) override {
      if (map_.erase(key) == 0) return false;
      events.push_back({meta::Event::Kind::kDelete, {key, "", at, {}}});
      return true;
    }
    std::vector<meta::Event> events;

   private:
    Map& map_;
  };
};

/// How badly one node's way to the store behaves.
struct MetaWeather {
  bool cut{false};
  std::size_t ops_max{1000};       ///< In one transaction.
  std::uint64_t doubt_percent{0};  ///< Answers lost; of these some transactions are applied, at once or later.
};

/// One process's client. Everything under way is dropped with it, but requests that were sent may still be applied.
class FakeMeta final : public meta::Store {
 public:
  FakeMeta(std::shared_ptr<MetaCore> core, Loop& world, Loop& node, Random& random,
           std::shared_ptr<MetaWeather> weather)
      : core_(std::move(core)), world_(world), node_(node), random_(random), weather_(std::move(weather)) {}
  /// The process is gone.
  void end() {
    for (const std::uint64_t id : mine_) core_->watchers.erase(id);
    alive_.reset();
  }

  void txn(meta::Txn txn, Duration, Callback<meta::TxnReply> done) override {
    using namespace std::chrono_literals;
    auto shared = std::make_shared<Callback<meta::TxnReply>>(std::move(done));
    const auto answer = [this, shared](Result<meta::TxnReply> reply, Duration after) {
      node_.after(after, [shared, reply = std::move(reply)]() mutable { (*shared)(std::move(reply)); });
    };
    if (auto checked = meta::check_txn(txn, weather_->ops_max); !checked.ok()) return answer(checked.error(), 1ms);
    if (weather_->cut) return answer(Error(Errc::kMetaUnavailable, "cut off"), 50ms);
    const Duration there = delay();
    if (random_.below(100) < weather_->doubt_percent) {
      const std::uint64_t fate = random_.below(3);  // never applied, applied, applied long after
      if (fate != 0)
        world_.after(fate == 1 ? there : there + 300ms,
                     [core = core_, txn = std::move(txn)] { (void)core->apply(txn); });
      return answer(Error(Errc::kMetaInDoubt, "the answer was lost"), 20ms);
    }
    world_.after(there, [this, core = core_, alive = std::weak_ptr(alive_), txn = std::move(txn), answer] {
      meta::TxnReply reply = core->apply(txn);
      if (!alive.expired()) answer(std::move(reply), delay());
    });
  }
  WatchId watch(std::string prefix, meta::WatchSink sink) override {
    auto shared = std::make_shared<meta::WatchSink>(std::move(sink));
    const std::uint64_t id = ++core_->last_watch;
    mine_.insert(id);
    meta::WatchBatch reset;
    reset.kind = meta::WatchBatch::Kind::kReset;
    reset.revision = core_->revision;
    for (const auto& [key, kv] : core_->kvs)
      if (key.starts_with(prefix)) reset.state.push_back(kv);
    deliver(shared, std::move(reset));
    core_->watchers[id] = [this, shared, prefix](const std::vector<meta::Event>& events, Revision revision) {
      meta::WatchBatch batch;
      batch.revision = revision;
      for (const meta::Event& event : events)
        if (event.kv.key.starts_with(prefix)) batch.events.push_back(event);
      if (!batch.events.empty()) deliver(shared, std::move(batch));
    };
    return id;
  }
  void unwatch(WatchId id) override { core_->watchers.erase(id); }
  void compact(std::uint64_t, Callback<Revision> done) override { done(core_->revision); }
  bool connected() const override { return !weather_->cut; }
  void on_connection(std::move_only_function<void(bool)>) override {}

 private:
  Duration delay() { return std::chrono::microseconds(100 + random_.below(3000)); }
  void deliver(const std::shared_ptr<meta::WatchSink>& sink, meta::WatchBatch batch) {
    const Duration slow = weather_->cut ? std::chrono::milliseconds(500) : delay();
    const Instant at = last_event_ = std::max(last_event_, node_.now() + slow);  // in order
    node_.after(at - node_.now(), [sink, batch = std::move(batch)] { (*sink)(batch); });
  }
  const std::shared_ptr<MetaCore> core_;
  Loop& world_;
  Loop& node_;
  Random& random_;
  const std::shared_ptr<MetaWeather> weather_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  std::set<std::uint64_t> mine_;
  Instant last_event_{};
};

}  // namespace outlast::replication::testing
