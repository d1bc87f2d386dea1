// What a decommission's states and reasons are called.
#include "lifecycle/decommission.h"

namespace outlast::lifecycle {

std::string_view to_string(StallReason reason) {
  switch (reason) {
    case StallReason::kNone:
      return "nothing";
    case StallReason::kMetadata:
      return "metadata";
    case StallReason::kNotEnoughNodes:
      return "not enough nodes";
    case StallReason::kDiskSpace:
      return "disk space";
    case StallReason::kFailureDomain:
      return "failure domain";
    case StallReason::kUnavailable:
      return "unavailable";
    case StallReason::kNoLeaseholder:
      return "no leaseholder";
    case StallReason::kRefused:
      return "refused";
    case StallReason::kCopying:
      return "copying";
    case StallReason::kQueued:
      return "queued";
    case StallReason::kSilentMember:
      return "silent member";
    case StallReason::kDeletion:
      return "deletion";
    case StallReason::kReplicas:
      return "replicas";
    case StallReason::kLeases:
      return "leases";
    case StallReason::kTasks:
      return "tasks";
    case StallReason::kBuffers:
      return "ingest buffers";
    case StallReason::kDrain:
      return "drain";
    case StallReason::kSilentNode:
      return "it does not answer, and is not dead yet";
    case StallReason::kNotFenced:
      return "it is dead, and not fenced yet";
    case StallReason::kLastFrontend:
      return "it is the last frontend";
    case StallReason::kLastInput:
      return "it has the last ingest input";
  }
  return "nothing";
}

std::string_view to_string(DecommissionOrder::Kind kind) {
  using Kind = DecommissionOrder::Kind;
  switch (kind) {
    case Kind::kMark:
      return "mark";
    case Kind::kDrain:
      return "drain";
    case Kind::kFinish:
      return "finish";
    case Kind::kUnmark:
      return "unmark";
    case Kind::kUndrain:
      return "undrain";
    case Kind::kSettle:
      return "settle";
  }
  return "mark";
}

std::string_view to_string(DecommissionStage stage) {
  switch (stage) {
    case DecommissionStage::kMarking:
      return "marking";
    case DecommissionStage::kMoving:
      return "moving";
    case DecommissionStage::kDraining:
      return "draining";
    case DecommissionStage::kFinishing:
      return "finishing";
    case DecommissionStage::kReturning:
      return "returning";
    case DecommissionStage::kSettled:
      return "settled";
  }
  return "marking";
}

}  // namespace outlast::lifecycle
