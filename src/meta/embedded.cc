#include "meta/embedded.h"

#include <atomic>
#include <map>
#include <mutex>

#include "meta/embedded_worker.h"

namespace outlast::meta {
namespace {

class EmbeddedStore final : public Store, private EmbeddedSink {
 public:
  EmbeddedStore(Loop& loop, EmbeddedOptions options) : loop_(loop), options_(options) {}
  ~EmbeddedStore() override {
    worker_.reset();
    alive_.reset();
  }
  Result<void> start(const std::filesystem::path& dir) {
    ASSIGN_OR_RETURN(worker_, EmbeddedWorker::start(dir, options_, *this));
    return {};
  }

  void txn(Txn txn, Duration timeout, Callback<TxnReply> done) override {
    if (auto checked = check_txn(txn, options_.ops_max); !checked.ok()) {
      answer([done = std::move(done), error = std::move(checked).error()]() mutable { done(std::move(error)); });
      return;
    }
    worker_->submit(std::move(txn), timeout, std::move(done));
  }

  WatchId watch(std::string prefix, WatchSink sink) override {
    WatchId id = 0;
    {
      std::lock_guard lock(mutex_);
      id = ++last_watch_;
      watches_.emplace(id, std::make_shared<WatchSink>(std::move(sink)));
    }
    worker_->add_watch(id, std::move(prefix));
    return id;
  }

  void unwatch(WatchId id) override {
    std::shared_ptr<WatchSink> dropped;  // destroyed without the lock
    {
      std::lock_guard lock(mutex_);
      const auto it = watches_.find(id);
      if (it == watches_.end()) return;
      dropped = std::move(it->second);
      watches_.erase(it);
    }
    worker_->drop_watch(id);
  }

  void compact(std::uint64_t keep, Callback<Revision> done) override { worker_->compact(keep, std::move(done)); }
  bool connected() const override { return connected_.load(std::memory_order_relaxed); }
  void on_connection(std::move_only_function<void(bool)> sink) override {
    std::lock_guard lock(mutex_);
    connection_sinks_.push_back(std::make_shared<std::move_only_function<void(bool)>>(std::move(sink)));
  }

 private:
  // EmbeddedSink, called by the worker (and by txn for what is refused at once).
  void answer(Task task) override {
    loop_.post([alive = std::weak_ptr<int>(alive_), task = std::move(task)]() mutable {
      if (alive.lock()) task();
    });
  }
  void deliver(WatchId id, WatchBatch batch) override {
    answer([this, id, batch = std::move(batch)] {
      std::shared_ptr<WatchSink> sink;
      {
        std::lock_guard lock(mutex_);
        const auto it = watches_.find(id);
        if (it == watches_.end()) return;
        sink = it->second;
      }
      (*sink)(batch);
    });
  }
  void connection(bool connected) override {
    connected_.store(connected, std::memory_order_relaxed);
    answer([this, connected] {
      std::vector<std::shared_ptr<std::move_only_function<void(bool)>>> sinks;
      {
        std::lock_guard lock(mutex_);
        sinks = connection_sinks_;
      }
      for (const auto& sink : sinks) (*sink)(connected);
    });
  }

  Loop& loop_;
  const EmbeddedOptions options_;
  std::shared_ptr<int> alive_{std::make_shared<int>(0)};
  std::atomic<bool> connected_{true};
  std::mutex mutex_;
  std::map<WatchId, std::shared_ptr<WatchSink>> watches_;
  std::vector<std::shared_ptr<std::move_only_function<void(bool)>>> connection_sinks_;
  WatchId last_watch_{0};
  std::unique_ptr<EmbeddedWorker> worker_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_embedded(const std::filesystem::path& dir, Loop& loop, EmbeddedOptions options) {
  auto store = std::make_unique<EmbeddedStore>(loop, options);
  TRY(store->start(dir));
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace outlast::meta
