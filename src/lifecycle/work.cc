#include "lifecycle/work.h"

namespace outlast::lifecycle {

std::string_view to_string(WorkKind kind) {
  switch (kind) {
    case WorkKind::kConnection:
      return "connections";
    case WorkKind::kTransaction:
      return "transactions";
    case WorkKind::kStatement:
      return "statements";
    case WorkKind::kFragment:
      return "fragments";
    case WorkKind::kLoad:
      return "loads";
    case WorkKind::kJob:
      return "jobs";
  }
  return "unknown";
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return "done";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kUnknown:
      return "unknown";
  }
  return "unknown";
}

}  // namespace outlast::lifecycle
