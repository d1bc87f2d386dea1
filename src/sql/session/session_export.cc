// A session as a proto::SessionState.
#include "sql/session/client_session.h"

namespace outlast::sql {

proto::SessionState ClientSession::exported() const {
  proto::SessionState out;
  if (carried_) {
    out = *carried_;
    out.clear_variables();
  }
  out.set_input(std::string(io_.input().buffered()));
  out.set_output(std::string(io_.out.bytes()));
  out.set_starting(!state_.gateway);
  if (!state_.gateway) return out;
  out.set_user(state_.user);
  out.set_database(state_.gateway->database());
  out.set_cancel_pid(key_.pid);
  out.set_cancel_key(key_.key);
  out.set_skip_to_sync(skip_to_sync_);
  state_.settings.export_to(out);
  export_prepared(out);
  if (const gateway::Seen seen = state_.gateway->seen(); seen.lsn != Lsn()) {
    out.mutable_seen()->set_range(seen.range.value);
    out.mutable_seen()->set_epoch(seen.epoch.value);
    out.mutable_seen()->set_lsn(seen.lsn.value);
  }
  export_carried(out);
  return out;
}

void ClientSession::export_prepared(proto::SessionState& out) const {
  for (const auto& [name, prepared] : state_.prepared) {
    proto::PreparedStatement& to = *out.add_prepared();
    (void)to.ParseFromString(prepared->carried);  // our own serialization
    to.set_name(name);
    to.set_text(prepared->text);
    to.mutable_parameter_types()->Assign(prepared->given.begin(), prepared->given.end());
  }
}

// Variables: those that nobody here knows as they came, and a newer worker's fields of the others.
void ClientSession::export_carried(proto::SessionState& out) const {
  if (!carried_) return;
  for (const proto::SessionVariable& carried : carried_->variables()) {
    if (!state_.settings.known(carried.name())) {
      *out.add_variables() = carried;
      continue;
    }
    for (proto::SessionVariable& variable : *out.mutable_variables())
      if (variable.name() == carried.name()) variable.MergeFrom(carried);
  }
}

}  // namespace outlast::sql
