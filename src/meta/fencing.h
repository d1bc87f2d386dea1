#pragma once
#include <string>

#include "liveness/params.h"
#include "meta/store.h"

namespace outlast::meta {

/// Writes the fence of an incarnation whose process is *known* to be gone (protocol A2.3): by the supervisor once it
/// has reaped its worker, or by the worker itself as its last act, all gates closed and fast reads off. Tries again
/// every 200 ms while metadata is out of reach; the TTL is the fall-back. A fence that is there already is success,
/// and a late one cannot touch the next incarnation.
/// `by` and `why` are kept for people. Calls back on the loop, once. The store must live until then.
void fence_now(Store& store, Loop& loop, liveness::Peer gone, std::string by, std::string why, Callback<void> done);

/// What a fence record says: {"by": …, "why": …}.
std::string encode_fence(const std::string& by, const std::string& why);

}  // namespace outlast::meta
