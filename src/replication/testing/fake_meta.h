#pragma once
// A linearizable metadata store on simulated time, with slow, lost and doubtful answers. Test support.
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "meta/keys.h"
#include "meta/store.h"

namespace outlast::replication::testing {

/// The store itself; survives every node.
class MetaCore {
 public:
  std::map<std::string, meta::KeyValue> kvs;
  Revision revision{1};
  std::function<void(const meta::KeyValue&)> on_put = [](const meta::KeyValue&) {};
  std::map<std::uint64_t, std::function<void(const meta::Event&, Revision)>> watchers;
  std::uint64_t last_watch{0};

  meta::TxnReply apply(const meta::Txn& txn) {
    meta::TxnReply reply;
    reply.succeeded = true;
    for (const meta::Compare& compare : txn.compares) reply.succeeded = reply.succeeded && holds(compare);
    bool wrote = false;
    for (const meta::Op& op : reply.succeeded ? txn.then : txn.otherwise) {
      meta::OpReply out;
      const auto it = kvs.find(op.key);
      if (op.kind == meta::Op::Kind::kGet && it != kvs.end()) out.kvs.push_back(it->second);
      if (op.kind == meta::Op::Kind::kPut) {
        if (!wrote) revision = revision.next();
        wrote = true;
        const Revision created = it == kvs.end() ? revision : it->second.create_revision;
        kvs[op.key] = {op.key, op.value, revision, created};
        on_put(kvs[op.key]);
        for (auto& [id, watcher] : watchers) watcher({meta::Event::Kind::kPut, kvs[op.key]}, revision);
      }
      if (op.kind == meta::Op::Kind::kDelete && it != kvs.end()) {
        if (!wrote) revision = revision.next();
        wrote = true;
        kvs.erase(it);
        for (auto& [id, watcher] : watchers)
          watcher({meta::Event::Kind::kDelete, {op.key, "", revision, {}}}, revision);
      }
      reply.replies.push_back(std::move(out));
    }
    reply.revision = revision;
    return reply;
  }
  void put(const std::string& key, const std::string& value) {
    meta::Txn txn;
    txn.then = {meta::Op::put(key, value)};
    (void)apply(txn);
  }

 private:
  bool holds(const meta::Compare& compare) const {
    const auto it = kvs.find(compare.key);
    bool equal = false;
    if (compare.kind == meta::Compare::Kind::kModRevision)
      equal = (it == kvs.end() ? Revision() : it->second.mod_revision) == compare.revision;
    else if (compare.kind == meta::Compare::Kind::kCreateRevision)
      equal = (it == kvs.end() ? Revision() : it->second.create_revision) == compare.revision;
    else
      equal = it != kvs.end() && it->second.value == compare.value;
    return equal != compare.negated;
  }
};

/// How badly one node's way to the store behaves.
struct MetaWeather {
  bool cut{false};
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
    core_->watchers[id] = [this, shared, prefix](const meta::Event& event, Revision revision) {
      if (!event.kv.key.starts_with(prefix)) return;
      meta::WatchBatch batch;
      batch.revision = revision;
      batch.events.push_back(event);
      deliver(shared, std::move(batch));
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
