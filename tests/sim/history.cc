#include "tests/sim/history.h"

#include <algorithm>

#include "tests/sim/client.h"

namespace outlast::sim {
namespace {
using namespace std::chrono_literals;
constexpr int kObjects = 12;
constexpr Duration kStep = 5ms;

class History {
 public:
  explicit History(const HistoryOptions& options)
      : options_(options),
        cluster_(options.seed, 3 + static_cast<int>(options.seed % 3), options.planted, options.trace),
        trouble_(cluster_, *options.scenario) {
    cluster_.on_process_gone = [this](int machine) {
      for (auto& client : clients_) client->process_gone(machine);
    };
    for (int i = 0; i < 5; ++i) {
      clients_.push_back(std::make_unique<Client>(cluster_, histories_, i, kObjects));
      clients_.back()->at_leader = options.scenario->at_leader;
      clients_.back()->bulk = options.scenario->bulk;
    }
  }

  HistoryOutcome run() {
    come_up();
    if (good()) {
      trouble_.begin();
      pass([] { return false; }, options_.scenario->length);
      trouble_.stop();
    }
    if (good()) settle();
    if (good() && stuck_ == 0) compare_replicas();
    if (good()) check_clients();
    HistoryOutcome outcome;
    outcome.violation = cluster_.oracle.violation();
    outcome.hash = cluster_.world.hash();
    outcome.events = cluster_.world.events();
    outcome.messages = cluster_.network.messages;
    outcome.entries = cluster_.oracle.entries();
    outcome.done = histories_.done;
    outcome.unknown = histories_.unknown;
    outcome.failed = histories_.failed;
    outcome.resolved = histories_.resolved;
    outcome.undecided = undecided_;
    outcome.stuck = stuck_;
    outcome.recovered_ms = recovered_ms_;
    return outcome;
  }

 private:
  bool good() const { return cluster_.oracle.violation().empty(); }
  void fail(const std::string& what) { cluster_.oracle.fail(what); }

  /// Lets time pass until `done`; false when `limit` passed first.
  template <class Done>
  bool pass(Done done, Duration limit) {
    const Instant end = cluster_.world.now() + limit;
    while (good() && cluster_.world.now() < end) {
      if (done()) return true;
      cluster_.world.run_for(kStep);
      if (options_.states != nullptr) options_.states->insert(abstract_state());
    }
    return done();
  }

  void come_up() {
    bool ready = false;
    clients_[0]->set_up({"CREATE TABLE IF NOT EXISTS r(k INTEGER PRIMARY KEY, v TEXT)",
                         "CREATE TABLE IF NOT EXISTS l(k INTEGER PRIMARY KEY, v TEXT)",
                         "CREATE TABLE IF NOT EXISTS s(k INTEGER PRIMARY KEY, v TEXT)",
                         "CREATE TABLE IF NOT EXISTS w(k INTEGER PRIMARY KEY, v TEXT)"},
                        [&ready] { ready = true; });
    if (!pass([&] { return ready; }, 30s)) return fail("the cluster did not come up within 30 s: " + state_of_ranges());
    for (std::size_t i = 1; i < clients_.size(); ++i) clients_[i]->start();
    pass([this] { return whole(); }, 3s);
  }

  bool all_serve() {
    for (int i = 0; i < cluster_.size(); ++i) {
      const auto& process = cluster_.machine(i).process;
      if (!process || !process->serving() || process->liveness->is_fenced()) return false;
    }
    return true;
  }

  /// Every range has its replicas, all in sync, and somebody who serves it.
  bool whole() {
    for (const auto& [range, config] : cluster_.oracle.records())
      if (cluster_.leader_of(range) == nullptr || config.insync.size() < 3 || !config.learners.empty()) return false;
    return !cluster_.oracle.records().empty();
  }

  /// The one excuse of the protocol for a range that does not come back ("all of S lost: unavailable, named; unsafe
  /// recovery only by hand"): no member of S is left whose disk kept its word. Any other member can lead, replace the
  /// rest by learners and go on (A4.7). What clients saw must be true all the same.
  bool excused() {
    for (const auto& [range, config] : cluster_.oracle.records())
      if (std::ranges::none_of(config.insync, [&](const auto& ref) { return is_intact(range, ref); })) return true;
    return false;
  }
  bool is_intact(RangeId range, const placement::ReplicaRef& ref) {
    const Machine* machine = cluster_.find(ref.node);
    if (machine == nullptr) return false;  // wiped: it came back as another node
    const auto files = machine->shadow.ranges.find(range);
    if (files == machine->shadow.ranges.end() || files->second.damaged || machine->shadow.wiped.contains(range))
      return false;
    if (!machine->process || !machine->process->replicas) return true;
    const auto states = machine->process->replicas->states({range});
    return states.empty() || !states[0].damaged();  // a write of its log or its database failed
  }

  void settle() {
    cluster_.heal();
    for (int i = 0; i < cluster_.size(); ++i) cluster_.start(cluster_.machine(i));
    const Instant healed = cluster_.world.now();
    if (!pass([this] { return all_serve(); }, 10s)) return fail("not every process serves 10 s after all faults ended");
    // I9. A disk that broke its word costs the wait for all of S, and a learner that takes its place.
    const Instant quiet = cluster_.world.now();
    const Duration extra = trouble_.disk_betrayed() ? 10s : 0s;
    const Duration limit = cluster_.liveness_params().ttl + 2s + extra;
    if (!pass([&] { return histories_.last_write > quiet; }, limit)) {
      if (excused()) return static_cast<void>(stuck_ = 1);
      return fail("I9: no write is acknowledged within " + std::to_string(limit.count() / 1'000'000) +
                  " ms of quiet: " + state_of_ranges());
    }
    recovered_ms_ = std::chrono::duration<double, std::milli>(histories_.last_write - healed).count();
    if (!pass([this] { return whole() && all_serve(); }, 40s)) {
      if (excused()) return static_cast<void>(stuck_ = 1);
      return fail("not whole 40 s after all faults ended: " + state_of_ranges());
    }
    for (auto& client : clients_) client->stop();
    if (!pass([this] { return std::all_of(clients_.begin(), clients_.end(), [](auto& c) { return c->idle(); }); }, 20s))
      return fail("a client waits for an answer for 20 s though all is well");
    clients_.push_back(std::make_unique<Client>(cluster_, histories_, 9, kObjects));
    clients_.back()->read_all();
    if (!pass([this] { return clients_.back()->has_read_all(); }, 20s))
      return fail("the objects cannot be read though all is well: " + state_of_ranges());
    pass([] { return false; }, 600ms);  // backups learn and apply
  }

  void compare_replicas() {
    // A fence that was on its way when the faults ended may have cost a process since.
    if (!pass([this] { return whole() && all_serve(); }, 10s))
      return fail("not whole at the end: " + state_of_ranges());
    for (const auto& [range, config] : cluster_.oracle.records()) {
      auto digests = std::make_shared<std::vector<Result<storage::Digest>>>();
      for (const placement::ReplicaRef& ref : config.insync) {
        Process* const process = cluster_.find(ref.node)->process.get();
        process->loop.plan(1ms, "digest", [process, digests, id = range] {
          process->replicas->digest(id, [digests](Result<storage::Digest> d) { digests->push_back(std::move(d)); });
        });
      }
      if (!pass([&] { return digests->size() == config.insync.size(); }, 10s))
        return fail("a replica does not tell its digest");
      for (const auto& digest : *digests) {
        if (!digest.ok()) return fail("a digest fails: " + digest.error().to_string());
        if (digest->at != digests->front()->at) return fail("replicas do not reach the same position after quiet");
        if (digest->crc != digests->front()->crc || digest->file_size != digests->front()->file_size)
          return fail("the files of two replicas differ at one LSN");
      }
    }
  }

  void check_clients() {
    for (const auto& [object, history] : histories_.objects) {
      const Verdict verdict = check_linearizable(history);
      if (verdict == Verdict::kTooHard) ++undecided_;
      if (verdict != Verdict::kViolation) continue;
      for (const Operation& op : history) cluster_.world.trace(object + ": " + describe(op));
      return fail("the history of " + object + " is not linearizable (" + std::to_string(history.size()) +
                  " operations)");
    }
  }

  std::string state_of_ranges() {
    std::string out;
    for (const auto& [range, config] : cluster_.oracle.records()) {
      Process* const leader = cluster_.leader_of(range);
      out += placement::encode(config) + "; served by " + (leader ? leader->self().to_string() : "nobody");
      if (leader == nullptr) continue;
      const auto served = leader->replicas->find(range, Epoch());
      const auto admitted = (*served)->admit();
      out += admitted.ok() ? ", open" : ", " + admitted.error().to_string();
      out += ", assigned " + (*served)->assigned().to_string() + ", durable " + (*served)->durable().to_string();
    }
    return out.empty() ? "there is no range" : out;
  }

  /// What kind of situation this is, whichever machine plays which part and however far the logs are.
  std::uint64_t abstract_state() {
    std::uint64_t hash = 14695981039346656037ULL;
    const auto mix = [&hash](std::uint64_t v) { hash = (hash ^ v) * 1099511628211ULL; };
    for (const auto& [range, config] : cluster_.oracle.records()) {
      std::vector<std::uint64_t> parts;
      for (int i = 0; i < cluster_.size(); ++i) parts.push_back(part_of(cluster_.machine(i), config));
      std::sort(parts.begin(), parts.end());
      for (const std::uint64_t part : parts) mix(part);
      mix(config.insync.size() * 64 + config.learners.size() * 8 + config.removed.size());
      mix(static_cast<std::uint64_t>(config.min_insync) * 2 + (config.leaseholder ? 1 : 0));
    }
    mix(cluster_.meta.up ? 1 : 0);
    return hash;
  }
  std::uint64_t part_of(Machine& machine, const placement::RangeConfig& config) {
    std::uint64_t bits = 0;
    const auto bit = [&bits](bool b) { bits = bits * 2 + (b ? 1 : 0); };
    Process* const process = machine.process.get();
    bit(process != nullptr);
    bit(process != nullptr && process->serving());
    bit(process != nullptr && (process->loop.paused() || process->loop.stalled()));
    bit(machine.weather.cut);
    bit(config.find_insync(machine.node) != nullptr);
    bit(config.find_learner(machine.node) != nullptr);
    bit(config.leaseholder && config.leaseholder->node == machine.node);
    bit(config.leaseholder && process != nullptr &&
        *config.leaseholder == placement::Leaseholder{process->self().node, process->self().incarnation});
    const auto files = machine.shadow.ranges.find(config.range);
    bit(files != machine.shadow.ranges.end());
    if (files != machine.shadow.ranges.end()) {
      const Shadow& mine = files->second;
      const Lsn committed = cluster_.oracle.committed_end(config.range);
      bit(mine.end().lsn > committed);
      bit(mine.end().lsn < committed);
      bit(mine.synced < mine.log.size());
      bit(mine.end().epoch < config.epoch);
      bit(mine.applied.lsn < committed);
    }
    if (process != nullptr && process->replicas)
      for (const auto& stats : process->replicas->stats().ranges) bit(stats.leading), bit(stats.serving);
    return bits;
  }

  const HistoryOptions options_;
  Cluster cluster_;
  Trouble trouble_;
  Histories histories_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::uint64_t undecided_{0}, stuck_{0};
  double recovered_ms_{0};
};

}  // namespace

namespace {
HistoryOutcome run_membership(const HistoryOptions& options) {
  const MembershipOutcome outcome = MembershipHistory(options.seed, options.planted.membership, options.trace).run();
  HistoryOutcome out;
  out.violation = outcome.violation;
  out.hash = outcome.hash;
  out.events = out.done = outcome.steps + outcome.orders;
  out.recovered_ms = outcome.settled_ms;
  return out;
}
}  // namespace

HistoryOutcome run_history(const HistoryOptions& options) {
  if (options.scenario->membership) return run_membership(options);
  return History(options).run();
}

}  // namespace outlast::sim
