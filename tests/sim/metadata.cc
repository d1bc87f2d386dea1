#include "tests/sim/metadata.h"

namespace outlast::sim {
using namespace std::chrono_literals;

/// A transaction under way; answered once.
struct SimMeta::Request {
  Callback<meta::TxnReply> done;
  Loop::TimerId timer{0};
};

Result<meta::TxnReply> MetaService::apply(const meta::Txn& txn) {
  const Revision before = data.revision();
  auto reply = data.apply(txn);
  if (data.revision() == before) return reply;
  std::vector<meta::Event> events;
  for (auto it = data.log().rbegin(); it != data.log().rend() && it->kv.mod_revision > before; ++it)
    events.push_back(*it);
  for (auto it = events.rbegin(); it != events.rend(); ++it) on_event(*it);
  for (std::size_t i = 0; i < data.listeners.size(); ++i)
    if (data.listeners[i]) data.listeners[i]();
  return reply;
}

SimMeta::SimMeta(MetaService& service, ProcessLoop& loop, MetaWeather& weather)
    : service_(service),
      loop_(loop),
      weather_(weather),
      connected_(reachable()),
      listener_(service.data.listeners.size()) {
  service_.data.listeners.emplace_back([this] { schedule_pump(); });
}

SimMeta::~SimMeta() {
  forget();
  service_.data.listeners[listener_] = nullptr;
}

/// What a callback owns goes with its process, not with the request that may still be applied.
void SimMeta::forget() {
  for (const auto& weak : std::exchange(requests_, {}))
    if (const auto request = weak.lock()) request->done = nullptr;
}

Duration SimMeta::delay() {
  Duration base = loop_.world().between(100us, 2ms);
  if (loop_.world().random().below(25) == 0) base += loop_.world().between(0ms, 30ms);
  return base * weather_.slow;
}

void SimMeta::deliver(const std::shared_ptr<Request>& request, Result<meta::TxnReply> reply) {
  if (!request->done) return;
  loop_.cancel(request->timer);
  std::exchange(request->done, nullptr)(std::move(reply));
}

void SimMeta::txn(meta::Txn txn, Duration timeout, Callback<meta::TxnReply> done) {
  if (loop_.doomed()) return;  // nothing leaves this process any more
  World& world = loop_.world();
  auto request = std::make_shared<Request>();
  request->done = std::move(done);
  std::erase_if(requests_, [](const auto& weak) { return weak.expired(); });
  requests_.push_back(request);
  const auto answer = [this, request](Duration after, Result<meta::TxnReply> reply) {
    loop_.plan(after, "meta answer",
               [this, request, reply = std::move(reply)]() mutable { deliver(request, std::move(reply)); });
  };
  if (auto checked = meta::check_txn(txn, 128); !checked.ok()) return answer(1us, checked.error());
  if (!connected_) return answer(1ms, Error(Errc::kMetaUnavailable, "the metadata store is out of reach"));
  request->timer = loop_.after(timeout, [this, request] {
    request->timer = 0;
    deliver(request, Error(Errc::kMetaInDoubt, "the metadata store did not answer in time"));
  });
  if (!reachable()) return;  // the session does not know it yet: the request is lost
  const bool writes = !meta::is_read_only(txn);
  const Duration there = delay();
  if (writes && world.random().below(1000) < weather_.doubt) {
    const std::uint64_t fate = world.random().below(4);  // never applied, applied long after, applied
    world.trace("the answer to a metadata transaction is lost, which is " + std::string(fate == 0   ? "not applied"
                                                                                        : fate != 1 ? "applied"
                                                                                                    : "applied later"));
    if (fate != 0)
      world.plan(0, fate != 1 ? there : there + world.between(100ms, 1500ms), "meta late",
                 [service = &service_, txn = std::move(txn)] {
                   if (service->up) (void)service->apply(txn).ok();
                 });
    if (world.random().below(4) != 0) answer(there, Error(Errc::kMetaInDoubt, "the answer was lost"));
    return;  // else the time limit says so
  }
  world.plan(0, there, "meta apply",
             [this, alive = std::weak_ptr<int>(alive_), service = &service_, answer, txn = std::move(txn)] {
               if (!service->up) return;  // lost; the time limit tells
               auto reply = service->apply(txn);
               if (alive.expired() || !reachable()) return;
               answer(delay() + weather_.late, std::move(reply));
             });
}

void SimMeta::compact(std::uint64_t keep, Callback<Revision> done) {
  loop_.plan(delay(), "meta compact",
             [this, keep, done = std::move(done)]() mutable { done(service_.data.compact(keep)); });
}

SimMeta::WatchId SimMeta::watch(std::string prefix, meta::WatchSink sink) {
  const WatchId id = ++last_watch_;
  watches_.emplace(id, Watch{std::move(prefix), std::make_shared<meta::WatchSink>(std::move(sink)), false, {}});
  schedule_pump();
  return id;
}

void SimMeta::weather_changed() {
  const std::uint64_t mine = ++changes_;
  const bool now = reachable();
  if (now == connected_) return;
  // A session notices silence after its own time-out, and its return after a reconnect.
  loop_.plan(now ? loop_.world().between(1ms, 200ms) : loop_.world().between(1ms, 500ms), "meta session",
             [this, mine, now] {
               if (mine == changes_) set_connected(now);
             });
}

void SimMeta::set_connected(bool connected) {
  connected_ = connected;
  for (std::size_t i = 0; i < sinks_.size(); ++i) sinks_[i](connected);
  if (connected) schedule_pump();
}

/// One pump at a time brings everything that happened since the last one: batches come late, never out of order.
void SimMeta::schedule_pump() {
  if (std::exchange(pump_planned_, true)) return;
  loop_.plan(delay(), "meta watch", [this] {
    pump_planned_ = false;
    if (connected_ && reachable()) pump();
  });
}

void SimMeta::pump() {
  std::vector<WatchId> ids;
  for (const auto& [id, watch] : watches_) ids.push_back(id);
  for (const WatchId id : ids) pump_one(id);
}

void SimMeta::pump_one(WatchId id) {
  for (;;) {  // a sink may unwatch
    const auto it = watches_.find(id);
    if (it == watches_.end()) return;
    Watch& watch = it->second;
    const auto& data = service_.data;
    meta::WatchBatch batch;
    if (!watch.started || watch.seen < data.compacted()) {
      batch = {meta::WatchBatch::Kind::kReset, data.revision(), *service_.data.scan(watch.prefix), {}};
      watch.started = true;
    } else {
      const auto& log = data.log();
      auto event = std::upper_bound(log.begin(), log.end(), watch.seen,
                                    [](Revision seen, const meta::Event& e) { return seen < e.kv.mod_revision; });
      for (; event != log.end(); ++event) {
        if (!event->kv.key.starts_with(watch.prefix)) continue;
        if (batch.revision && batch.revision != event->kv.mod_revision) break;
        batch.revision = event->kv.mod_revision;
        batch.events.push_back(*event);
      }
      if (batch.events.empty()) {
        watch.seen = data.revision();
        return;
      }
    }
    watch.seen = batch.revision;
    const auto sink = watch.sink;
    (*sink)(batch);
  }
}

}  // namespace outlast::sim
