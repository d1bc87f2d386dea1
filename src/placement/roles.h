#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::placement {

/// What a node does in the cluster: `--roles`, and the same words in its record.
struct Roles {
  bool frontend{true};  ///< Speaks SQL to clients, and stands for election as the leader frontend.
  bool backend{true};   ///< Stores replicas and leads ranges.
  bool compute{true};   ///< Runs parts of queries that need no data of its own.
  bool all() const { return frontend && backend && compute; }
  bool none() const { return !frontend && !backend && !compute; }
  /// Every role of `some` is one of these.
  bool include(const Roles& some) const {
    return (frontend || !some.frontend) && (backend || !some.backend) && (compute || !some.compute);
  }
  friend bool operator==(const Roles&, const Roles&) = default;
};

/// "frontend,compute": one role at least, in any order, each once or more often. kInvalidArgument.
Result<Roles> parse_roles(std::string_view text);
/// In the order frontend, backend, compute.
std::string to_string(const Roles& roles);

}  // namespace outlast::placement
