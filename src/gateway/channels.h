#pragma once
#include <functional>
#include <memory>

#include "base/ids.h"
#include "base/result.h"
#include "executor/channel.h"

namespace outlast::gateway {

/// Ways to executors. Thread-safety: any thread.
class ChannelFactory {
 public:
  virtual ~ChannelFactory() = default;
  /// A channel for one session. Cheap and without waiting: an unreachable node shows in the first call. kUnavailable.
  virtual Result<std::unique_ptr<executor::Channel>> open(NodeId node, Incarnation incarnation) = 0;
};

/// To the executor of this process directly, to any other through `remote`.
class LocalOrRemoteChannels final : public ChannelFactory {
 public:
  using Local = std::function<std::unique_ptr<executor::Channel>()>;
  using Remote = std::function<Result<std::unique_ptr<executor::Channel>>(NodeId, Incarnation)>;
  LocalOrRemoteChannels(NodeId self, Incarnation incarnation, Local local, Remote remote)
      : self_(self), incarnation_(incarnation), local_(std::move(local)), remote_(std::move(remote)) {}
  Result<std::unique_ptr<executor::Channel>> open(NodeId node, Incarnation incarnation) override {
    if (node == self_ && incarnation == incarnation_) return local_();
    return remote_(node, incarnation);
  }

 private:
  const NodeId self_;
  const Incarnation incarnation_;
  const Local local_;
  const Remote remote_;
};

}  // namespace outlast::gateway
