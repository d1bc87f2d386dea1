#include "server/options.h"

#include <set>
#include <sstream>

namespace outlast::server {

Result<void> check_roles(const StartOptions& options) {
  if (is_collector(options)) {
    if (options.meta.empty() && !options.single_node) return {};
    return Error(Errc::kInvalidArgument,
                 "--roles=none is a collector, which has no metadata and belongs to no cluster: leave --meta and "
                 "--single-node out, or leave --roles out for a node with a database");
  }
  std::set<std::string> roles;
  std::istringstream words(options.roles);
  for (std::string role; std::getline(words, role, ',');) roles.insert(role);
  if (roles != std::set<std::string>{"backend", "compute", "frontend"})
    return Error(Errc::kInvalidArgument, "--roles=" + options.roles +
                                             " is not possible: a node has all roles (frontend,backend,compute), or "
                                             "none of them, which makes it a collector without a database");
  if (!options.meta.empty()) return {};
  return Error(Errc::kInvalidArgument, "--meta is required: on the command line, or as `meta` in the file of --config");
}

}  // namespace outlast::server
