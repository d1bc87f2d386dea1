#pragma once
#include <functional>
#include <memory>

#include "executor/channel.h"

namespace outlast::executor {

class ChannelCore;

/// A channel to the executor of this very process. Made by Executor::open_channel. The reply is posted straight to the
/// executor of the awaiting coroutine.
class LocalChannel final : public Channel {
 public:
  explicit LocalChannel(std::shared_ptr<ChannelCore> core) : core_(std::move(core)) {}
  ~LocalChannel() override;
  boost::asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) override;
  /// As call(), without a coroutine: `done` runs once, on any thread, and must not block.
  void start(proto::ExecRequest request, std::move_only_function<void(proto::ExecReply)> done);
  void interrupt() override;
  bool alive() const override { return true; }

 private:
  std::shared_ptr<ChannelCore> core_;
};

}  // namespace outlast::executor
