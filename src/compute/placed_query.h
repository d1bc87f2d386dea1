#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "compute/engine.h"
#include "executor/channel.h"

namespace outlast::compute {

/// A query that a compute node runs whole. A place that refuses it because it leaves, or that is gone before the first
/// row, is passed over unseen for the next; after the last one comes this node.
class PlacedQuery final : public Query {
 public:
  using ChannelPtr = std::shared_ptr<executor::Channel>;
  PlacedQuery(Engine& engine, Plan plan, std::vector<std::unique_ptr<executor::Channel>> places);
  ~PlacedQuery() override;
  boost::asio::awaitable<Result<gateway::Rows>> start(gateway::Limits limits, std::uint64_t max_rows) override;
  boost::asio::awaitable<Result<gateway::Rows>> fetch(gateway::Limits limits, std::uint64_t max_rows) override;
  void interrupt() override;

 private:
  boost::asio::awaitable<Result<gateway::Rows>> start_at(ChannelPtr place, gateway::Limits limits,
                                                         std::uint64_t max_rows);
  /// False: an interrupt has come already.
  bool set_running(ChannelPtr place, std::shared_ptr<Query> here);

  Engine& engine_;
  Plan plan_;
  std::vector<ChannelPtr> places_;
  ChannelPtr place_;             ///< Where it runs.
  std::shared_ptr<Query> here_;  ///< On this node instead.
  std::uint64_t portal_{0};

  std::mutex mutex_;  ///< Of what interrupt() touches.
  ChannelPtr running_;
  std::shared_ptr<Query> running_here_;
  bool interrupted_{false};
};

}  // namespace outlast::compute
