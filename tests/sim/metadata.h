#pragma once
#include <map>
#include <memory>
#include <set>

#include "tests/sim/process_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::sim {
using testing_support::SimMetadata;

/// The metadata service as a whole; outlives every client. Transactions are applied one after another.
struct MetaService {
  SimMetadata data;
  bool up{true};
  Instant up_since{World::kStart}, down_since{World::kStart};
  /// Sees every change right after it was applied.
  std::function<void(const meta::Event&)> on_event = [](const meta::Event&) {};
  Result<meta::TxnReply> apply(const meta::Txn& txn);
};

/// One machine's way to the metadata service.
struct MetaWeather {
  bool cut{false};
  std::uint64_t doubt{0};  ///< Of 1000 transactions that write: the answer is lost; some are applied, at once or late.
  std::uint64_t slow{1};
  Duration late{};  ///< Answers of transactions come so much later than these were applied.
};

/// One process's client of it: answers and watches in simulated time, over a way that may be cut, slow or lose answers.
/// Requests that were sent may be applied although the process is gone.
class SimMeta final : public meta::Store {
 public:
  SimMeta(MetaService& service, ProcessLoop& loop, MetaWeather& weather);
  ~SimMeta() override;

  void txn(meta::Txn txn, Duration timeout, Callback<meta::TxnReply> done) override;
  WatchId watch(std::string prefix, meta::WatchSink sink) override;
  void unwatch(WatchId id) override { watches_.erase(id); }
  void compact(std::uint64_t keep, Callback<Revision> done) override;
  bool connected() const override { return connected_; }
  void on_connection(std::move_only_function<void(bool)> sink) override { sinks_.push_back(std::move(sink)); }

  /// The process ends: nobody waits for an answer any more.
  void forget();
  /// The weather changed: the session breaks after a while, or comes back.
  void weather_changed();

 private:
  struct Watch {
    std::string prefix;
    std::shared_ptr<meta::WatchSink> sink;
    bool started{false};
    Revision seen;
  };
  struct Request;
  bool reachable() const { return service_.up && !weather_.cut; }
  Duration delay();
  void deliver(const std::shared_ptr<Request>& request, Result<meta::TxnReply> reply);
  void set_connected(bool connected);
  void schedule_pump();
  void pump();
  void pump_one(WatchId id);

  MetaService& service_;
  ProcessLoop& loop_;
  MetaWeather& weather_;
  bool connected_{true}, pump_planned_{false};
  std::uint64_t changes_{0};
  std::map<WatchId, Watch> watches_;
  std::vector<std::weak_ptr<Request>> requests_;
  std::vector<std::move_only_function<void(bool)>> sinks_;
  WatchId last_watch_{0};
  std::size_t listener_{0};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::sim
