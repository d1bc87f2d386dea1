// Node: one worker hands the node over to the next (protocol A8).
#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <thread>

#include "base/parse.h"
#include "base/version.h"
#include "handover/supervisor.h"
#include "meta/events.h"
#include "server/blocking.h"
#include "server/node.h"
#include "server/node_file.h"
#include "server/reload.h"

namespace outlast::server {
using namespace std::chrono_literals;
using handover::ControlMessage;

namespace {
constexpr Duration kLockPoll = 5ms;
constexpr Duration kHoldLook = 2ms;
constexpr Duration kHoldAgain = 50ms;     ///< Between two attempts to hold what nobody else can lead.
constexpr Duration kForeignWait = 500ms;  ///< Work that began before the hold gets so long while all else waits.
constexpr Duration kReleaseLeases = 1s;
constexpr Duration kAnswersFlush = 300ms;
}  // namespace

/// The end of a restart: its last word for a worker that handed over, an event for the one that owns the node.
void Node::restart_ended(const std::string& receipt) {
  loop_.post([this, receipt] {
    if (handover_out_ && handover_out_->released()) return end(Ending::kHandedOver);
    if (!owning_) return;
    boost::system::error_code error;
    const boost::json::value details = boost::json::parse(receipt, error);
    if (error || !details.is_object()) return;
    meta::append_event(*meta_,
                       {.time_micros = loop_.wall_micros(),
                        .type = "node_restarted",
                        .node = member_.node,
                        .details = details.get_object()},
                       [](const Result<void>&) {});
  });
}

void Node::watch_supervisor() {
  restarts_.on_receipt = [this](const std::string& receipt) { restart_ended(receipt); };
  SupervisorLink::Events events;
  events.message = [this](ControlMessage message) { on_supervisor(std::move(message)); };
  events.lost = [this] { supervisor_lost(); };
  events.stop = [this] { end(Ending::kStop); };
  events.adopted = [this](int pid) {
    const NodeFile file{member_.node, member_.incarnation, pid,        getpid(),
                        rpc_addr_,    sql_addr_,           http_addr_, to_string(roles_)};
    if (auto written = write_node_file(store_->path(), file); !written.ok())
      spdlog::warn("{}", written.error().message);
  };
  link_ = std::make_unique<SupervisorLink>(std::move(events));
}

void Node::on_supervisor(ControlMessage message) {
  switch (message.kind) {
    case ControlMessage::Kind::kStop:
      return end(Ending::kStop);
    case ControlMessage::Kind::kHandOver:
      link_->end_adoption();  // a supervisor that comes in the middle of it waits for the one that will own the node
      return loop_.post([this, fd = message.fd] {
        if (handover_out_) return handover_out_->begin(fd);
        close(fd);  // starting itself: the standby worker sees that nobody hands over
      });
    case ControlMessage::Kind::kRestartStatus:
      return restarts_.note(std::move(message.text));
    case ControlMessage::Kind::kReload:
      reload(message.text);
      return restarts_.reloaded(std::move(message.text));
    case ControlMessage::Kind::kEndSourceOnly:
      return end_source_only();
    case ControlMessage::Kind::kLeaveFrontend:
      return leave_frontend();
    case ControlMessage::Kind::kPlan:
      return tell_supervisor(ControlMessage::Kind::kPlan, handover_plan());
    default:
      if (message.fd >= 0) close(message.fd);  // of a newer version
  }
}

void Node::reload(const std::string& text) {
  spdlog::info("configuration read again: {}", text);
  for (const auto& [name, value] : values_now(text)) {
    if (name == "log-level") spdlog::set_level(spdlog::level::from_str(value));
    if (const auto grace = parse_duration(value); name == "grace" && grace.ok()) grace_ = *grace;
    if (const auto most = parse_int(value); name == "max-connections" && most.ok()) max_connections_ = *most;
  }
  loop_.post([this] {
    if (sql_ && serving_) sql_->set_sessions_max(max_connections_);
  });
}

/// A worker without a supervisor serves on; one that only keeps sessions for a handover has nobody left to wait for.
void Node::supervisor_lost() {
  restarts_.abandon();
  loop_.post([this] {
    if (handover_out_ && handover_out_->released()) end(Ending::kHandedOver);
  });
}

Result<void> Node::open_ingest() {
  ASSIGN_OR_RETURN(ingest_, server::open_ingest(options_, {.cluster = cluster_.get(),
                                                           .clock = clock_,
                                                           .executor = io_.executors().back(),
                                                           .store = store_->path()}));
  return {};
}

/// While the store is not ours, own_node() will look.
void Node::end_source_only() {
  source_only_ = false;
  link_->end_source_only();
  loop_.post([this] {
    if (owning_ && ingest_) ingest_->start_sinks();
  });
}

/// The gateway without the store: clients are served through other workers, above all the one that hands over.
Result<void> Node::start_standby() {
  TRY(start_liveness(meta::Phase::kStandby));
  start_gateway();
  TRY(open_ingest());
  loop_.run_and_wait(
      [this] { handover_in_ = std::make_unique<HandoverIn>(handover_in_ports(), handover::kHandoverFd); });
  serving_ = true;
  loop_.run_and_wait([this] { handover_in_->ready(); });
  return {};
}

HandoverIn::Ports Node::handover_in_ports() {
  return {.loop = loop_,
          .sql = sql_.get(),
          .self = self(),
          .accept_clients = [this] { accept_clients(true); },
          .fail =
              [this](const Error& why) {
                spdlog::error("handover: {}", why.message);
                tell_supervisor(ControlMessage::Kind::kFatal, why.message);
                end(Ending::kCannotTake);
              },
          .own = [this] { ask_for(Step::kOwn); },
          .entered = [this](handover::HandoverState state) { tell_state(state); },
          .input =
              [this](const proto::HandoverInput& input) {
                if (ingest_) ingest_->read(input);
              },
          .connection =
              [this](const proto::HandoverConnection& connection, int fd) {
                if (ingest_) return ingest_->adopt(connection, fd);
                close(fd);
              },
          .inputs =
              [this](std::uint64_t left_behind) {
                return ingest_ ? ingest_->handover_facts(left_behind) : boost::json::object();
              },
          .held = [this] { return cluster_->counters().repeated_unseen.load(); }};
}

void Node::tell_state(handover::HandoverState state) {
  tell_supervisor(ControlMessage::Kind::kState, std::string(to_string(state)));
}

HandoverOut::Ports Node::handover_out_ports() {
  return {.loop = loop_,
          .sql = sql_.get(),
          .self = self(),
          .transaction_wait = [this] { return state_->settings().duration("handover.transaction_wait"); },
          .accept_clients = [this](bool accept) { accept_clients(accept); },
          .leave = [this](Task done) { drain_->hand_over(std::move(done)); },
          .stay = [this] { drain_->stay(); },
          .all_left = [this] { drain_->nudge(); },
          .release_inputs =
              [this](const HandoverOut::Ports::Send& send) {
                if (ingest_) ingest_->release(send);
              },
          .take_inputs_back =
              [this] {
                if (ingest_) ingest_->take_back();
              },
          .close =
              [this](Callback<proto::HandoverReleased> done) {
                released_ = std::move(done);
                ask_for(Step::kRelease);
              },
          .entered =
              [this](handover::HandoverState state) {
                if (state == handover::HandoverState::kIdle) allow_adoption();
                tell_state(state);
              },
          .unneeded =
              [this] {
                if (!link_->connected()) end(Ending::kHandedOver);
              }};
}

void Node::allow_adoption() {
  Introduction me{.node = member_.node,
                  .incarnation = member_.incarnation,
                  .sockets = {.sql = roles_.frontend ? handover::kSqlFd : -1, .http = handover::kHttpFd, .inputs = {}},
                  .source_only = source_only_};
  if (ingest_) me.sockets.inputs = ingest_->sockets();
  if (auto allowed = link_->allow_adoption(store_->path(), std::move(me)); !allowed.ok())
    spdlog::error("a supervisor cannot adopt this worker: {}", allowed.error().message);
  if (!source_only_) link_->end_source_only();  // it may have been said meanwhile
}

void Node::accept_clients(bool accept) {
  if (!accept) {
    sql_->stop_accepting();
    http_->pause();
    return;
  }
  http_->start(fcntl(handover::kHttpFd, F_DUPFD_CLOEXEC, 0));
  if (!roles_.frontend) return;
  if (auto listening = sql_->listen(fcntl(handover::kSqlFd, F_DUPFD_CLOEXEC, 0)); !listening.ok())
    spdlog::error("{}", listening.error().message);
}

/// Serves until the end, and returns the exit code for the supervisor.
int Node::serve() {
  for (;;) {
    const Step step = next_step();
    if (step == Step::kOwn) {
      if (auto taken = take_store(); !taken.ok()) {
        spdlog::error("handover: cannot take the node over: {}", taken.error().message);
        return 1;
      }
      continue;
    }
    if (step == Step::kRelease) {
      release_node();
      continue;
    }
    if (step == Step::kRetire) {
      if (owning_)
        retire();
      else
        end(Ending::kCannotTake);
      continue;
    }
    switch (wait_for_end(0s)) {
      case Ending::kNone:
        continue;
      case Ending::kStop:
        if (!owning_ || retired_) return handover::kExitStopped;
        if (ingest_) ingest_->stop();
        drain_to_stop();
        stop_gracefully();
        return handover::kExitStopped;
      case Ending::kStoreFailed:
        stop_gracefully();
        return 1;  // a new process follows, once more and more slowly while it fails
      case Ending::kCannotTake:
        return handover::kExitFatal;
      case Ending::kHandedOver:
        if (restarts_.answered()) std::this_thread::sleep_for(kAnswersFlush);
        return handover::kExitHandedOver;
      case Ending::kFenced:
        spdlog::warn("this incarnation is fenced: the process ends, a new one follows");
        _exit(1);  // nothing may be served any more, not even politely
    }
  }
}

/// The store is free, or about to be: a process that died lets go of its lock as it goes.
Result<void> Node::take_store() {
  for (;;) {
    auto locked = store_->acquire_lock();
    if (locked.ok()) break;
    if (locked.error().code != Errc::kStoreLocked) return locked;
    if (wait_for_end(kLockPoll) != Ending::kNone) return Error(Errc::kShuttingDown, "stopped in a handover");
  }
  TRY(store_->record_incarnation(member_.incarnation));
  TRY(announce());
  if (!options_.start.listen_addr.ends_with(":0"))
    if (auto also = rpc_server_->also_listen(options_.start.listen_addr); !also.ok())
      spdlog::warn("the command line does not reach this process at its usual address: {}", also.error().message);
  loop_.run_and_wait([this] { liveness_->set_phase(meta::Phase::kLive); });
  TRY(own_node());
  std::string receipt;
  loop_.run_and_wait([this, &receipt] { receipt = handover_in_->owned(); });
  tell_state(handover::HandoverState::kOwned);
  handover::hold_point("new", handover::HandoverState::kOwned);
  tell_supervisor(ControlMessage::Kind::kOwned, receipt);
  return {};
}

/// No session is left here and no lease that another node could take: close the store and let go of it.
void Node::release_node() {
  const Instant began = loop_.now();
  proto::HandoverReleased released;
  released.set_last_incarnation(member_.incarnation.value);
  loop_.run_and_wait([&] {
    released.set_leases_moved(drain_->leases_moved());
    if (auto drain = drain_->to_carry_on()) *released.mutable_drain() = *std::move(drain);
  });
  const Duration patience = state_->settings().duration("handover.transaction_wait");
  if (ingest_) released.set_records_kept(ingest_->hand_over());
  const std::size_t kept = state_->leases_by_node()[member_.node];
  if (kept > 0 && !hold_kept_leases(began + patience))
    spdlog::warn("handover: transactions stayed open for {}: they are rolled back", format_duration(patience));
  released.set_leases_kept(kept);
  const Instant held = loop_.now();
  close_store();
  released.set_closing_ns((loop_.now() - held).count());
  spdlog::info("handover: the store is released after {} ms",
               std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - began).count());
  loop_.post(
      [this, released = std::move(released)]() mutable { std::exchange(released_, nullptr)(std::move(released)); });
}

/// Nothing begins any more on what this node alone can lead, and what had begun has ended: statements wait at their
/// gateways for the new worker. While something takes longer, everybody goes on, and it is tried again until `until`.
bool Node::hold_kept_leases(Instant until) {
  const std::uint64_t own = replication::gateway_number(member_.node, member_.incarnation);
  const auto busy = [&](Instant before) {
    const executor::ForeignWork work = executor_->foreign_work(own, before);
    return work.transactions + work.statements > 0;
  };
  for (;;) {
    // Nobody else waits for what takes long anyway.
    while (busy(loop_.now() - kForeignWait) && loop_.now() < until) std::this_thread::sleep_for(kHoldAgain);
    loop_.run_and_wait([this] { replicas_->hold_leases(); });
    const Instant limit = loop_.now() + kForeignWait;
    while (busy(Instant::max()) && loop_.now() < limit) std::this_thread::sleep_for(kHoldLook);
    if (!busy(Instant::max())) return true;
    if (loop_.now() >= until) return false;
    loop_.run_and_wait([this] { replicas_->end_hold(); });
    std::this_thread::sleep_for(kHoldAgain);
  }
}

/// What ~Node does for everything that has to do with the store, in the same order; the loop, metadata and HTTP stay.
void Node::close_store() {
  stopping_ = true;
  serving_ = owning_ = false;
  // HTTP handlers run on this thread and look at `serving_` before they touch what goes now.
  std::promise<void> seen;
  boost::asio::post(io_.first(), [&seen] { seen.set_value(); });
  seen.get_future().wait();
  loop_.run_and_wait([this] { ingest_.reset(); });
  link_->end_adoption();
  (void)wait_on<std::size_t>(loop_, [this](Callback<std::size_t> done) {
    placer_.reset();
    partition_keeper_.reset();
    load_keeper_.reset();
    tasks_.reset();
    range_admin_.reset();
    rolling_.reset();
    drain_.reset();
    replicas_->shutdown(kReleaseLeases, std::move(done));
  });
  remote_->stop();
  loop_.run_and_wait([this] { links_->stop(); });
  rpc_server_->stop();
  sql_pool_.stop();
  std::promise<void> sessions_ended;
  sql_->stop(0s, [&] { sessions_ended.set_value(); });
  sessions_ended.get_future().wait();
  sql_.reset();
  cluster_.reset();
  executor_.reset();
  workers_.stop();
  copiers_.stop();
  log_writer_.reset();
  loop_.run_and_wait([this] {
    store_health_.reset();
    replicas_.reset();
  });
  replica_store_.reset();
  left_ = true;
  (void)wait_on<void>(loop_, [this](Callback<void> done) { liveness_->fence_self("handed over", std::move(done)); });
  store_->release_lock();
}

std::string Node::handover_plan() const {
  namespace json = boost::json;
  std::uint64_t now = 0;
  json::array later, never;
  for (const sql::MoveView& view : sql_->move_plan()) {
    if (view.when == sql::MoveView::When::kNow) {
      ++now;
      continue;
    }
    json::array& list = view.when == sql::MoveView::When::kLater ? later : never;
    list.push_back(json::object{{"session", view.session}, {"reason", view.reason}});
  }
  const std::uint64_t leases = state_->leases_by_node()[member_.node];
  return json::serialize(
      json::object{{"node", member_.node.value},
                   {"incarnation", member_.incarnation.value},
                   {"version", program_version()},
                   {"moves", now},
                   {"waits", std::move(later)},
                   {"reconnects", std::move(never)},
                   {"transaction_wait", state_->settings().text("handover.transaction_wait").value()},
                   {"leases", leases}});
}

}  // namespace outlast::server
