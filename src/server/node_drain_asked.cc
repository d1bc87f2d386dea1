// NodeDrain: what operators, tasks, a stop and a restart ask of it.
#include "server/node_drain.h"

namespace outlast::server {

void NodeDrain::handle(const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
  Result<void> accepted;
  switch (request.action()) {
    case proto::DrainRequest::DRAIN:
      accepted = drain(request);
      break;
    case proto::DrainRequest::UNDRAIN:
      accepted = undrain(request);
      break;
    case proto::DrainRequest::REHEARSE:
      accepted = rehearse(std::chrono::milliseconds(request.rehearse_ms()), request.by());
      break;
    case proto::DrainRequest::DRY_RUN:
      return done(plan());
    default:
      break;
  }
  if (!accepted.ok()) return done(std::move(accepted).error());
  done(status());
}

Result<void> NodeDrain::drain(const proto::DrainRequest& request) {
  lifecycle::DrainRequest wanted{.force = request.force(), .leave = request.leave()};
  const std::string by = request.by().empty() ? "an operator" : request.by();
  if (request.deadline_ms() > 0) wanted.deadline = parts_.loop.now() + std::chrono::milliseconds(request.deadline_ms());
  if (drainer_.handing_over() && !operators_) operators_ = {wanted, by};  // the new worker's
  wanted.ends = request.shutdown();
  if (drainer_.begins(wanted)) begin_receipt();
  TRY(drainer_.drain(wanted, by));
  if (request.shutdown()) drainer_.when_drained([this] { parts_.end_process(); }, false);
  return {};
}

Result<void> NodeDrain::undrain(const proto::DrainRequest& request) {
  const auto record = parts_.state.nodes().find(meta::keys::node(parts_.self.node));
  const bool decommissioning = record && record->value.membership != meta::Membership::kActive;
  if (!request.leave() && drainer_.draining() && (decommissioning || leaving())) {
    const std::string node = parts_.self.node.to_string();
    return Error(Errc::kInvalidState, "node " + node +
                                          " leaves the cluster, and is drained for that; to keep it, run " +
                                          "`outlast node recommission " + node + "`, which undrains it, too");
  }
  if (!drainer_.handing_over()) return drainer_.undrain();
  operators_.reset();
  return {};
}

void NodeDrain::drain_for_stop(const Stop& how, Task done) {
  stopping_ = true;
  lifecycle::DrainRequest wanted{.ends = true, .exit = how.exit, .limit = how.limit};
  if (how.grace > Duration::zero()) wanted.deadline = parts_.loop.now() + how.grace;
  if (drainer_.begins(wanted)) begin_receipt();
  (void)drainer_.drain(wanted, how.exit.any() ? "a graceful exit" : "the process's stop");
  drainer_.when_drained(std::move(done), true);
}

Result<void> NodeDrain::leave_frontend(std::optional<Duration> limit) {
  const lifecycle::DrainRequest wanted{.exit = {.frontend = true}, .limit = limit, .frontend_only = true};
  if (drainer_.begins(wanted)) begin_receipt();
  return drainer_.drain(wanted, "the frontend's graceful exit");
}

void NodeDrain::hand_over(Task done) {
  if (drainer_.draining() && !drainer_.rehearsing()) operators_ = {drainer_.request(), drainer_.by()};
  if (operators_) operators_->request.inputs_closed = drainer_.orders().close_inputs;
  begin_receipt();
  (void)drainer_.drain({.handover = true}, "zero-downtime restart");
  drainer_.when_drained(std::move(done), false);
}

void NodeDrain::stay() {
  (void)drainer_.undrain();
  if (!operators_) return;
  const Asked again = *std::exchange(operators_, std::nullopt);
  (void)drainer_.drain(again.request, again.by);
}

std::optional<proto::HandoverDrain> NodeDrain::to_carry_on() const {
  if (!operators_) return std::nullopt;
  proto::HandoverDrain out;
  out.set_by(operators_->by);
  out.set_force(operators_->request.force || drainer_.request().force);
  out.set_leave(leaving());
  out.set_frontend_only(operators_->request.frontend_only);
  out.set_inputs_closed(drainer_.orders().close_inputs);
  return out;
}

void NodeDrain::carry_on(const proto::HandoverDrain& drain) {
  begin_receipt();
  lifecycle::DrainRequest wanted{
      .force = drain.force(), .leave = drain.leave(), .inputs_closed = drain.inputs_closed()};
  wanted.exit.frontend = wanted.frontend_only = drain.frontend_only();
  (void)drainer_.drain(wanted, drain.by());
}

Result<void> NodeDrain::rehearse(Duration time, const std::string& by) {
  if (time <= Duration::zero()) return Error(Errc::kInvalidArgument, "say for how long the leases are to be away");
  if (drainer_.rehearsing()) return Error(Errc::kInvalidState, "a rehearsal is under way: wait for its end");
  if (!drainer_.draining()) begin_receipt();
  TRY(drainer_.drain({.rehearsal = true}, by.empty() ? "an operator" : by));
  rehearsal_end_ = parts_.loop.after(time, [this] {
    rehearsal_end_ = 0;
    end_rehearsal();
  });
  return {};
}

/// By itself, so that nobody has to come back for it.
void NodeDrain::end_rehearsal() {
  if (!drainer_.rehearsing()) return;
  keep_receipt(drainer_.view());
  (void)drainer_.undrain();
}

}  // namespace outlast::server
