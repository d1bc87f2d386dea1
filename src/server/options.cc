#include "server/options.h"

namespace outlast::server {

bool takes_clients(const StartOptions& options) {
  return !is_collector(options) && roles_of(options).frontend;
}

placement::Roles roles_of(const StartOptions& options) {
  return placement::parse_roles(options.roles).value();
}

bool same_roles(const StartOptions& a, const StartOptions& b) {
  const auto first = placement::parse_roles(a.roles), second = placement::parse_roles(b.roles);
  return first.ok() && second.ok() ? *first == *second : a.roles == b.roles;
}

Result<void> check_roles(const StartOptions& options) {
  if (is_collector(options)) {
    if (options.meta.empty() && !options.single_node) return {};
    return Error(Errc::kInvalidArgument,
                 "--roles=none is a collector, which has no metadata and belongs to no cluster: leave --meta and "
                 "--single-node out, or leave --roles out for a node with a database");
  }
  if (auto roles = placement::parse_roles(options.roles); !roles.ok())
    return Error(Errc::kInvalidArgument,
                 "--roles: " + roles.error().message + "; or `none`, which makes a collector without a database");
  if (options.single_node && !roles_of(options).all())
    return Error(Errc::kInvalidArgument, "--single-node is all of a cluster and needs all roles: leave --roles out");
  if (!options.meta.empty()) return {};
  return Error(Errc::kInvalidArgument, "--meta is required: on the command line, or as `meta` in the file of --config");
}

}  // namespace outlast::server
