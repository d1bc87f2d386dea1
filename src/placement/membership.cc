#include "placement/membership.h"

namespace outlast::placement {

std::string_view to_string(Membership membership) {
  switch (membership) {
    case Membership::kActive:
      return "active";
    case Membership::kDecommissioning:
      return "decommissioning";
    case Membership::kDecommissioned:
      return "decommissioned";
  }
  return "active";
}

}  // namespace outlast::placement
