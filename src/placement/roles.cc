#include "placement/roles.h"

namespace outlast::placement {

Result<Roles> parse_roles(std::string_view text) {
  Roles roles{.frontend = false, .backend = false, .compute = false};
  const std::string given(text);
  for (bool more = true; more;) {
    const std::size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    more = comma != std::string_view::npos;
    text.remove_prefix(more ? comma + 1 : text.size());
    bool* const role = word == "frontend"  ? &roles.frontend
                       : word == "backend" ? &roles.backend
                       : word == "compute" ? &roles.compute
                                           : nullptr;
    if (role == nullptr)
      return Error(Errc::kInvalidArgument, "\"" + given + "\" is no list of roles: write one or more of frontend, " +
                                               "backend and compute, separated by commas");
    *role = true;
  }
  return roles;
}

std::string to_string(const Roles& roles) {
  std::string out;
  const auto add = [&out](bool has, const char* word) {
    if (has) out += (out.empty() ? "" : ",") + std::string(word);
  };
  add(roles.frontend, "frontend");
  add(roles.backend, "backend");
  add(roles.compute, "compute");
  return out;
}

}  // namespace outlast::placement
