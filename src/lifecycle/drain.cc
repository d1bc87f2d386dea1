#include "lifecycle/drain.h"

#include <algorithm>

namespace outlast::lifecycle {
namespace {
using enum DrainPhase;
using Kind = WorkKind;

constexpr WorkSet kNobodyNew{Kind::kConnection};
constexpr WorkSet kNothingNew{Kind::kConnection, Kind::kTransaction};
/// What a frontend refuses that exits.
constexpr WorkSet kNoClients{Kind::kConnection, Kind::kTransaction, Kind::kLoad};
constexpr WorkSet kNothingMovable{Kind::kConnection, Kind::kTransaction, Kind::kFragment, Kind::kLoad, Kind::kJob};

// Statements on ranges that are still led here are never refused because of a drain: nobody else could run them.
constexpr std::array<DrainPhaseRow, 8> kPhases{{
    {kServing, "serving", {}},
    {kUnready, "unready", {}},
    {kConnectionWait, "connection wait", kNobodyNew},
    {kTransactionWait, "transaction wait", kNothingNew},
    {kFragmentWait, "fragment wait", kNothingMovable},
    {kLeaseTransfer, "lease transfer", kNothingMovable},
    {kStepOut, "step-out", kNothingMovable},
    {kDrained, "drained", kNothingMovable},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kPhases.size(); ++i)
    if (static_cast<std::size_t>(kPhases[i].phase) != i) return false;
  return true;
}
static_assert(in_order());

const DrainPhaseRow& row(DrainPhase phase) {
  return kPhases[static_cast<std::size_t>(phase)];
}

bool no_foreign_work(const DrainLoad& load) {
  return load.foreign_transactions == 0 && load.fragments == 0 && load.loads == 0 && load.jobs == 0;
}

/// The new worker's sessions work here as long as leases are here, so their work ends after the leases have left, and
/// on leases that nobody else can take not before they are closed.
bool handover_left(const DrainLoad& load) {
  if (load.leases > load.unmovable_leases) return false;
  return load.unmovable_leases > 0 || no_foreign_work(load);
}

/// Nothing is left of what the phase waits for.
bool is_empty(DrainPhase phase, const DrainLoad& load, bool handover) {
  switch (phase) {
    case kUnready:
      return false;  // drain_wait has no early exit: balancers need the time
    case kConnectionWait:
      return load.connections == 0;
    case kTransactionWait:
      return load.connections == 0 && load.transactions == 0;
    case kFragmentWait:
      return handover ? handover_left(load) : no_foreign_work(load);
    case kServing:
    case kLeaseTransfer:
    case kStepOut:
    case kDrained:
      return true;
  }
  return true;
}
}  // namespace

const std::array<DrainPhaseRow, 8>& drain_phases() {
  return kPhases;
}

std::string_view to_string(DrainPhase phase) {
  return row(phase).name;
}

std::string_view to_string(DrainBlocker blocker) {
  switch (blocker) {
    case DrainBlocker::kNone:
      return "nothing";
    case DrainBlocker::kWait:
      return "wait";
    case DrainBlocker::kAcknowledgement:
      return "the leader frontend's acknowledgement";
    case DrainBlocker::kConnections:
      return "connections";
    case DrainBlocker::kTransactions:
      return "transactions";
    case DrainBlocker::kForeignWork:
      return "work of other gateways";
    case DrainBlocker::kLeases:
      return "leases";
    case DrainBlocker::kMetadata:
      return "metadata";
    case DrainBlocker::kSingleReplica:
      return "single-replica ranges";
    case DrainBlocker::kInputs:
      return "ingest inputs";
    case DrainBlocker::kBuffers:
      return "ingest buffers";
    case DrainBlocker::kInSync:
      return "in-sync replicas";
  }
  return "nothing";
}

bool DrainMachine::begins(const DrainRequest& request) const {
  if (!draining() || (request.handover && !request_.handover)) return true;
  return (rehearsing() && !request.rehearsal) || (frontend_only() && !request.frontend_only);
}

Result<void> DrainMachine::drain(DrainRequest request, Instant now) {
  if (stopping_) return Error(Errc::kInvalidState, "the process is stopping already");
  if (request.rehearsal && draining() && !rehearsing())
    return Error(Errc::kInvalidState, "a drain is under way: there is nothing to rehearse");
  if (request.frontend_only && draining() && !rehearsing() && !frontend_only())
    return Error(Errc::kInvalidState, "a drain is under way: the frontend leaves with it");
  if (begins(request)) {
    if (request.handover && request_.leave) {
      request.leave = true;
      request.inputs_closed = orders().close_inputs;
    }
    request_ = request;
    history_.clear();
    end_ = DrainEnd::kNone;
    enter(kUnready, now);
    return {};
  }
  request_.force = request_.force || request.force;
  request_.ends = request_.ends || request.ends;
  request_.exit.frontend = request_.exit.frontend || request.exit.frontend;
  request_.exit.fragments = request_.exit.fragments || request.exit.fragments;
  if (request.limit) request_.limit = request.limit;
  if (request.leave && !request_.leave) {
    request_.leave = true;
    if (phase_ == kDrained && !request_.handover) {
      end_ = DrainEnd::kNone;
      enter(kStepOut, now);
    }
  }
  if (request.deadline) request_.deadline = std::min(*request.deadline, request_.deadline.value_or(*request.deadline));
  return {};
}

Result<void> DrainMachine::undrain(Instant now) {
  if (stopping_) return Error(Errc::kInvalidState, "the process is stopping: start it again when it has ended");
  if (!draining()) return {};
  request_ = {};
  end_ = DrainEnd::kNone;
  enter(kServing, now);
  return {};
}

void DrainMachine::enter(DrainPhase next, Instant now) {
  phase_ = next;
  history_.push_back({next, now});
}

std::optional<Duration> DrainMachine::wait_of_phase(const DrainSettings& settings) const {
  constexpr Duration kNone = Duration::zero();
  const bool at_once = request_.handover || request_.exit.any();
  switch (phase_) {
    case kUnready:  // in a handover no balancer has to notice anything, and none looks at a backend
      return request_.exit.frontend ? settings.detection_wait : at_once ? kNone : settings.drain_wait;
    case kConnectionWait:
      return at_once ? kNone : settings.connection_wait;
    case kTransactionWait:
      return request_.handover ? settings.handover_wait : request_.exit.any() ? kNone : settings.query_wait;
    case kFragmentWait:
      if (request_.exit.any() && !request_.handover) return request_.exit.fragments ? settings.fragments_wait : kNone;
      return settings.query_wait;
    case kServing:
    case kLeaseTransfer:
    case kStepOut:
    case kDrained:
      return std::nullopt;
  }
  return std::nullopt;
}

/// When the sessions of a frontend that exits are cut: counted from the beginning of the exit.
Instant DrainMachine::frontend_until(const DrainSettings& settings, const DrainLoad& load) const {
  const Instant until = history_.front().at + request_.limit.value_or(settings.frontend_wait);
  return request_.deadline ? std::min(until, *request_.deadline - load.tail) : until;
}

bool DrainMachine::awaits_acknowledgement(Instant now, const DrainSettings& settings, const DrainLoad& load) const {
  if (phase_ != kUnready || !request_.ends || !settings.await_acknowledgement || load.acknowledged) return false;
  if (request_.deadline && now >= *request_.deadline - load.tail) return false;
  return now < history_.back().at + settings.acknowledgement_wait;
}

/// A frontend that holds nothing but the office, and cannot get rid of it, ends all the same: its fence frees it.
bool DrainMachine::overdue(Instant now, const DrainSettings& settings, const DrainLoad& load) const {
  if (!request_.exit.frontend || (load.leases > 0 && !request_.frontend_only)) return false;
  return now >= frontend_until(settings, load) + load.tail;
}

std::optional<Instant> DrainMachine::wait_until(const DrainSettings& settings, const DrainLoad& load) const {
  const std::optional<Duration> wait = wait_of_phase(settings);
  if (!wait || request_.rehearsal) return std::nullopt;
  if (phase_ == kTransactionWait && request_.exit.frontend && !request_.handover) return frontend_until(settings, load);
  const Instant until = history_.back().at + *wait;
  return request_.deadline ? std::min(until, *request_.deadline - load.tail) : until;
}

/// A handover gives buffers to the next worker, and inputs are as they are there.
bool DrainMachine::ingest_left(const DrainLoad& load) const {
  return request_.leave && !request_.handover && (load.inputs > 0 || load.buffers > 0);
}

/// Complete, forced, or not yet: nothing may be left but what force gives up.
DrainEnd DrainMachine::verdict(const DrainLoad& load) const {
  if (request_.handover) {
    const bool done = load.connections == 0 && load.transactions == 0 && !load.office && handover_left(load);
    return done ? DrainEnd::kComplete : DrainEnd::kNone;
  }
  if (request_.frontend_only) return load.connections == 0 && !load.office ? DrainEnd::kComplete : DrainEnd::kNone;
  if (load.work() > 0 || load.office || load.leases > load.unmovable_leases) return DrainEnd::kNone;
  if (ingest_left(load)) return DrainEnd::kNone;
  if (load.leases == 0) return DrainEnd::kComplete;
  return request_.force ? DrainEnd::kForced : DrainEnd::kNone;
}

DrainPhase DrainMachine::advance(Instant now, const DrainSettings& settings, const DrainLoad& load) {
  if (request_.rehearsal) return phase_;
  switch (phase_) {
    case kServing:
    case kDrained:
      break;
    case kUnready:
      if (awaits_acknowledgement(now, settings, load)) break;
      [[fallthrough]];
    case kConnectionWait:
    case kTransactionWait:
    case kFragmentWait:
      if (is_empty(phase_, load, request_.handover) || now >= *wait_until(settings, load))
        enter(static_cast<DrainPhase>(static_cast<int>(phase_) + 1), now);
      break;
    case kLeaseTransfer:
      if (verdict(load) != DrainEnd::kNone || overdue(now, settings, load)) enter(kStepOut, now);
      break;
    case kStepOut:
      // A lease may have come back in between, or a transaction with it: then this is no end.
      if ((load.insync == 0 || request_.frontend_only) && verdict(load) != DrainEnd::kNone) {
        end_ = verdict(load);
        enter(kDrained, now);
      } else if (overdue(now, settings, load)) {
        end_ = DrainEnd::kForced;
        enter(kDrained, now);
      }
      break;
  }
  return phase_;
}

WorkSet DrainMachine::refused() const {
  if (request_.handover) return {};
  // Loads come to frontends over HTTP: as soon as balancers have noticed they are new clients like others.
  if (request_.exit.frontend && phase_ == kTransactionWait) return kNoClients;
  return request_.frontend_only && phase_ > kTransactionWait ? kNoClients : row(phase_).refused;
}

DrainOrders DrainMachine::orders() const {
  DrainOrders out;
  if (!draining()) return out;
  out.ready = request_.rehearsal || request_.handover;
  out.refused = refused();
  out.shed_leases = !request_.frontend_only;
  out.keep_busy = request_.exit.fragments && !request_.handover && phase_ <= kFragmentWait;
  out.resign = true;
  out.ends = request_.ends;
  out.close_idle = phase_ >= kTransactionWait && !request_.handover;
  out.close_all = phase_ > kTransactionWait;
  // In a handover what is left ends by itself: reads soon after their lease left, the rest before the store is closed.
  out.roll_back_foreign = phase_ > kFragmentWait && !request_.handover && !request_.frontend_only;
  out.step_out = phase_ >= kStepOut && !request_.frontend_only;
  out.close_inputs = request_.leave && (request_.inputs_closed || phase_ >= kConnectionWait);
  out.may_stop = phase_ == kDrained;
  return out;
}

DrainBlocker DrainMachine::blocker(Instant now, const DrainSettings& settings, const DrainLoad& load) const {
  if (phase_ == kServing || phase_ == kDrained) return DrainBlocker::kNone;
  if (request_.rehearsal) return load.leases > load.unmovable_leases ? DrainBlocker::kLeases : DrainBlocker::kNone;
  if (request_.handover && phase_ >= kFragmentWait && load.connections == 0 && !handover_left(load))
    return load.leases > load.unmovable_leases ? DrainBlocker::kLeases : DrainBlocker::kForeignWork;
  if (awaits_acknowledgement(now, settings, load)) return DrainBlocker::kAcknowledgement;
  if (phase_ == kUnready) return now < *wait_until(settings, load) ? DrainBlocker::kWait : DrainBlocker::kNone;
  if (phase_ == kConnectionWait) return load.connections > 0 ? DrainBlocker::kConnections : DrainBlocker::kNone;
  if (load.transactions > 0) return DrainBlocker::kTransactions;
  if (load.connections > 0) return DrainBlocker::kConnections;
  if (phase_ == kTransactionWait) return DrainBlocker::kNone;
  if (request_.frontend_only) return load.office ? DrainBlocker::kLeases : DrainBlocker::kNone;
  if (load.work() > 0) return DrainBlocker::kForeignWork;
  if (phase_ == kFragmentWait) return DrainBlocker::kNone;
  const bool left = load.leases > 0 || load.office || (phase_ == kStepOut && load.insync > 0);
  if (left && !load.metadata) return DrainBlocker::kMetadata;
  if (load.office || load.leases > load.unmovable_leases) return DrainBlocker::kLeases;
  if (load.leases > 0 && !request_.force && !request_.handover) return DrainBlocker::kSingleReplica;
  if (ingest_left(load)) return load.inputs > 0 ? DrainBlocker::kInputs : DrainBlocker::kBuffers;
  return phase_ == kStepOut && load.insync > 0 ? DrainBlocker::kInSync : DrainBlocker::kNone;
}

}  // namespace outlast::lifecycle
