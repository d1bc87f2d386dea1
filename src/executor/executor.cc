#include "executor/executor.h"

#include <vector>

#include "executor/channel_core.h"
#include "executor/local_channel.h"

namespace outlast::executor {

Executor::Executor(const replication::LeaseDirectory& directory, SqlPool& pool, const Clock& clock,
                   Parameters parameters, ConnectionSetup setup)
    : services_(std::make_shared<Services>(directory, pool, clock, parameters, std::move(setup))) {}

Executor::~Executor() = default;

std::unique_ptr<Channel> Executor::open_channel(std::uint64_t gateway) {
  const std::lock_guard lock(services_->mutex);
  const std::uint64_t number = services_->next_channel++;
  auto core = std::make_shared<ChannelCore>(services_, gateway, number);
  services_->channels.emplace(number, core);
  return std::make_unique<LocalChannel>(std::move(core));
}

void Executor::sweep() {
  std::vector<std::shared_ptr<ChannelCore>> channels;
  {
    const std::lock_guard lock(services_->mutex);
    channels.reserve(services_->channels.size());
    for (const auto& [number, weak] : services_->channels)
      if (auto channel = weak.lock()) channels.push_back(std::move(channel));
  }
  const Instant now = services_->clock.now();
  for (const auto& channel : channels) channel->tick(now);
  if (services_->connections.has_idle())
    services_->sql.post([services = services_, now] { services->connections.sweep(now); });
}

const Counters& Executor::counters() const {
  return services_->counters;
}

ExecutorStats Executor::stats() const {
  ExecutorStats stats;
  stats.connections = services_->connections.open();
  stats.sql_queue = services_->sql.queued();
  std::vector<std::shared_ptr<ChannelCore>> channels;
  {
    const std::lock_guard lock(services_->mutex);
    for (const auto& [number, weak] : services_->channels)
      if (auto channel = weak.lock()) channels.push_back(std::move(channel));
  }
  stats.channels = channels.size();
  for (const auto& channel : channels) channel->count(stats);
  return stats;
}

}  // namespace outlast::executor
