#pragma once
#include <memory>
#include <string>

#include "handover/child.h"
#include "handover/sockets.h"

namespace outlast::handover {

/// What a new supervisor finds at its store.
struct Found {
  enum class What : std::uint8_t {
    kNobody,  ///< The store is free: start a worker.
    kWorker,  ///< A worker serves without a supervisor: it is ours now, with its sockets.
    kSilent,  ///< Somebody holds the store and does not answer: ask again, it may be starting or handing over.
  };
  What what{What::kNobody};
  std::unique_ptr<Child> worker;
  Listeners listeners;
  std::string holder;  ///< kSilent: "pid 123", as the lock file says.
  bool source_only{false};
};

/// Asks at STORE/worker.sock; waits at most 5 s for somebody who has answered the call.
Found look_for_worker(const std::string& store);

}  // namespace outlast::handover
