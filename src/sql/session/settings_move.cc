// Session variables on their way to another worker.
#include "proto/session.pb.h"
#include "sql/session/settings.h"
#include "sql/session/settings_table.h"

namespace outlast::sql {
namespace {
// Another program may have another one: what the client was told has to be known.
constexpr std::string_view kOfTheProgram = "server_version";
}  // namespace

void SessionSettings::export_to(proto::SessionState& out) const {
  const auto add = [&out](std::string_view key, const Variable& variable) {
    proto::SessionVariable& to = *out.add_variables();
    to.set_name(std::string(key));
    to.set_fallback(variable.boot);
    to.set_value(variable.session);
    if (variable.reported) to.set_reported(variable.last_reported);
  };
  add(kOfTheProgram, *find(kOfTheProgram));
  for (const auto& [key, variable] : variables_) {
    const bool as_fresh = variable.row != nullptr && variable.boot == variable.row->boot &&
                          variable.session == variable.boot &&
                          (!variable.reported || variable.last_reported == variable.boot);
    if (!as_fresh && key != kOfTheProgram) add(key, variable);
  }
}

void SessionSettings::begin_restore() {
  reported_once_ = changed_ = true;
}

Result<bool> SessionSettings::restore(const proto::SessionVariable& from) {
  Variable* variable = own(from.name());
  if (variable == nullptr) {
    if (from.name().find('.') == std::string::npos) return false;
    TRY(set(from.name(), from.value(), false));
    variable = own(from.name());
  }
  if (variable->reported) variable->last_reported = from.reported();
  const SettingRow* row = variable->row;
  if (row != nullptr && row->kind == SettingKind::kReadOnly && row->name != "session_authorization") return true;
  ASSIGN_OR_RETURN(variable->boot, checked(*variable, from.fallback(), true));
  ASSIGN_OR_RETURN(variable->session, checked(*variable, from.value(), true));
  return true;
}

}  // namespace outlast::sql
