#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/store.h"
#include "meta/txn_apply.h"

namespace outlast::testing_support {

/// The data behind any number of SimStores: a metadata store in memory. Not thread-safe: one loop.
class SimMetadata final : public meta::KvView {
 public:
  Result<std::optional<meta::KeyValue>> get(const std::string& key) override {
    const auto it = kv_.find(key);
    return it == kv_.end() ? std::optional<meta::KeyValue>() : std::optional(it->second);
  }
  Result<std::vector<meta::KeyValue>> scan(const std::string& prefix) override {
    std::vector<meta::KeyValue> found;
    for (auto it = kv_.lower_bound(prefix); it != kv_.end() && it->first.starts_with(prefix); ++it)
      found.push_back(it->second);
    return found;
  }
  Result<void> put(const std::string& key, const std::string& value, Revision revision) override {
    auto& kv = kv_[key];
    kv = {key, value, revision, kv.create_revision ? kv.create_revision : revision};
    log_.push_back({meta::Event::Kind::kPut, kv});
    return {};
  }
  Result<bool> erase(const std::string& key, Revision revision) override {
    if (kv_.erase(key) == 0) return false;
    log_.push_back({meta::Event::Kind::kDelete, {key, {}, revision, {}}});
    return true;
  }
  Result<meta::TxnReply> apply(const meta::Txn& txn) {
    auto reply = meta::apply_txn(*this, txn, revision_);
    if (reply.ok()) revision_ = reply->revision;
    return reply;
  }
  Revision revision() const { return revision_; }
  Revision compacted() const { return compacted_; }
  const std::deque<meta::Event>& log() const { return log_; }
  Revision compact(std::uint64_t keep) {
    if (revision_.value > keep + compacted_.value) compacted_ = Revision(revision_.value - keep);
    while (!log_.empty() && log_.front().kv.mod_revision <= compacted_) log_.pop_front();
    return compacted_;
  }
  /// Called after every change, by whoever made it.
  std::vector<std::function<void()>> listeners;

 private:
  std::map<std::string, meta::KeyValue> kv_;
  std::deque<meta::Event> log_;
  Revision revision_, compacted_;
};

/// One client of SimMetadata on a simulated loop: answers, watches and faults in simulated time, for tests of whatever
/// stands on the metadata store. Passes the conformance suite when no fault is set.
/// Thread-safety: none; everything on the loop.
class SimStore final : public meta::Store {
 public:
  enum class Fault : std::uint8_t {
    kNone,
    kRefuse,       ///< Not applied, kMetaUnavailable.
    kLoseRequest,  ///< Not applied, kMetaInDoubt.
    kLoseAnswer,   ///< Applied, kMetaInDoubt.
  };
  SimStore(std::shared_ptr<SimMetadata> data, Loop& loop) : data_(std::move(data)), loop_(loop) {
    data_->listeners.push_back([this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.lock()) schedule_pump();
    });
  }
  ~SimStore() override { alive_.reset(); }

  /// Asked for each transaction that may write; reads are refused only by `connected` being false.
  std::function<Fault(const meta::Txn&)> fault;
  Duration request_delay{0}, answer_delay{0}, watch_delay{0};
  /// The session drops: requests are refused, watches stand still until it returns.
  void set_connected(bool connected) {
    if (std::exchange(connected_, connected) == connected) return;
    for (std::size_t i = 0; i < connection_sinks_.size(); ++i) connection_sinks_[i](connected);
    if (connected) schedule_pump();
  }

  void txn(meta::Txn txn, Duration timeout, Callback<meta::TxnReply> done) override {
    if (auto checked = meta::check_txn(txn, 1'000); !checked.ok())
      return answer(std::move(checked).error(), std::move(done));
    later(request_delay,
          [this, txn = std::move(txn), done = std::move(done)]() mutable { serve(std::move(txn), std::move(done)); });
  }
  WatchId watch(std::string prefix, meta::WatchSink sink) override {
    const WatchId id = ++last_watch_;
    watches_.emplace(id, Watch{std::move(prefix), std::make_shared<meta::WatchSink>(std::move(sink)), false, {}});
    schedule_pump();
    return id;
  }
  void unwatch(WatchId id) override { watches_.erase(id); }
  void compact(std::uint64_t keep, Callback<Revision> done) override { answer(data_->compact(keep), std::move(done)); }
  bool connected() const override { return connected_; }
  void on_connection(std::move_only_function<void(bool)> sink) override {
    connection_sinks_.push_back(std::move(sink));
  }

 private:
  struct Watch {
    std::string prefix;
    std::shared_ptr<meta::WatchSink> sink;
    bool started;
    Revision seen;
  };

  void later(Duration delay, Task task) {
    auto guarded = [alive = std::weak_ptr<int>(alive_), task = std::move(task)]() mutable {
      if (alive.lock()) task();
    };
    if (delay > Duration{0} && loop_.on_this_loop())
      loop_.after(delay, std::move(guarded));
    else
      loop_.post(std::move(guarded));
  }
  template <class T>
  void answer(Result<T> result, Callback<T> done) {
    later(answer_delay, [result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
  }
  template <class T>
  void answer(Error error, Callback<T> done) {
    answer(Result<T>(std::move(error)), std::move(done));
  }
  template <class T>
  void answer(T value, Callback<T> done) {
    answer(Result<T>(std::move(value)), std::move(done));
  }

  void serve(meta::Txn txn, Callback<meta::TxnReply> done) {
    if (!connected_) return answer(Error(Errc::kMetaUnavailable, "the simulated session is down"), std::move(done));
    const Fault what = fault && !meta::is_read_only(txn) ? fault(txn) : Fault::kNone;
    if (what == Fault::kRefuse) return answer(Error(Errc::kMetaUnavailable, "refused by the test"), std::move(done));
    if (what == Fault::kLoseRequest) return answer(Error(Errc::kMetaInDoubt, "request lost"), std::move(done));
    const Revision before = data_->revision();
    auto reply = data_->apply(txn);
    if (data_->revision() != before)
      for (std::size_t i = 0; i < data_->listeners.size(); ++i) data_->listeners[i]();
    if (what == Fault::kLoseAnswer) return answer(Error(Errc::kMetaInDoubt, "answer lost"), std::move(done));
    answer(std::move(reply), std::move(done));
  }

  void schedule_pump() {
    later(watch_delay, [this] { pump(); });
  }
  void pump() {
    if (!connected_) return;
    std::vector<WatchId> ids;
    for (const auto& [id, watch] : watches_) ids.push_back(id);
    for (const WatchId id : ids) pump_one(id);
  }
  void pump_one(WatchId id) {
    for (;;) {  // a sink may unwatch
      const auto it = watches_.find(id);
      if (it == watches_.end()) return;
      Watch& watch = it->second;
      meta::WatchBatch batch;
      if (!watch.started || watch.seen < data_->compacted()) {
        batch = {meta::WatchBatch::Kind::kReset, data_->revision(), *data_->scan(watch.prefix), {}};
        watch.started = true;
      } else {
        const auto& log = data_->log();
        auto event = std::upper_bound(log.begin(), log.end(), watch.seen,
                                      [](Revision seen, const meta::Event& e) { return seen < e.kv.mod_revision; });
        for (; event != log.end(); ++event) {
          const Revision revision = event->kv.mod_revision;
          if (!event->kv.key.starts_with(watch.prefix)) continue;
          if (batch.revision && batch.revision != revision) break;
          batch.revision = revision;
          batch.events.push_back(*event);
        }
        if (batch.events.empty()) {
          watch.seen = data_->revision();
          return;
        }
      }
      watch.seen = batch.revision;
      const auto sink = watch.sink;
      (*sink)(batch);
    }
  }

  std::shared_ptr<SimMetadata> data_;
  Loop& loop_;
  bool connected_{true};
  std::map<WatchId, Watch> watches_;
  std::vector<std::move_only_function<void(bool)>> connection_sinks_;
  WatchId last_watch_{0};
  std::shared_ptr<int> alive_{std::make_shared<int>(0)};
};

}  // namespace outlast::testing_support
