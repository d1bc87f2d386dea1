#include "etcd/etcd_store.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>

#include "etcd/watches.h"

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
using meta::Txn;
using meta::TxnReply;
using meta::WatchBatch;
using ConnectionSink = std::move_only_function<void(bool)>;
constexpr Duration kCompactTimeout = 10s;

class Store final : public EtcdStore {
 public:
  Store(const Options& options, const Secrets& secrets, Loop& loop)
      : loop_(loop),
        codec_(options.prefix),
        session_(std::make_unique<Session>(options, secrets, codec_, calls_, events())),
        watches_(std::make_unique<Watches>(
            *session_, codec_, calls_, [this](WatchId id, WatchBatch batch) { deliver(id, std::move(batch)); },
            [this] { refresh_connected(); })) {}

  ~Store() override {
    calls_.strand.stop();
    watches_.reset();
    session_.reset();  // waits for the last call
    alive_.reset();
  }

  Result<void> start(Duration first_answer) {
    std::future<Result<void>> tried = first_.get_future();
    calls_.strand.start([this] {
      session_->tick();
      watches_->tick();
    });
    calls_.strand.post([this] { session_->tick(); });  // not only after the first 50 ms
    if (tried.wait_for(first_answer) == std::future_status::ready) return tried.get();
    spdlog::warn("metadata: {}; still trying", health().problem);
    return {};
  }

  void txn(Txn txn, Duration timeout, Callback<TxnReply> done) override {
    if (auto checked = Codec::check(txn); !checked.ok()) {
      answer([done = std::move(done), error = std::move(checked).error()]() mutable { done(std::move(error)); });
      return;
    }
    auto request = std::make_shared<Request>();
    request->body = codec_.request(txn);
    request->is_read_only = meta::is_read_only(txn);
    request->deadline = now() + timeout;
    request->done = [this, txn = std::move(txn), done = std::move(done)](Result<pb::TxnResponse> response) mutable {
      Result<TxnReply> reply = response.ok() ? Result<TxnReply>(codec_.reply(txn, *response)) : response.error();
      answer([done = std::move(done), reply = std::move(reply)]() mutable { done(std::move(reply)); });
    };
    calls_.strand.post([this, request = std::move(request)]() mutable { session_->submit(std::move(request)); });
  }

  WatchId watch(std::string prefix, meta::WatchSink sink) override {
    WatchId id = 0;
    {
      std::lock_guard lock(mutex_);
      id = ++last_watch_;
      sinks_.emplace(id, std::make_shared<meta::WatchSink>(std::move(sink)));
    }
    calls_.strand.post([this, id, prefix = std::move(prefix)]() mutable { watches_->add(id, std::move(prefix)); });
    return id;
  }

  void unwatch(WatchId id) override {
    std::shared_ptr<meta::WatchSink> dropped;  // destroyed without the lock
    {
      std::lock_guard lock(mutex_);
      const auto it = sinks_.find(id);
      if (it == sinks_.end()) return;
      dropped = std::move(it->second);
      sinks_.erase(it);
    }
    calls_.strand.post([this, id] { watches_->drop(id); });
  }

  void compact(std::uint64_t keep, Callback<Revision> done) override;

  bool connected() const override { return connected_.load(std::memory_order_relaxed); }
  void on_connection(ConnectionSink sink) override {
    std::lock_guard lock(mutex_);
    connection_sinks_.push_back(std::make_shared<ConnectionSink>(std::move(sink)));
  }
  Health health() const override {
    std::lock_guard lock(mutex_);
    Health health = health_;
    health.connected = connected();
    return health;
  }

 private:
  Session::Events events() {
    return {.switched =
                [this] {
                  watches_->on_switched();
                  refresh_connected();
                },
            .regressed = [this] { watches_->start_anew(); },
            .tried =
                [this](Result<void> result) {
                  if (!std::exchange(is_tried_, true)) first_.set_value(std::move(result));
                },
            .health =
                [this](const Health& health) {
                  std::lock_guard lock(mutex_);
                  health_ = health;
                }};
  }
  void compact_up_to(std::uint64_t revision, Callback<Revision> done);
  void answer(Task task) {
    loop_.post([alive = std::weak_ptr<int>(alive_), task = std::move(task)]() mutable {
      if (alive.lock()) task();
    });
  }
  void deliver(WatchId id, WatchBatch batch) {
    answer([this, id, batch = std::move(batch)] {
      std::shared_ptr<meta::WatchSink> sink;
      {
        std::lock_guard lock(mutex_);
        const auto it = sinks_.find(id);
        if (it == sinks_.end()) return;
        sink = it->second;
      }
      (*sink)(batch);
    });
  }
  void refresh_connected() {
    const bool connected = session_->current() != nullptr && watches_->is_up();
    if (connected_.exchange(connected, std::memory_order_relaxed) == connected) return;
    answer([this, connected] {
      std::vector<std::shared_ptr<ConnectionSink>> sinks;
      {
        std::lock_guard lock(mutex_);
        sinks = connection_sinks_;
      }
      for (const auto& sink : sinks) (*sink)(connected);
    });
  }

  Loop& loop_;
  const Codec codec_;
  std::shared_ptr<int> alive_{std::make_shared<int>(0)};
  std::atomic<bool> connected_{false};
  std::promise<Result<void>> first_;
  bool is_tried_{false};  ///< The strand's.
  mutable std::mutex mutex_;
  std::map<WatchId, std::shared_ptr<meta::WatchSink>> sinks_;      // under mutex_
  std::vector<std::shared_ptr<ConnectionSink>> connection_sinks_;  // under mutex_
  WatchId last_watch_{0};                                          // under mutex_
  Health health_;                                                  // under mutex_
  Calls calls_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Watches> watches_;
};

/// A read tells the present revision; what lies `keep` below it is compacted.
void Store::compact(std::uint64_t keep, Callback<Revision> done) {
  txn({}, kCompactTimeout, [this, keep, done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    const std::uint64_t newest = reply->revision.value;
    if (newest <= keep) return done(Revision{});
    compact_up_to(newest - keep, std::move(done));
  });
}

void Store::compact_up_to(std::uint64_t revision, Callback<Revision> done) {
  auto request = std::make_shared<Request>();
  pb::CompactionRequest body;
  body.set_revision(static_cast<std::int64_t>(revision));
  request->body = std::move(body);
  request->deadline = now() + kCompactTimeout;
  request->done = [this, revision, done = std::move(done)](Result<pb::TxnResponse> response) mutable {
    Result<Revision> result = Revision(revision);
    // Somebody has compacted as much before us.
    if (!response.ok() && response.error().code != Errc::kCompacted) {
      result = response.error();
      result.error().code = Errc::kMetaUnavailable;
    }
    answer([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  };
  calls_.strand.post([this, request = std::move(request)]() mutable { session_->submit(std::move(request)); });
}

}  // namespace

Result<std::unique_ptr<EtcdStore>> open_etcd(const Options& options, Loop& loop, Duration first_answer) {
  ASSIGN_OR_RETURN(const Secrets secrets, read_secrets(options));
  auto store = std::make_unique<Store>(options, secrets, loop);
  TRY(store->start(first_answer));
  return std::unique_ptr<EtcdStore>(std::move(store));
}

}  // namespace outlast::etcd
