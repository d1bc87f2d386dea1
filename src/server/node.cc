#include "server/node.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>

#include "base/version.h"
#include "handover/control.h"
#include "handover/supervisor.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "server/blocking.h"
#include "server/collector.h"
#include "server/drain_api.h"
#include "server/init.h"
#include "server/lease_api.h"
#include "server/log.h"
#include "server/meta_url.h"
#include "server/node_file.h"
#include "server/ports.h"
#include "server/restart_api.h"
#include "server/supervise.h"
#include "storage/log_format.h"
#include "storage/vfs_shim.h"

namespace outlast::server {
using namespace std::chrono_literals;
using handover::ControlMessage;

namespace {
// After the drain: for what came back or had nowhere to go.
constexpr Duration kStopSessions = 1s, kStopLeases = 1s;
}  // namespace

Node::Node(WorkerOptions options)
    : options_(std::move(options)),
      roles_(roles_of(options_.start)),
      grace_(options_.start.grace),
      max_connections_(options_.start.max_connections),
      source_only_(options_.source_only) {}

// What others point to goes last: see the order of members. Everything that lives on the loop is destroyed there.
Node::~Node() {
  // Before the link to the supervisor: what a handover or a drain still has to say on the loop goes through it.
  loop_.run_and_wait([this] {
    handover_in_.reset();
    handover_out_.reset();
    rolling_.reset();
    drain_.reset();
  });
  link_.reset();
  if (ingest_) (void)ingest_->hand_over();  // waits for answers, and they for the loop
  loop_.run_and_wait([this] {               // behind what the link had posted; open answers end with them
    ingest_.reset();
    placer_.reset();
    partition_keeper_.reset();
    load_keeper_.reset();
    tasks_.reset();
    range_admin_.reset();
  });
  if (http_) http_->stop();
  if (remote_) remote_->stop();
  if (links_) loop_.run_and_wait([this] { links_->stop(); });
  if (rpc_server_) rpc_server_->stop();
  sql_pool_.stop();
  io_.stop();
  bulk_io_.stop();
  sql_.reset();
  cluster_.reset();
  executor_.reset();
  workers_.stop();
  copiers_.stop();
  log_writer_.reset();
  loop_.run_and_wait([this] {
    housekeeping_.reset();
    status_writer_.reset();
    store_health_.reset();
    replicas_.reset();
    office_.reset();
    liveness_.reset();
    state_.reset();
    links_.reset();
    meta_.reset();
  });
  loop_.stop();
}

Result<void> Node::open_store_and_meta() {
  disk_ = storage::make_posix_disk();
  ASSIGN_OR_RETURN(store_, storage::open_store(*disk_, options_.start.store));
  if (!options_.standby) TRY(store_->acquire_lock());
  ASSIGN_OR_RETURN(meta_, open_meta(options_.start.meta, loop_));
  if (options_.start.single_node) {
    const auto made = wait_on<void>(loop_, [&](Callback<void> done) {
      meta::init_cluster(*meta_, new_uuid(), loop_.wall_micros(), std::move(done));
    });
    if (!made.ok() && made.error().code != Errc::kAlreadyInitialised) return made.error();
  }
  return {};
}

void Node::start_http() {
  http_addr_ = handover::address_of(handover::kHttpFd);
  add_metrics();
  HttpPorts ports;
  ports.nodes = [this] { return serving_ ? state_->node_status() : proto::NodeStatusReply(); };
  ports.nodes_and_work = [this](Callback<proto::NodeStatusReply> done) { nodes_and_work(std::move(done)); };
  ports.tasks = [this](Callback<proto::TasksReply> done) { list_tasks(std::move(done)); };
  add_range_ports(ports);
  http_ = std::make_unique<http::Server>(io_.first());
  add_probe_routes(*http_, {.not_ready = [this] { return not_ready(); }, .metrics = &metrics_});
  add_routes(*http_, std::move(ports));
  add_lease_routes(
      *http_, [this](std::optional<NodeId> to, std::size_t at_once, Callback<replication::LeaseTransferProgress> done) {
        transfer_leases(to, at_once, std::move(done));
      });
  add_drain_routes(*http_,
                   {.drain = [this](proto::DrainRequest request,
                                    Callback<proto::DrainStatus> done) { drain(std::move(request), std::move(done)); },
                    .not_ready = [this] { return not_ready(); }});
  add_restart_routes(*http_, restart_ports(restarts_, *link_));
  add_ingest_route(*http_, [this] { return serving_ ? ingest_.get() : nullptr; });
  if (roles_.frontend) add_loads();
}

Result<void> Node::start_rpc() {
  const rpc::Hello hello{member_.cluster, member_.node, member_.incarnation};
  rpc::PeerLinks::Events events;
  events.up = [this](NodeId node, Incarnation inc) {
    if (replicas_) replicas_->peer_up(node, inc);
  };
  events.down = [this](NodeId node) {
    if (replicas_) replicas_->peer_down(node);
  };
  events.message = [this](NodeId from, Incarnation inc, proto::RangeMessage&& message) {
    if (replicas_ && !cut_off_.contains(from)) replicas_->on_message(from, inc, std::move(message));
  };
  links_ = std::make_unique<rpc::PeerLinks>(loop_, loop_.executor(), bulk_io_.first(), hello, std::move(events));
  remote_ = std::make_unique<rpc::RemoteChannels>(hello);
  rpc_client_ = std::make_unique<rpc::Client>(hello);
  // Each process has its own address (A8.1); the configured one is free for a standby when the old worker has gone.
  const std::string bind_host = options_.start.listen_addr.substr(0, options_.start.listen_addr.rfind(':'));
  const std::string address = options_.standby ? bind_host + ":0" : options_.start.listen_addr;
  ASSIGN_OR_RETURN(rpc_server_, rpc::Server::start(address, services(), io_.executors()));
  const std::string host = options_.start.advertise_addr.empty() ? bind_host : options_.start.advertise_addr;
  rpc_addr_ = host + ":" + std::to_string(rpc_server_->port());
  return {};
}

Result<void> Node::start_liveness(meta::Phase phase) {
  if (const std::string dir = life_lock_directory(options_.start.meta); !dir.empty()) {
    ASSIGN_OR_RETURN(life_locks_, meta::LifeLocks::open(dir));
    TRY(life_locks_->hold(self()));
  }
  tell_supervisor(ControlMessage::Kind::kIncarnation);
  const auto ready = [this] {
    bool ready = false;
    loop_.run_and_wait([&] { ready = state_->ready(); });
    return ready;
  };
  loop_.run_and_wait([this] { state_ = std::make_unique<ClusterState>(*meta_, loop_); });
  while (!ready())
    if (wait_for_end(5ms) != Ending::kNone) return Error(Errc::kShuttingDown, "stopped while starting");
  loop_.run_and_wait([this] {
    meta::LivenessDriver::Options options;
    options.self = self();
    options.addr = rpc_addr_;
    options.params = state_->settings().liveness_params();
    options.seed = static_cast<std::uint64_t>(clock_.wall_micros()) ^ (std::uint64_t{member_.node.value} << 48);
    options.deaths = life_locks_.get();
    liveness_ = std::make_unique<meta::LivenessDriver>(*meta_, loop_, std::move(options));
    office_ = std::make_unique<meta::Office>(*meta_, loop_, self(), liveness_->fences());
    state_->attach(*liveness_, *office_);
    liveness_->on_fenced([this] { end(Ending::kFenced); });
    liveness_->on_peer([this](const meta::PeerView& peer) {
      if (peer.state == liveness::State::kFenced) remote_->fence(peer.peer.node, peer.peer.incarnation);
      refresh_peers();
      if (placer_) placer_->nudge();
    });
    confirm_all_reads_ = state_->settings().text("sql.reads").value() == "confirmed";
    state_->settings().on_change([this](std::string_view name) {
      if (name.starts_with("liveness.")) liveness_->set_params(state_->settings().liveness_params());
      if (name == "scrub.rate" && replicas_) replicas_->set_scrub_rate(state_->settings().bytes("scrub.rate"));
      if (name == "sql.reads") confirm_all_reads_ = state_->settings().text("sql.reads").value() == "confirmed";
      if (name == "kv.snapshot_rebalance.max_rate" && replicas_)
        replicas_->set_snapshot_rate(state_->settings().bytes(name));
    });
    state_->nodes().on_batch([this] { refresh_peers(); });
    watch_memberships();
    office_->on_change([this](std::optional<liveness::Peer>, bool is_self) {
      liveness_->set_leader_frontend(is_self);
      if (!placer_ || !is_self) return;
      ensure_default_database();
      placer_->nudge();
      tasks_->nudge();
    });
  });
  return wait_on<void>(loop_, [this, phase](Callback<void> done) { liveness_->start(phase, std::move(done)); });
}

Result<void> Node::start_replicas() {
  TRY(open_replica_store());
  log_writer_ = storage::make_log_writer();
  transport_ = make_transport(*links_);
  loop_.run_and_wait([this] {
    replication::Replicas::Deps deps{loop_,
                                     *replica_store_,
                                     *log_writer_,
                                     workers_,
                                     *meta_,
                                     *transport_,
                                     *state_,
                                     [this](const storage::CommitPages& pages) {
                                       return storage::encode(pages, log_format_.load(std::memory_order_relaxed));
                                     },
                                     [](std::string_view payload) { return storage::request_of(payload); },
                                     [this] { return liveness_->lease_deadline(); }};
    deps.confirm_all_reads = [this] { return confirm_all_reads_.load(std::memory_order_relaxed); };
    deps.copiers = &copiers_;
    deps.on_leases_changed = [this](RangeId, Epoch, bool) {
      if (placer_) placer_->nudge();
    };
    deps.on_replica_damaged = [this](RangeId range, const Error& why) { report_damage(range, why); };
    deps.on_fenced = [this] { end(Ending::kFenced); };
    deps.on_disk_failure = [this](RangeId range, const Error& why, bool marked) {
      store_health_->failed(range, why, marked);
    };
    deps.on_record_regressed = [this](RangeId range, const Error& why) { note_regression(range, why); };
    replicas_ = std::make_unique<replication::Replicas>(
        std::move(deps), replication::Identity{member_.node, member_.store_uuid, member_.incarnation},
        replication_parameters(state_->settings()));
    range_admin_ = std::make_unique<RangeAdmin>(RangeAdmin::Ports{
        loop_, *meta_, *rpc_client_, *state_, *liveness_, *office_, *replicas_, member_.node, options_.start.meta});
  });
  executor_ = std::make_unique<executor::Executor>(*replicas_, sql_pool_, clock_, executor::Parameters(),
                                                   connection_setup(clock_));
  // Only now may a route lead here.
  loop_.run_and_wait([this] {
    replicas_->start();
    refresh_peers();
  });
  sweep_forever();
  return {};
}

void Node::start_gateway() {
  channels_ = std::make_unique<gateway::LocalOrRemoteChannels>(
      member_.node, member_.incarnation,
      [this] { return executor_->open_channel(replication::gateway_number(member_.node, member_.incarnation)); },
      [this](NodeId node, Incarnation incarnation) -> Result<std::unique_ptr<executor::Channel>> {
        if (state_->gone_for_good(node))
          return Error(Errc::kUnavailable, "node " + node.to_string() + " is decommissioned");
        const auto view = liveness_->find({node, incarnation});
        if (!view || view->addr.empty())
          return Error(Errc::kUnavailable, "node " + node.to_string() + " has no live process of that incarnation");
        return remote_->open(node, incarnation, view->addr);
      });
  cluster_ = std::make_unique<gateway::ClusterImpl>(cluster_ports(), state_->routes(), *channels_, clock_);
  sql::SessionOptions options;
  options.sessions_max = max_connections_;
  options.forward_cancel = [this](std::int32_t pid, std::string_view key) {
    loop_.post([this, pid, key = std::string(key)] {
      if (handover_in_) handover_in_->cancel(pid, key);
    });
    return true;
  };
  options.engine = engine_ = sql::make_engine(*cluster_, clock_, [this] { return compute_places(); });
  sql_ = std::make_unique<sql::SqlServer>(io_.executors(), *cluster_, clock_, options);
  if (roles_.frontend) sql_addr_ = handover::address_of(handover::kSqlFd);
}

/// The node's record, NODE.json, and the SQL port.
Result<void> Node::announce() {
  meta::NodeRecord record;
  record.node = member_.node;
  record.store_uuid = member_.store_uuid;
  record.rpc_addr = rpc_addr_;
  record.roles = roles_;
  if (roles_.frontend) record.sql_addr = handover::address_of(handover::kSqlFd);
  record.http_addr = http_addr_;
  record.build = program_version();
  record.log_format = storage::kLogFormat;
  ASSIGN_OR_RETURN(record.locality, placement::parse_locality(options_.start.locality));
  record.incarnation = member_.incarnation;
  record.started_micros = clock_.wall_micros();
  const auto registered = wait_on<meta::NodeRecord>(
      loop_, [&](Callback<meta::NodeRecord> done) { meta::register_node(*meta_, record, std::move(done)); });
  if (!registered.ok()) return registered.error();
  distrust_store_ = registered->store.unmarked;
  return {};
}

void Node::start_placement() {
  loop_.run_and_wait([this] {
    start_tasks();
    placer_ = std::make_unique<tasks::Placer>(loop_, placer_ports());
    state_->ranges().on_batch([this] {
      if (placer_) placer_->nudge();  // gone once the node stops, while records still change
    });
    housekeeping_ = std::make_unique<meta::Housekeeping>(*meta_, loop_, *office_);
    status_writer_ = std::make_unique<NodeStatusWriter>(*meta_, loop_);
    if (roles_.frontend) office_->stand();
    placer_->start();
    start_partition_keeper();
    start_load_keeper();
    housekeeping();
  });
}

Result<void> Node::start() {
  watch_supervisor();
  TRY(open_store_and_meta());
  start_http();
  if (!options_.standby) http_->start(fcntl(handover::kHttpFd, F_DUPFD_CLOEXEC, 0));
  ASSIGN_OR_RETURN(member_, join_cluster(loop_, *meta_, *store_, options_.standby,
                                         [this] { return wait_for_end(0s) != Ending::kNone; }));
  TRY(start_rpc());
  if (options_.standby) return start_standby();
  TRY(announce());
  TRY(start_liveness(meta::Phase::kLive));
  TRY(own_node());
  return {};
}

/// Nobody else may serve what lies in this store.
Result<void> Node::check_replicas_fit_roles() const {
  std::size_t here = 0;
  for (const auto& entry : state_->ranges().snapshot()) here += entry->value.find(member_.node) != nullptr ? 1 : 0;
  if (roles_.backend || here == 0) return {};
  return Error(Errc::kInvalidState, "node " + member_.node.to_string() + " has " + std::to_string(here) +
                                        " replicas and is no backend: start it with the role backend, and decommission "
                                        "it if it is to store nothing");
}

/// With the store: everything that was not done in standby.
Result<void> Node::own_node() {
  TRY(check_replicas_fit_roles());
  TRY(start_replicas());
  if (!options_.standby) {
    start_gateway();
    TRY(open_ingest());
  }
  start_placement();
  start_drain();
  loop_.run_and_wait([this] { start_rolling(); });
  owning_ = true;
  if (!options_.standby) {
    serving_ = true;
    if (roles_.frontend) TRY(sql_->listen(fcntl(handover::kSqlFd, F_DUPFD_CLOEXEC, 0)));
  }
  const NodeFile file{member_.node, member_.incarnation, options_.supervisor_pid, getpid(), rpc_addr_,
                      sql_addr_,    http_addr_,          to_string(roles_)};
  TRY(write_node_file(store_->path(), file));
  allow_adoption();
  loop_.run_and_wait([this] {
    handover_out_ = std::make_unique<HandoverOut>(handover_out_ports());
    if (!ingest_) return;
    if (!drain_->leaving()) ingest_->stay();  // the worker before had closed them, and was told otherwise
    ingest_->read();
    if (!source_only_) ingest_->start_sinks();
  });
  spdlog::info("node {} incarnation {} serves: {}", member_.node.value, member_.incarnation.value, encode(file));
  std::printf("%s\n", encode(file).c_str());
  std::fflush(stdout);
  tell_supervisor(ControlMessage::Kind::kReady, program_version());
  return {};
}

int Node::run() {
  if (auto started = start(); !started.ok()) {
    const Error& error = started.error();
    spdlog::error("cannot start: {}", error.message);
    const Ending ending = wait_for_end(0s);
    if (ending == Ending::kStop) return handover::kExitStopped;
    const bool final = is_final(error.code);
    tell_supervisor(ControlMessage::Kind::kFatal, error.message);
    return final ? handover::kExitFatal : 1;
  }
  return serve();
}

/// The full drain, whatever was drained before.
void Node::drain_to_stop() {
  spdlog::info("initiating graceful shutdown of server");
  ending_soon_ = true;
  (void)wait_on<void>(loop_, [this](Callback<void> done) {
    NodeDrain::Stop how;
    {
      const std::lock_guard lock(mutex_);
      how = stop_;
    }
    if (how.grace == Duration::zero()) how.grace = grace_;
    drain_->drain_for_stop(how, [done = std::move(done)]() mutable { done({}); });
  });
}

/// What is left goes within seconds.
void Node::stop_gracefully() {
  stopping_ = true;
  sql_->stop_accepting();
  const auto left = wait_on<std::size_t>(loop_, [this](Callback<std::size_t> done) {
    office_->resign([](const Result<void>&) {});
    rolling_.reset();
    drain_.reset();
    placer_.reset();
    partition_keeper_.reset();
    load_keeper_.reset();
    tasks_.reset();
    replicas_->shutdown(kStopLeases, std::move(done));
  });
  if (left.ok() && *left > 0) spdlog::warn("stopping: {} leases had nowhere to go", *left);
  std::promise<void> sessions_ended;
  sql_->stop(kStopSessions, [&] { sessions_ended.set_value(); });
  sessions_ended.get_future().wait();
  left_ = true;
  (void)wait_on<void>(loop_, [this](Callback<void> done) { liveness_->fence_self("stopped", std::move(done)); });
  spdlog::info("server drained and shutdown completed");
}

void Node::say(const std::string& what) {
  tell_supervisor(ControlMessage::Kind::kStatus, what);
}

void Node::tell_supervisor(ControlMessage::Kind kind, std::string text) {
  link_->tell({.kind = kind, .node = member_.node, .incarnation = member_.incarnation, .text = std::move(text)});
}

void Node::refresh_peers() {
  log_format_ = state_->log_format();
  if (replicas_ && !retired_) links_->set_peers(state_->peers(member_.node));
}

/// Once a second, on the loop: who is live (for is_dead), the default database of a new cluster, and this node's own
/// disk and buffers.
void Node::housekeeping() {
  if (!state_ || retired_) return;  // this node ends
  state_->look(loop_.now());
  ensure_default_database();
  look_at_disk();
  report_status();
  loop_.after(1s, [this] { housekeeping(); });
}

void Node::ensure_default_database() {
  if (!office_->holds() || !state_->databases().empty()) return;
  auto first = creator();
  if (!first.ok()) return;
  meta::create_database(*meta_, "defaultdb", *std::move(first), loop_.wall_micros(),
                        [](const Result<meta::DatabaseRecord>&) {});
}

/// Metadata that lost its state concerns many ranges at once: the log names each, the events the first few.
void Node::note_regression(RangeId range, const Error& why) {
  constexpr int kEventsMax = 20;
  if (++regressions_ > kEventsMax) return;
  meta::append_event(*meta_,
                     {.time_micros = loop_.wall_micros(),
                      .type = "range_record_regressed",
                      .node = member_.node,
                      .details = {{"range", range.value}, {"why", why.message}}},
                     [](const Result<void>&) {});
}

void Node::sweep_forever() {
  loop_.post([this] {
    if (!executor_) return;
    executor_->sweep();
    loop_.after(100ms, [this] { sweep_forever(); });
  });
}

void Node::end(Ending how) {
  const std::lock_guard lock(mutex_);
  if (how == Ending::kFenced && left_) return;  // our own fence, the last act of a stop
  if (ending_ == Ending::kNone || how == Ending::kFenced) ending_ = how;
  if (how == Ending::kFenced && (ending_soon_ || stopping_)) _exit(1);
  ended_.notify_all();
}

void Node::ask_for(Step step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  ended_.notify_all();
}

/// Waits for something to do, or for the end: kNone.
Node::Step Node::next_step() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return ending_ != Ending::kNone || step_ != Step::kNone; });
  return ending_ != Ending::kNone ? Step::kNone : std::exchange(step_, Step::kNone);
}

Node::Ending Node::wait_for_end(Duration at_most) {
  std::unique_lock lock(mutex_);
  const auto over = [this] { return ending_ != Ending::kNone; };
  if (at_most == Duration::max())
    ended_.wait(lock, over);
  else
    ended_.wait_for(lock, at_most, over);
  return ending_;
}

std::string Node::not_ready() const {
  if (!serving_) return stopping_ ? "the node is shutting down" : "the node is starting, or waits for `outlast init`";
  if (stopping_) return "the node is shutting down";
  if (retired_) return retired_sentence() + ": connect to another one";
  if (draining_now_) return "the node is draining: connect to another one";
  if (liveness_->is_fenced()) return "this process of the node is fenced";
  if (state_->databases().empty()) return "the cluster's first database is being created";
  return meta_problem(*meta_);
}

bool is_final(Errc why) {
  return why == Errc::kWrongCluster || why == Errc::kWrongVersion || why == Errc::kStoreLocked ||
         why == Errc::kInvalidArgument || why == Errc::kCorrupt || why == Errc::kInvalidState ||
         why == Errc::kInvalidAuthorization;
}

int work(const WorkerOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  // The supervisor passes stop requests on; a signal to the whole process group must not overtake it.
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) std::signal(s, SIG_IGN);
  storage::configure_sqlite();
  for (const int fd : {handover::kControlFd, handover::kSqlFd, handover::kHttpFd}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (options.standby) fcntl(handover::kHandoverFd, F_SETFD, FD_CLOEXEC);
  if (auto log = open_log(options.start.log_file, options.start.log_level, "worker"); !log.ok()) {
    std::fprintf(stderr, "outlast: %s\n", log.error().message.c_str());
    return handover::kExitFatal;
  }
  if (auto allowed = check_roles(options.start); !allowed.ok()) {
    std::fprintf(stderr, "outlast: %s\n", allowed.error().message.c_str());
    return handover::kExitFatal;
  }
  return is_collector(options.start) ? Collector(options).run() : Node(options).run();
}

}  // namespace outlast::server
