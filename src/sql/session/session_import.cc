// A session from a proto::SessionState.
#include "sql/session/client_session.h"

namespace outlast::sql {
namespace {
Error not_here(const std::string& what) {
  return Error(Errc::kInvalidArgument, "a session of another worker cannot go on here: " + what);
}

// What of the message is not known here.
proto::PreparedStatement rest_of(proto::PreparedStatement prepared) {
  prepared.clear_name();
  prepared.clear_text();
  prepared.clear_parameter_types();
  return prepared;
}
proto::SessionVariable rest_of(proto::SessionVariable variable) {
  variable.clear_name();
  variable.clear_fallback();
  variable.clear_value();
  variable.clear_reported();
  return variable;
}
proto::SeenGate rest_of(proto::SeenGate seen) {
  seen.clear_range();
  seen.clear_epoch();
  seen.clear_lsn();
  return seen;
}
}  // namespace

Result<void> ClientSession::restore(proto::SessionState state, std::shared_ptr<SessionObserver> observer) {
  io_.input().append(state.input());
  io_.out.raw(state.output());
  unsent_ = !io_.out.empty();
  if (Result<void> done = restore_parts(state); !done.ok()) {
    unfit_ = true;
    return done;
  }
  io_.teller.begin(std::move(observer), state);
  carry(std::move(state));
  return {};
}

Result<void> ClientSession::restore_parts(const proto::SessionState& state) {
  if (state.starting()) return {};
  if (state.user().empty()) return not_here("it has no user");
  if (state.database().empty()) return not_here("it has no database");
  if (state.cancel_pid() <= 0 || state.cancel_key().empty() || state.cancel_key().size() > pgwire::kCancelKeyBytesMax)
    return not_here("it has no cancel key");
  state_.settings.begin_restore();
  for (const proto::SessionVariable& variable : state.variables())
    if (const auto known = state_.settings.restore(variable); !known.ok()) return not_here(known.error().message);
  for (const proto::PreparedStatement& from : state.prepared()) {
    Prepared prepared;
    prepared.text = from.text();
    prepared.given.assign(from.parameter_types().begin(), from.parameter_types().end());
    prepared.untranslated = true;
    prepared.carried = rest_of(from).SerializeAsString();
    state_.prepared[from.name()] = std::make_shared<const Prepared>(std::move(prepared));
  }
  state_.user = state.user();
  skip_to_sync_ = state.skip_to_sync();
  state_.gateway = host_.open_session();
  const proto::SeenGate& seen = state.seen();
  state_.gateway->resume(state.database(), {RangeId(seen.range()), Epoch(seen.epoch()), Lsn(seen.lsn())});
  apply_limits(state_);
  state_.connection = host_.gate.take_over(lifecycle::WorkKind::kConnection);
  key_ = {state.cancel_pid(), state.cancel_key()};
  host_.cancels.adopt(key_, cancel_hook());
  enter_waiting();
  return {};
}

void ClientSession::carry(proto::SessionState state) {
  state.clear_starting();
  state.clear_user();
  state.clear_database();
  state.clear_cancel_pid();
  state.clear_cancel_key();
  state.clear_input();
  state.clear_output();
  state.clear_prepared();
  state.clear_skip_to_sync();
  if (state.has_seen()) *state.mutable_seen() = rest_of(state.seen());
  if (state.has_seen() && state.seen().ByteSizeLong() == 0) state.clear_seen();
  google::protobuf::RepeatedPtrField<proto::SessionVariable> variables;
  variables.Swap(state.mutable_variables());
  for (proto::SessionVariable& variable : variables) {
    const std::string name = variable.name();
    if (!state_.settings.known(name)) {
      state.add_variables()->Swap(&variable);
      continue;
    }
    proto::SessionVariable rest = rest_of(std::move(variable));
    if (rest.ByteSizeLong() == 0) continue;
    rest.set_name(name);
    state.add_variables()->Swap(&rest);
  }
  if (state.ByteSizeLong() > 0) carried_ = std::make_unique<proto::SessionState>(std::move(state));
}

}  // namespace outlast::sql
