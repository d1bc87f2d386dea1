#pragma once
#include <grpcpp/support/status.h>

#include <cstdint>

#include "base/error.h"

namespace outlast::etcd {

/// What a failed call says about the request. "Refused" and "not now" are given only where etcd answers before it
/// proposes the change to its members, or where applying it refuses it; everything else is unclear.
enum class Verdict : std::uint8_t {
  kRefused,   ///< Certainly not applied; asking again gives the same answer.
  kNotNow,    ///< Certainly not applied; later, or at another member, it may be.
  kNewToken,  ///< Certainly not applied: log in again first.
  kNoSpace,   ///< etcd is over its quota. It says so also of the change that took it there, and that one *is* applied.
  kUnclear,   ///< It may be applied, now or later.
};
struct Judgement {
  Verdict verdict{Verdict::kUnclear};
  Error error;  ///< As a caller sees it when nothing was applied.
};
/// For a status that is not OK. Pure.
Judgement judge(const grpc::Status& status);

}  // namespace outlast::etcd
