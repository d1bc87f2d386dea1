#include "server/collector.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <thread>

#include "base/version.h"
#include "handover/supervisor.h"
#include "server/check.h"
#include "server/http_api.h"
#include "server/node_file.h"
#include "server/reload.h"
#include "server/supervise.h"

namespace outlast::server {
using namespace std::chrono_literals;
using handover::ControlMessage;
using handover::HandoverState;
using Kind = ControlMessage::Kind;

namespace {
constexpr Duration kLockPoll = 5ms;
constexpr Duration kAnswersFlush = 300ms;
}  // namespace

Collector::Collector(WorkerOptions options) : options_(std::move(options)), source_only_(options_.source_only) {}

// Everything that lives on the loop is destroyed there; before the link goes what a handover still has to say through
// it.
Collector::~Collector() {
  loop_.run_and_wait([this] {
    if (lock_timer_ != 0) loop_.cancel(lock_timer_);
    handover_in_.reset();
    handover_out_.reset();
  });
  if (http_) http_->stop();
  io_.stop();
  link_.reset();
  loop_.run_and_wait([this] { ingest_.reset(); });
  loop_.stop();
}

Result<void> Collector::start() {
  watch_supervisor();
  disk_ = storage::make_posix_disk();
  ASSIGN_OR_RETURN(store_, storage::open_store(*disk_, options_.start.store));
  TRY(check_collector_store(*store_));
  if (!options_.standby) TRY(store_->acquire_lock());
  incarnation_ = Incarnation(static_cast<std::uint64_t>(clock_.wall_micros()));
  tell(Kind::kIncarnation);
  ASSIGN_OR_RETURN(
      ingest_, open_ingest(options_, {.clock = clock_, .executor = io_.executors().back(), .store = store_->path()}));
  start_http();
  serving_ = true;
  loop_.run_and_wait([this] {
    handover_out_ = std::make_unique<HandoverOut>(handover_out_ports());
    if (options_.standby) {
      handover_in_ = std::make_unique<HandoverIn>(handover_in_ports(), handover::kHandoverFd);
      return handover_in_->ready();
    }
    accept_clients(true);
    own();
    tell(Kind::kReady, program_version());
  });
  return {};
}

int Collector::run() {
  if (auto started = start(); !started.ok()) {
    spdlog::error("cannot start: {}", started.error().message);
    const bool final = is_final(started.error().code);
    if (final) tell(Kind::kFatal, started.error().message);
    return final ? handover::kExitFatal : 1;
  }
  switch (wait_for_end()) {
    case Ending::kNone:
    case Ending::kFailed:
      return 1;
    case Ending::kCannotTake:
      return handover::kExitFatal;
    case Ending::kHandedOver:
      if (restarts_.answered()) std::this_thread::sleep_for(kAnswersFlush);
      return handover::kExitHandedOver;
    case Ending::kStop:
      break;
  }
  serving_ = false;
  if (!owning_) return handover::kExitStopped;
  tell(Kind::kStatus, "stopping: stores what flush_at_shutdown wants, and keeps the rest");
  loop_.run_and_wait([this] { ingest_->stop(); });
  return handover::kExitStopped;
}

void Collector::start_http() {
  http_addr_ = handover::address_of(handover::kHttpFd);
  metrics_.add(process_samples);
  metrics_.add([this](std::vector<Sample>& out) {
    out.push_back({"outlast_ready", "1 when the node takes clients", false, not_ready().empty() ? 1.0 : 0.0, {}});
    ingest_->samples(out);
  });
  http_ = std::make_unique<http::Server>(io_.first());
  add_probe_routes(*http_, {.not_ready = [this] { return not_ready(); }, .metrics = &metrics_});
  add_restart_routes(*http_, restart_ports(restarts_, *link_));
  add_ingest_route(*http_, [this] { return ingest_.get(); });
}

std::string Collector::not_ready() const {
  return serving_ ? "" : "the collector is shutting down";
}

/// On the loop: the store's lock is ours.
void Collector::own() {
  owning_ = true;
  ingest_->read();
  if (!source_only_) ingest_->start_sinks();
  write_facts(options_.supervisor_pid);
  allow_adoption();
}

/// A disk that is full must not keep records from being taken in.
void Collector::write_facts(int supervisor_pid) const {
  const NodeFile file{NodeId(), incarnation_, supervisor_pid, getpid(), "", "", http_addr_, "none"};
  if (auto written = write_node_file(store_->path(), file); !written.ok()) spdlog::error("{}", written.error().message);
  spdlog::info("the collector serves: {}", encode(file));
  std::printf("%s\n", encode(file).c_str());
  std::fflush(stdout);
}

void Collector::allow_adoption() {
  Introduction me{.node = {},
                  .incarnation = incarnation_,
                  .sockets = {.sql = -1, .http = handover::kHttpFd, .inputs = ingest_->sockets()},
                  .source_only = source_only_};
  if (auto allowed = link_->allow_adoption(store_->path(), std::move(me)); !allowed.ok())
    spdlog::error("a supervisor cannot adopt this worker: {}", allowed.error().message);
  if (!source_only_) link_->end_source_only();  // it may have been said meanwhile
}

void Collector::watch_supervisor() {
  restarts_.on_receipt = [this](const std::string&) { end_if_handed_over(); };
  SupervisorLink::Events events;
  events.message = [this](ControlMessage message) { on_supervisor(std::move(message)); };
  events.lost = [this] {
    restarts_.abandon();
    end_if_handed_over();
  };
  events.stop = [this] { end(Ending::kStop); };
  events.adopted = [this](int pid) { write_facts(pid); };
  link_ = std::make_unique<SupervisorLink>(std::move(events));
}

void Collector::end_if_handed_over() {
  loop_.post([this] {
    if (handover_out_ && handover_out_->released()) end(Ending::kHandedOver);
  });
}

void Collector::on_supervisor(ControlMessage message) {
  switch (message.kind) {
    case Kind::kStop:
      return end(Ending::kStop);
    case Kind::kHandOver:
      link_->end_adoption();  // a supervisor that comes in the middle of it waits for the one that will own the store
      return loop_.post([this, fd = message.fd] {
        if (handover_out_) return handover_out_->begin(fd);
        close(fd);  // starting itself: the standby worker sees that nobody hands over
      });
    case Kind::kRestartStatus:
      return restarts_.note(std::move(message.text));
    case Kind::kReload:
      put_in_force(message.text);
      return restarts_.reloaded(std::move(message.text));
    case Kind::kPlan:
      return tell(Kind::kPlan, plan());
    case Kind::kEndSourceOnly:
      return end_source_only();
    default:
      if (message.fd >= 0) close(message.fd);  // of a newer version
  }
}

/// While the store is not ours, own() will look.
void Collector::end_source_only() {
  source_only_ = false;
  link_->end_source_only();
  loop_.post([this] {
    if (owning_) ingest_->start_sinks();
  });
}

void Collector::put_in_force(const std::string& reload) {
  spdlog::info("configuration read again: {}", reload);
  for (const auto& [name, value] : values_now(reload))
    if (name == "log-level") spdlog::set_level(spdlog::level::from_str(value));
}

std::string Collector::plan() const {
  return boost::json::serialize(boost::json::object{{"incarnation", incarnation_.value},
                                                    {"version", program_version()},
                                                    {"inputs", ingest_ ? ingest_->sockets().size() : 0}});
}

void Collector::tell(Kind kind, std::string text) {
  link_->tell({.kind = kind, .node = {}, .incarnation = incarnation_, .text = std::move(text)});
}

void Collector::tell_state(HandoverState state) {
  tell(Kind::kState, std::string(to_string(state)));
}

void Collector::end(Ending how) {
  const std::lock_guard lock(mutex_);
  if (ending_ == Ending::kNone) ending_ = how;
  ended_.notify_all();
}

Collector::Ending Collector::wait_for_end() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return ending_ != Ending::kNone; });
  return ending_;
}

// A handover.

HandoverIn::Ports Collector::handover_in_ports() {
  return {.loop = loop_,
          .sql = nullptr,
          .self = {NodeId(), incarnation_},
          .accept_clients = [this] { accept_clients(true); },
          .fail =
              [this](const Error& why) {
                spdlog::error("handover: {}", why.message);
                tell(Kind::kFatal, why.message);
                end(Ending::kCannotTake);
              },
          .own = [this] { take_over(); },
          .entered = [this](HandoverState state) { tell_state(state); },
          .input = [this](const proto::HandoverInput& input) { ingest_->read(input); },
          .connection = [this](const proto::HandoverConnection& one, int fd) { ingest_->adopt(one, fd); },
          .inputs = [this](std::uint64_t left_behind) { return ingest_->handover_facts(left_behind); },
          .held = [] { return std::uint64_t{0}; }};
}

HandoverOut::Ports Collector::handover_out_ports() {
  return {.loop = loop_,
          .sql = nullptr,
          .self = {NodeId(), incarnation_},
          .transaction_wait = [] { return Duration(0); },
          .accept_clients = [this](bool accept) { accept_clients(accept); },
          .leave = [this](Task done) { loop_.post(std::move(done)); },
          .stay = [] {},
          .all_left = [] {},
          .release_inputs = [this](const HandoverOut::Ports::Send& send) { ingest_->release(send); },
          .take_inputs_back = [this] { ingest_->take_back(); },
          .close = [this](Callback<proto::HandoverReleased> done) { release(std::move(done)); },
          .entered =
              [this](HandoverState state) {
                if (state == HandoverState::kIdle) allow_adoption();
                tell_state(state);
              },
          .unneeded =
              [this] {
                if (!link_->connected()) end(Ending::kHandedOver);
              }};
}

void Collector::accept_clients(bool accept) {
  if (!accept) return http_->pause();
  http_->start(fcntl(handover::kHttpFd, F_DUPFD_CLOEXEC, 0));
}

/// The buffers lie in files and the store is free when this is done; only then the new worker looks.
void Collector::release(Callback<proto::HandoverReleased> done) {
  const Instant began = loop_.now();
  owning_ = false;
  link_->end_adoption();
  proto::HandoverReleased released;
  released.set_records_kept(ingest_->hand_over());
  store_->release_lock();
  released.set_last_incarnation(incarnation_.value);
  released.set_closing_ns((loop_.now() - began).count());
  done(std::move(released));
}

/// The store is free, or about to be: a process that died lets go of its lock as it goes.
void Collector::take_over() {
  if (auto locked = store_->acquire_lock(); !locked.ok()) {
    if (locked.error().code == Errc::kStoreLocked) {
      lock_timer_ = loop_.after(kLockPoll, [this] {
        lock_timer_ = 0;
        take_over();
      });
      return;
    }
    spdlog::error("handover: cannot take the store over: {}", locked.error().message);
    return end(Ending::kFailed);
  }
  own();
  const std::string receipt = handover_in_->owned();
  tell_state(HandoverState::kOwned);
  handover::hold_point("new", HandoverState::kOwned);
  tell(Kind::kOwned, receipt);
}

}  // namespace outlast::server
