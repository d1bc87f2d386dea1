#pragma once
// A whole cluster on one thread and simulated time: disks that forget, links that break, a metadata store that doubts.
// After every step the invariants of protocol A12 are checked; the first violation is kept as a sentence.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>

#include "../tests/support/sim_loop.h"
#include "replication/replicas.h"
#include "replication/testing/fake_disk.h"
#include "replication/testing/fake_meta.h"

namespace outlast::replication::testing {
using testing_support::SimLoop;

/// The simulated loop as one process sees it: everything that it planned ends with it.
class NodeLoop final : public Loop {
 public:
  explicit NodeLoop(SimLoop& world) : world_(world) {}
  Instant now() const override { return world_.now(); }
  std::int64_t wall_micros() const override { return world_.wall_micros(); }
  void post(Task task) override { world_.post(wrap(std::move(task))); }
  TimerId after(Duration delay, Task task) override { return world_.after(delay, wrap(std::move(task))); }
  void cancel(TimerId timer) override { world_.cancel(timer); }
  bool on_this_loop() const override { return true; }
  void end() { alive_.reset(), parked_.clear(); }
  /// A stopped process: what becomes due waits until it goes on.
  void freeze() { frozen_ = true; }
  void thaw() {
    frozen_ = false;
    for (Task& task : std::exchange(parked_, {})) post(std::move(task));
  }
  bool frozen() const { return frozen_; }

 private:
  Task wrap(Task task) {
    return [this, alive = std::weak_ptr(alive_), task = std::move(task)]() mutable {
      if (alive.expired()) return;
      if (frozen_)
        parked_.push_back(std::move(task));
      else
        task();
    };
  }
  bool frozen_{false};
  std::vector<Task> parked_;
  SimLoop& world_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

/// "gateway.sequence|text".
inline std::string encode_sim_pages(const storage::CommitPages& pages) {
  return std::to_string(pages.request.gateway) + "." + std::to_string(pages.request.sequence) + "|" +
         pages.pages.at(0).second;
}
inline Result<storage::RequestOutcome> sim_request_of(std::string_view payload) {
  storage::RequestOutcome out;
  char* end = nullptr;
  const std::string text(payload);
  out.gateway = std::strtoull(text.c_str(), &end, 10);
  out.sequence = std::strtoull(end + 1, &end, 10);
  out.tag = end + 1;
  return out;
}

class SimCluster;

struct SimNode final : Transport, NodeDirectory {
  SimNode(SimCluster& c, NodeId i) : cluster(c), id(i) {}
  void send(NodeId to, proto::RangeMessage message) override;
  std::optional<Incarnation> live(NodeId node) const override;
  std::string store_of(NodeId node) const override { return "s" + node.to_string(); }
  bool draining(NodeId node) const override;
  bool stepping_out(NodeId node) const override;
  Result<std::vector<meta::Compare>> admit_replica(NodeId node) const override;
  bool gone_for_good(NodeId node) const override;

  SimCluster& cluster;
  const NodeId id;
  Incarnation incarnation{};
  std::shared_ptr<FakeDisk> disk = std::make_shared<FakeDisk>();
  std::shared_ptr<MetaWeather> weather = std::make_shared<MetaWeather>();
  // The process; gone after a crash. Order matters: what is below uses what is above.
  std::unique_ptr<NodeLoop> loop;
  std::unique_ptr<FakeStore> store;
  std::unique_ptr<FakeLogWriter> logs;
  std::unique_ptr<FakeWorkers> workers;
  std::unique_ptr<FakeMeta> meta;
  std::unique_ptr<Replicas> replicas;
  bool up() const { return replicas != nullptr; }
  bool runs() const { return up() && !loop->frozen(); }
};

class SimCluster {
  struct Grave {
    std::unique_ptr<NodeLoop> loop;
    std::unique_ptr<FakeStore> store;
    std::unique_ptr<FakeLogWriter> logs;
    std::unique_ptr<FakeWorkers> workers;
    std::unique_ptr<FakeMeta> meta;
  };
  std::vector<Grave> graveyard_;  // outlives the world's tasks

 public:
  SimCluster(std::uint64_t seed, int nodes, PlantedBugs planted = {}, std::function<void(Parameters&)> adjust = {})
      : random(seed), bugs(planted) {
    core->on_put = [this](const meta::KeyValue& kv) { check_record(kv); };
    for (int i = 1; i <= nodes; ++i) {
      auto node = std::make_unique<SimNode>(*this, NodeId(static_cast<std::uint32_t>(i)));
      node->disk->on_append = [this](RangeId range, const storage::LogEntry& entry) { check_append(range, entry); };
      nodes_.push_back(std::move(node));
    }
    parameters.recovery_wait = std::chrono::seconds(3);
    parameters.scrub_rate = 0;
    parameters.removal_idle = std::chrono::milliseconds(200);
    if (adjust) adjust(parameters);
    for (auto& node : nodes_) start(*node);
  }
  ~SimCluster() {
    for (auto& node : nodes_) kill(*node);
  }

  SimNode& node(std::uint32_t id) { return *nodes_.at(id - 1); }
  std::vector<std::unique_ptr<SimNode>>& nodes() { return nodes_; }

  void start(SimNode& node) {
    if (node.up()) return;
    node.incarnation = Incarnation(++last_incarnation_);
    trace("start node " + node.id.to_string() + " incarnation " + node.incarnation.to_string());
    node.loop = std::make_unique<NodeLoop>(world);
    node.store = std::make_unique<FakeStore>(node.disk);
    node.logs = std::make_unique<FakeLogWriter>(*node.loop, random);
    node.workers = std::make_unique<FakeWorkers>(*node.loop, random);
    node.meta = std::make_unique<FakeMeta>(core, world, *node.loop, random, node.weather);
    const NodeId id = node.id;
    const Incarnation incarnation = node.incarnation;
    Replicas::Deps deps{
        .loop = *node.loop,
        .store = *node.store,
        .logs = *node.logs,
        .workers = *node.workers,
        .meta = *node.meta,
        .transport = node,
        .nodes = node,
        .encode = encode_sim_pages,
        .request_of = sim_request_of,
        .lease_deadline = [this] { return fast_reads ? Instant::max() : Instant(); },
        .on_leases_changed =
            [this, id, incarnation](RangeId range, Epoch epoch, bool leading) {
              if (leading) check_lease(range, epoch, id, incarnation);
            },
        .on_fenced = [this, id] { world.post([this, id] { kill(node_of(id)); }); },
        .on_disk_failure = [this, id](RangeId, const Error&, bool marked) { disk_failures[id] += marked ? 1 : 0; }};
    node.replicas =
        std::make_unique<Replicas>(std::move(deps), Identity{id, "s" + id.to_string(), incarnation}, parameters, bugs);
    node.replicas->start();
    for (auto& other : nodes_) connect(node, *other);
  }
  /// kill -9, or power loss: what was not synced may be lost. The supervisor fences it after a while.
  void kill(SimNode& node) {
    if (!node.up()) return;
    trace("kill node " + node.id.to_string());
    for (auto& other : nodes_) disconnect(node, *other);
    node.replicas.reset();
    node.loop->end();
    node.meta->end();
    // Tasks that will never run still refer to these.
    graveyard_.push_back({std::move(node.loop), std::move(node.store), std::move(node.logs), std::move(node.workers),
                          std::move(node.meta)});
    node.disk->crash(random);
    fence_after(node.id, node.incarnation, std::chrono::milliseconds(5 + random.below(100)));
  }
  void fence_after(NodeId id, Incarnation incarnation, Duration delay) {
    world.after(delay, [this, id, incarnation] {
      const std::string key = meta::keys::fence({id, incarnation});
      if (core->kvs.contains(key)) return;
      trace("put " + key);
      core->put(key, "x");
    });
  }
  SimNode& node_of(NodeId id) { return *nodes_.at(id.value - 1); }

  // Links.
  using Pair = std::pair<NodeId, NodeId>;
  static Pair pair(NodeId a, NodeId b) { return a < b ? Pair(a, b) : Pair(b, a); }
  void cut(NodeId a, NodeId b) {
    trace("cut " + a.to_string() + "-" + b.to_string());
    cut_.insert(pair(a, b));
    disconnect(node_of(a), node_of(b));
  }
  void heal(NodeId a, NodeId b) {
    cut_.erase(pair(a, b));
    connect(node_of(a), node_of(b));
  }
  void connect(SimNode& a, SimNode& b) {
    if (a.id == b.id || !a.up() || !b.up() || cut_.contains(pair(a.id, b.id)) || links_[pair(a.id, b.id)].up) return;
    Link& link = links_[pair(a.id, b.id)];
    link.up = true;
    ++link.generation;
    tell(a, b, [inc = b.incarnation, from = b.id](Replicas& replicas) { replicas.peer_up(from, inc); });
    tell(b, a, [inc = a.incarnation, from = a.id](Replicas& replicas) { replicas.peer_up(from, inc); });
  }
  void disconnect(SimNode& a, SimNode& b) {
    Link& link = links_[pair(a.id, b.id)];
    if (!link.up) return;
    link.up = false;
    ++link.generation;
    for (auto [to, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      if (!to->up()) continue;
      Instant& last = link.last[to->id < other->id ? 0 : 1];
      last = std::max(last, world.now() + delay());
      to->loop->after(last - world.now(), [to, gone = other->id] { to->replicas->peer_down(gone); });
    }
  }
  /// Delivers in order per direction, unless the connection breaks before.
  void tell(SimNode& to, SimNode& from, std::function<void(Replicas&)> what) {
    const Pair key = pair(to.id, from.id);
    Link& link = links_[key];
    if (!link.up || !to.up()) return;
    Instant& last = link.last[to.id < from.id ? 0 : 1];
    last = std::max(last, world.now() + delay());
    to.loop->after(last - world.now(), [this, &to, key, generation = link.generation, what = std::move(what)] {
      if (links_[key].generation == generation) what(*to.replicas);
    });
  }
  Duration delay() { return std::chrono::microseconds(50 + random.below(random.below(10) == 0 ? 5000 : 500)); }

  // Work.
  placement::RangeConfig create_range(RangeId range, NodeId on) {
    SimNode& first = node_of(on);
    auto config = placement::create_range(range, DatabaseId(1), on, "s" + on.to_string(), first.incarnation);
    core->put(std::string(meta::keys::kRangeCounter), range.to_string());
    core->put(meta::keys::range(range), placement::encode(config));
    return config;
  }
  std::optional<placement::RangeConfig> record(RangeId range) const {
    const auto it = core->kvs.find(meta::keys::range(range));
    if (it == core->kvs.end()) return std::nullopt;
    return placement::decode_range_config(it->second.value).value();
  }
  LeasedRangePtr leader(RangeId range, SimNode** where = nullptr) {
    LeasedRangePtr best;
    for (auto& node : nodes_) {
      if (!node->runs()) continue;
      auto found = node->replicas->find(range, Epoch());
      if (!found.ok() || (best && best->epoch() > (*found)->epoch())) continue;
      best = *found;
      if (where != nullptr) *where = node.get();
    }
    return best;
  }
  /// One write through the lock, on `node`, as the executor does it; counts how it ended.
  void write(SimNode& node, RangeId range) {
    if (!node.runs()) return;
    auto found = node.replicas->find(range, Epoch());
    if (!found.ok() || !(*found)->admit().ok()) return;
    const LeasedRangePtr leased = *found;
    if (!leased->admit_write().ok()) return void(++refused);
    const std::string text = "w" + std::to_string(++writes) + std::string(random.below(300), 'x');
    leased->writer_lock().acquire(
        world.now() + std::chrono::seconds(1), false,
        [this, weak = std::weak_ptr(leased), range, text](Result<WriterLock::Hold> hold) {
          const auto lease = weak.lock();
          if (!hold.ok() || !lease || !lease->admit_write().ok()) return;
          auto lsn = static_cast<FakeDatabase&>(lease->database()).write(text);
          hold->release();
          if (!lsn.ok()) return;
          lease->wait_durable(*lsn, Waits::kWrite, [this, range, lsn = *lsn, epoch = lease->epoch()](Result<void> r) {
            written(range, lsn, epoch, r);
          });
        });
  }
  void written(RangeId range, Lsn lsn, Epoch epoch, const Result<void>& result) {
    if (result.ok()) {
      ++acknowledged;
      told_[range] = std::max(told_[range], lsn);
      must_hold(range, lsn, epoch, "an acknowledged write");
    } else if (result.error().code == Errc::kTransactionLost) {
      ++undone;
      undone_.emplace_back(range, lsn, epoch);
    }
  }
  /// One read on `node`, which must see whatever any client had been told before it began. In a cluster of fast reads a
  /// leaseholder that was fenced is left out: its lease deadline keeps it from answering, and is not simulated here.
  void read(SimNode& node, RangeId range) {
    if (!node.runs()) return;
    auto found = node.replicas->find(range, Epoch());
    if (!found.ok() || !(*found)->admit().ok()) return;
    const LeasedRangePtr leased = *found;
    if (fast_reads && core->kvs.contains(meta::keys::fence({node.id, node.incarnation}))) return;
    const Lsn told = told_[range], snapshot = leased->assigned();
    const bool stalled = !leased->admit_write().ok();
    auto answer = [this, range, told, snapshot, stalled, where = node.id](Result<void> durable) {
      if (!durable.ok()) return;
      ++(stalled ? stalled_reads : reads);
      if (snapshot < told)
        fail("I3: node " + where.to_string() + " answers a read from LSN " + snapshot.to_string() + " after LSN " +
             told.to_string() + " was acknowledged");
      told_[range] = std::max(told_[range], snapshot);
    };
    auto gate = [weak = std::weak_ptr(leased), snapshot, answer = std::move(answer)](Result<void> confirmed) {
      if (const auto lease = weak.lock(); confirmed.ok() && lease) lease->wait_durable(snapshot, Waits::kRead, answer);
    };
    if (leased->reads_allowed(world.now())) return gate({});
    leased->confirm_reads(std::move(gate));
  }
  void step(Duration d) {
    for (auto& node : nodes_)  // each process looks at its disk now and then
      if (node->runs() && random.below(10) == 0) node->replicas->set_disk_low(node->disk->full);
    world.advance(d);
    check();
  }
  void freeze(SimNode& node) {
    if (!node.runs()) return;
    trace("stop node " + node.id.to_string());
    node.loop->freeze();
  }
  void thaw(SimNode& node) {
    if (!node.up() || node.runs()) return;
    trace("node " + node.id.to_string() + " goes on");
    node.loop->thaw();
  }
  void fail(const std::string& what) {
    if (violation.empty()) violation = what;
    trace("VIOLATION " + what);
  }
  /// OUTLAST_TRACE=1 prints the history with its simulated time.
  void trace(const std::string& what) {
    static const bool on = std::getenv("OUTLAST_TRACE") != nullptr;
    if (on)
      std::fprintf(stderr, "%10.3f ms  %s\n",
                   std::chrono::duration<double, std::milli>(world.now().time_since_epoch()).count() - 3'600'000,
                   what.c_str());
  }

  // The invariants.
  void check_append(RangeId range, const storage::LogEntry& entry) {  // I1
    const LogPosition& at = entry.at;
    const auto [it, fresh] = entries_.emplace(std::tuple(range, at.lsn, at.epoch), at.checksum);
    if (!fresh && it->second != at.checksum)
      fail("I1: two entries at LSN " + at.lsn.to_string() + " of epoch " + at.epoch.to_string());
    facts_[std::tuple(range, at.lsn, at.epoch)] = {entry.prev.epoch, id_of(*sim_request_of(entry.payload))};
  }
  /// I8: a leaseholder said that this request is not applied, or refused it.
  void said_not_applied(const RequestId& id) {
    not_applied_.insert(id);
    if (committed_ids_.contains(id)) fail("I8: request " + std::to_string(id.sequence) + " was applied all the same");
  }
  bool is_committed(const RequestId& id) const { return committed_ids_.contains(id); }
  /// Walks down from a committed entry to what was known to be committed before.
  void note_prefix(RangeId range, Lsn lsn, Epoch epoch) {
    auto& prefix = prefixes_[range];
    for (; lsn.value > 0; lsn = Lsn(lsn.value - 1)) {
      const auto [it, fresh] = prefix.emplace(lsn, epoch);
      if (!fresh && it->second == epoch) return;
      if (!fresh) return fail("the committed prefix changed at LSN " + lsn.to_string());
      const auto fact = facts_.find(std::tuple(range, lsn, epoch));
      if (fact == facts_.end()) return;
      if (const RequestId& id = fact->second.request; id) {
        if (!committed_ids_.insert(id).second) fail("request " + std::to_string(id.sequence) + " was applied twice");
        if (not_applied_.contains(id))
          fail("I8: request " + std::to_string(id.sequence) + " was said to be not applied, and came later");
      }
      epoch = fact->second.prev_epoch;
    }
  }
  void check_record(const meta::KeyValue& kv) {  // I5
    if (!kv.key.starts_with(meta::keys::kRanges)) return;
    trace(kv.value);
    const auto config = placement::decode_range_config(kv.value).value();
    if (static_cast<int>(config.insync.size()) < config.min_insync) fail("I5: S below min_insync");
    // A member has everything committed from the moment it is one.
    for (const placement::ReplicaRef& ref : config.insync) check_member(config.range, ref, "after a change");
  }
  void check_lease(RangeId range, Epoch epoch, NodeId id, Incarnation incarnation) {  // I3
    trace("node " + id.to_string() + " serves epoch " + epoch.to_string());
    const auto [it, fresh] = leases_.emplace(std::pair(range, epoch), std::pair(id, incarnation));
    if (!fresh && it->second != std::pair(id, incarnation)) fail("I3: two leaders in epoch " + epoch.to_string());
  }
  void must_hold(RangeId range, Lsn lsn, Epoch epoch, const std::string& what) {
    const auto entry = entries_.find(std::tuple(range, lsn, epoch));
    if (entry == entries_.end()) return fail(what + " is in no log");
    note_committed(range, {lsn, epoch, entry->second}, what);
  }
  void note_committed(RangeId range, const LogPosition& at, const std::string& what) {
    if (at.lsn.value == 0) return;
    const auto [it, fresh] = committed_[range].emplace(at.lsn, at);
    if (!fresh && it->second != at)
      fail(what + " at LSN " + at.lsn.to_string() + " (epoch " + at.epoch.to_string() + ") conflicts with epoch " +
           it->second.epoch.to_string());
    if (fresh) note_prefix(range, at.lsn, at.epoch);
  }
  void check() {
    for (auto& node : nodes_) {  // what anybody believes to be committed
      if (!node->up()) continue;
      for (const RangeStats& stats : node->replicas->stats().ranges) {
        const auto files = node->disk->ranges.find(stats.range);
        if (files == node->disk->ranges.end()) continue;
        if (const auto at = files->second.at(stats.durable))
          note_committed(stats.range, *at, "node " + node->id.to_string() + " says durable");
      }
    }
    for (const auto& [range, positions] : committed_) {
      const auto config = record(range);
      if (config)
        for (const placement::ReplicaRef& ref : config->insync) check_member(range, ref, "at rest");
    }
    for (auto& node : nodes_)  // I6
      for (const auto& [range, files] : node->disk->ranges) {
        if (files.applied.lsn.value == 0) continue;
        const auto& committed = committed_[range];
        if (committed.empty() || files.applied.lsn > committed.rbegin()->first)
          fail("I6: node " + node->id.to_string() + " applied LSN " + files.applied.lsn.to_string() +
               ", which is not durable");
        else if (const auto it = committed.find(files.applied.lsn);
                 it != committed.end() && it->second != files.applied)
          fail("I6: node " + node->id.to_string() + " applied another entry than was committed");
      }
  }
  void check_member(RangeId range, const placement::ReplicaRef& ref, const std::string& when) {  // I2, I7
    const auto& committed = committed_[range];
    if (committed.empty()) return;
    const LogPosition top = committed.rbegin()->second;
    const auto files = node_of(ref.node).disk->ranges.find(range);
    const std::string who = "I2 (" + when + "): member " + ref.node.to_string();
    if (files == node_of(ref.node).disk->ranges.end()) return fail(who + " has no replica");
    if (files->second.identity.replica != ref.replica) return fail("I7: replica id differs");
    if (files->second.start.lsn >= top.lsn) return;
    const auto at = files->second.at(top.lsn);
    if (!at || files->second.synced_end().lsn < top.lsn || *at != top)
      fail(who + " lacks committed LSN " + top.lsn.to_string());
    for (const auto& [of, lsn, epoch] : undone_) {
      if (of != range || lsn > top.lsn) continue;
      const auto there = files->second.at(lsn);
      if (there && there->epoch == epoch)
        fail("LSN " + lsn.to_string() + " of epoch " + epoch.to_string() +
             " is committed, and its writer was told not");
    }
  }
  Lsn committed_end(RangeId range) { return committed_[range].empty() ? Lsn() : committed_[range].rbegin()->first; }

  SimLoop world;
  SeededRandom random;
  PlantedBugs bugs;
  Parameters parameters;
  std::shared_ptr<MetaCore> core = std::make_shared<MetaCore>();
  std::string violation;
  std::uint64_t writes{0}, acknowledged{0}, refused{0}, undone{0}, reads{0}, stalled_reads{0};
  std::set<NodeId> draining, stepping_out;                          ///< Call nodes_changed() after a change.
  std::set<NodeId> gone;                                            ///< For good; the same.
  std::function<Result<std::vector<meta::Compare>>(NodeId)> admit;  ///< None: every node gets replicas.
  bool fast_reads{true};                ///< Else no lease deadline covers anything: all reads are confirmed.
  std::map<int, std::uint64_t> sent;    ///< Messages by kind.
  std::map<NodeId, int> disk_failures;  ///< Reported, with the mark in the store.

 private:
  struct Link {
    bool up{false};
    std::uint64_t generation{0};
    Instant last[2]{};
  };
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::map<Pair, Link> links_;
  std::set<Pair> cut_;
  std::uint64_t last_incarnation_{0};
  std::map<std::tuple<RangeId, Lsn, Epoch>, std::uint32_t> entries_;
  struct Fact {
    Epoch prev_epoch;
    RequestId request;
  };
  std::map<std::tuple<RangeId, Lsn, Epoch>, Fact> facts_;
  std::map<RangeId, std::map<Lsn, Epoch>> prefixes_;
  std::unordered_set<RequestId> not_applied_, committed_ids_;
  std::map<std::pair<RangeId, Epoch>, std::pair<NodeId, Incarnation>> leases_;
  std::map<RangeId, std::map<Lsn, LogPosition>> committed_;
  std::map<RangeId, Lsn> told_;                          ///< The newest state that any client has heard of.
  std::vector<std::tuple<RangeId, Lsn, Epoch>> undone_;  ///< Their writers were told that nothing was applied.
};

inline void SimNode::send(NodeId to, proto::RangeMessage message) {
  ++cluster.sent[message.body_case()];
  cluster.tell(cluster.node_of(to), *this,
               [from = id, inc = incarnation, message = std::move(message), &world = cluster, to](Replicas& replicas) {
                 world.trace(from.to_string() + " -> " + to.to_string() + ": " + message.ShortDebugString());
                 replicas.on_message(from, inc, message);
               });
}
inline std::optional<Incarnation> SimNode::live(NodeId node) const {
  const SimNode& other = cluster.node_of(node);
  if (!other.runs() || cluster.core->kvs.contains(meta::keys::fence({node, other.incarnation}))) return std::nullopt;
  return other.incarnation;
}

inline bool SimNode::draining(NodeId node) const {
  return cluster.draining.contains(node);
}
inline Result<std::vector<meta::Compare>> SimNode::admit_replica(NodeId node) const {
  return cluster.admit ? cluster.admit(node) : std::vector<meta::Compare>();
}
inline bool SimNode::gone_for_good(NodeId node) const {
  return cluster.gone.contains(node);
}
inline bool SimNode::stepping_out(NodeId node) const {
  return cluster.stepping_out.contains(node);
}

}  // namespace outlast::replication::testing
