#include "tests/sim/process.h"

#include "meta/databases.h"
#include "meta/identity.h"
#include "storage/log_format.h"
#include "tests/sim/cluster.h"

namespace outlast::sim {
using namespace std::chrono_literals;

namespace {
constexpr Duration kAgain = 100ms;
constexpr Duration kSweep = 100ms;
}  // namespace

Process::Process(Cluster& cluster, Machine& machine, Owner owner)
    : loop(cluster.world, owner, machine.clock), cluster_(cluster), machine_(machine) {}

// What others point to goes last. Nothing that is planned meanwhile ever runs: the loop has ended.
Process::~Process() {
  loop.end();
  if (meta) meta->forget();
  channels_.clear();
  housekeeping.reset();
  placer.reset();
  executor.reset();
  replicas.reset();
  sql.reset();
  links.reset();
  office.reset();
  liveness.reset();
  state.reset();
  workers.reset();
  logs.reset();
  store.reset();
  meta.reset();
}

void Process::again(void (Process::*step)()) {
  loop.after(kAgain, [this, step] { (this->*step)(); });
}

void Process::leave(const Error& why) {
  cluster_.world.trace("machine " + std::to_string(machine_.index) + ": the process leaves: " + why.to_string());
  cluster_.exit(machine_);
}

void Process::start() {
  auto opened = storage::open_store(*machine_.disk, machine_.path);
  if (!opened.ok()) return leave(opened.error());
  store_dir = *std::move(opened);
  if (auto locked = store_dir->acquire_lock(); !locked.ok()) return leave(locked.error());
  meta = std::make_unique<SimMeta>(cluster_.meta, loop, machine_.weather);
  join();
}

void Process::join() {
  meta::read_cluster(*meta, [this](Result<meta::ClusterRecord> cluster) {
    if (!cluster.ok()) return again(&Process::join);
    if (auto fits = store_dir->check_cluster(cluster->id); !fits.ok()) return leave(fits.error());
    if (!store_dir->is_new()) return draw_incarnation();
    meta::allocate_node_id(*meta, [this, id = cluster->id](Result<NodeId> node) {
      if (!node.ok()) return again(&Process::join);
      auto set = store_dir->set_identity({id, cluster_.uuid(), *node});
      if (!set.ok()) return leave(set.error());
      draw_incarnation();
    });
  });
}

void Process::draw_incarnation() {
  node_ = store_dir->identity().node;
  store_uuid_ = store_dir->identity().store_uuid;
  machine_.node = node_;
  meta::draw_incarnation(*meta, node_, [this](Result<Incarnation> drawn) {
    if (!drawn.ok()) return again(&Process::draw_incarnation);
    if (auto kept = store_dir->record_incarnation(*drawn); !kept.ok()) return leave(kept.error());
    incarnation_ = *drawn;
    state = std::make_unique<server::ClusterState>(*meta, loop);
    mirror();
  });
}

void Process::mirror() {
  if (!state->ready()) {
    loop.after(5ms, [this] { mirror(); });
    return;
  }
  announce();
}

void Process::announce() {
  meta::NodeRecord record;
  record.node = node_;
  record.store_uuid = store_uuid_;
  record.rpc_addr = Cluster::address_of(machine_.index);
  record.incarnation = incarnation_;
  meta::register_node(*meta, record, [this](Result<meta::NodeRecord> stored) {
    if (stored.ok()) return become_live();
    const Errc code = stored.error().code;
    if (code == Errc::kWrongCluster || code == Errc::kInvalidState) return leave(stored.error());
    again(&Process::announce);
  });
}

void Process::become_live() {
  meta::LivenessDriver::Options options;
  options.self = self();
  options.addr = Cluster::address_of(machine_.index);
  options.params = cluster_.liveness_params();
  options.seed = cluster_.world.random().next();
  options.observer_bugs.timer_kept = cluster_.planted.observer_timer_kept;
  options.renewer_bugs.deadline_from_answer = cluster_.planted.deadline_from_answer;
  liveness = std::make_unique<meta::LivenessDriver>(*meta, loop, std::move(options));
  office = std::make_unique<meta::Office>(*meta, loop, self(), liveness->fences());
  state->attach(*liveness, *office);
  liveness->on_fenced([this] { leave({Errc::kFenced, "fenced"}); });
  liveness->on_peer([this](const meta::PeerView&) {
    refresh_peers();
    if (placer) placer->nudge();
  });
  state->nodes().on_batch([this] { refresh_peers(); });
  office->on_change([this](std::optional<liveness::Peer>, bool is_self) {
    liveness->set_leader_frontend(is_self);
    if (placer && is_self) placer->nudge();
  });
  SimLinks::Events events;
  events.up = [this](NodeId node, Incarnation inc) {
    if (replicas) replicas->peer_up(node, inc);
  };
  events.down = [this](NodeId node) {
    if (replicas) replicas->peer_down(node);
  };
  events.message = [this](NodeId from, Incarnation inc, proto::RangeMessage&& message) {
    if (replicas) replicas->on_message(from, inc, std::move(message));
  };
  links = std::make_unique<SimLinks>(cluster_, machine_.index, loop, node_, incarnation_, std::move(events));
  liveness->start(meta::Phase::kLive, [this](Result<void> ready) {
    if (!ready.ok()) return leave(ready.error());
    open_replicas();
  });
}

void Process::open_replicas() {
  storage::StoreOptions options;
  // Small, so that members fall behind the log and need snapshots.
  options.log_retain = [] { return storage::LogRetention::Limits{96U << 10, Duration{0}}; };
  options.log_segment_bytes = 32U << 10;
  options.cache_pages = 10;  // a transaction that changes more spills its pages into the WAL before it commits
  options.planted.frames_as_written = cluster_.planted.frames_as_written;
  auto opened = storage::open_replica_store(*machine_.disk, machine_.path, options);
  if (!opened.ok()) return leave(opened.error());
  store = watch_store(*std::move(opened), machine_.shadow);
  logs = std::make_unique<SimLogWriter>(loop, machine_.pace);
  workers = std::make_unique<SimWorkers>(loop, machine_.pace);
  replication::Replicas::Deps deps{loop,
                                   *store,
                                   *logs,
                                   *workers,
                                   *meta,
                                   *links,
                                   *state,
                                   [](const storage::CommitPages& pages) { return storage::encode(pages); },
                                   [](std::string_view payload) { return storage::request_of(payload); },
                                   [this] { return liveness->lease_deadline(); }};
  deps.on_leases_changed = [this](RangeId range, Epoch epoch, bool leading) {
    if (leading) cluster_.oracle.on_lease(range, epoch, node_, incarnation_);
    if (placer) placer->nudge();
  };
  deps.on_fenced = [this] { leave({Errc::kFenced, "fenced"}); };
  replication::Parameters parameters;
  parameters.ack_timeout = state->settings().duration("repl.ack_timeout");
  parameters.recovery_wait = state->settings().duration("recovery_wait");
  parameters.checkpoint_patience = Duration{0};  // nobody else runs while this thread would wait
  parameters.checkpoint_idle = 300ms;
  parameters.wal_bytes = 60 * 4'120;
  replicas =
      std::make_unique<replication::Replicas>(std::move(deps), replication::Identity{node_, store_uuid_, incarnation_},
                                              parameters, cluster_.planted.replication);
  replicas->start();
  refresh_peers();
  begin_to_serve();
}

void Process::begin_to_serve() {
  sql = std::make_unique<executor::SqlPool>(
      [this](Task task) { loop.plan(cluster_.world.between(5us, 150us) * machine_.pace.cpu, "sql", std::move(task)); });
  executor::Parameters limits;
  limits.planted_ungated_errors = cluster_.planted.ungated_errors;
  executor = std::make_unique<executor::Executor>(*replicas, *sql, loop, limits, nullptr);
  tasks::Placer::Ports ports;
  ports.in_office = [this] { return office->holds() && meta->connected(); };
  ports.view = [this] { return state->placement_view(); };
  ports.take = [this](const placement::Step& step, Callback<void> done) { take_step(step, std::move(done)); };
  placer = std::make_unique<tasks::Placer>(loop, std::move(ports));
  state->ranges().on_batch([this] { placer->nudge(); });
  housekeeping = std::make_unique<meta::Housekeeping>(*meta, loop, *office);
  office->stand();
  placer->start();
  serving_ = true;
  look();
  sweep();
}

void Process::refresh_peers() {
  if (replicas) links->set_peers(state->peers(node_));
}

/// Once a second: who is live, and the database of a new cluster.
void Process::look() {
  state->look(loop.now());
  if (office->holds() && state->databases().empty())
    meta::create_database(*meta, "db", {node_, incarnation_, store_uuid_}, loop.wall_micros(),
                          [](const Result<meta::DatabaseRecord>&) {});
  if (const auto space = machine_.disk->space(machine_.path); space.ok()) {
    disk_low_ = storage::is_low(*space, disk_low_);
    replicas->set_disk_low(disk_low_);
  }
  loop.after(1s, [this] { look(); });
}

void Process::sweep() {
  executor->sweep();
  loop.after(kSweep, [this] { sweep(); });
}

void Process::take_step(const placement::Step& step, Callback<void> done) {
  const auto entry = state->ranges().find(meta::keys::range(step.range));
  if (!entry || !entry->value.leaseholder) return done(Error(Errc::kNoLeaseholder, "nobody leads the range now"));
  const placement::Leaseholder holder = *entry->value.leaseholder;
  if (holder.node == node_) return replicas->place(step, std::move(done));
  const auto view = liveness->current(holder.node);
  StreamPtr stream;
  if (view && view->peer.incarnation == holder.incarnation)
    stream = cluster_.network.open(machine_.index, Cluster::machine_at(view->addr));
  if (!stream) return done(Error(Errc::kUnavailable, "the leaseholder's process is not live"));
  auto shared = std::make_shared<Callback<void>>(std::move(done));
  const auto answer = [shared](Result<void> result) {
    if (auto once = std::exchange(*shared, nullptr)) once(std::move(result));
  };
  stream->broken[0] = [answer] { answer(Error(Errc::kUnavailable, "the way to the leaseholder broke")); };
  Process* const target = cluster_.machine(stream->machines[1]).process.get();
  cluster_.network.send(stream, 1, "place", [&cluster = cluster_, target, stream, step, holder, answer] {
    if (!target->serving() || target->self().incarnation != holder.incarnation) return cluster.network.cut(stream);
    target->place(step, [&cluster, stream, answer](Result<void> result) {
      cluster.network.send(stream, 0, "placed", [answer, result = std::move(result)] { answer(result); });
    });
  });
}

void Process::place(const placement::Step& step, Callback<void> done) {
  replicas->place(step, std::move(done));
}

}  // namespace outlast::sim
