#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/ids.h"

namespace outlast::sql {

/// What BackendKeyData tells a client so that it can cancel its statements from another connection.
struct CancelKey {
  std::int32_t pid{0};  ///< Always positive: 11 bits of the node, 20 bits of a running number.
  std::string key;      ///< Secret; 4 bytes in protocol 3.0, up to 256 later.
};

/// The node a pid was given out by, so that a cancel request that a balancer sent elsewhere can be forwarded.
NodeId node_of_pid(std::int32_t pid);

/// The sessions of this node by cancel key. Thread-safety: any thread; `on_cancel` runs on the thread of cancel(),
/// under the registry's lock, and so must only hand the news on.
class CancelRegistry {
 public:
  explicit CancelRegistry(NodeId node);
  CancelKey add(std::function<void()> on_cancel);
  /// A key that another worker of this node gave out. A session of ours may happen to have the same pid: the keys tell
  /// them apart.
  void adopt(const CancelKey& key, std::function<void()> on_cancel);
  void remove(const CancelKey& key);
  /// As node_of_pid() says it of the pids that are given out here.
  NodeId node() const;
  /// False when no session has this pid and key. Keys are compared in constant time.
  bool cancel(std::int32_t pid, std::string_view key);

 private:
  struct Entry {
    std::string key;
    std::function<void()> on_cancel;
  };
  NodeId node_;
  std::mutex mutex_;
  std::uint32_t next_;  ///< Begins anywhere, so that two workers of a node seldom give out the same pid.
  std::unordered_multimap<std::int32_t, Entry> entries_;
};

}  // namespace outlast::sql
