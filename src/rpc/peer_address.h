#pragma once
#include <string>

#include "base/ids.h"

namespace outlast::rpc {

/// Where a peer's present process listens for other nodes.
struct PeerAddress {
  std::string address;  ///< host:port
  Incarnation incarnation;
  friend bool operator==(const PeerAddress&, const PeerAddress&) = default;
};

}  // namespace outlast::rpc
