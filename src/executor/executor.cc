#include "executor/executor.h"

#include "executor/channel_core.h"
#include "executor/local_channel.h"

namespace outlast::executor {

Executor::Executor(const replication::LeaseDirectory& directory, SqlPool& pool, const Clock& clock,
                   Parameters parameters, ConnectionSetup setup)
    : services_(std::make_shared<Services>(directory, pool, clock, parameters, std::move(setup))) {}

Executor::~Executor() {
  services_->stop_long();
}

std::unique_ptr<Channel> Executor::open_channel(std::uint64_t gateway) {
  const std::lock_guard lock(services_->mutex);
  const std::uint64_t number = services_->next_channel++;
  auto core = std::make_shared<ChannelCore>(services_, gateway, number);
  services_->channels.emplace(number, core);
  return std::make_unique<LocalChannel>(std::move(core));
}

std::vector<std::shared_ptr<ChannelCore>> Executor::channels() const {
  const std::lock_guard lock(services_->mutex);
  std::vector<std::shared_ptr<ChannelCore>> channels;
  channels.reserve(services_->channels.size());
  for (const auto& [number, weak] : services_->channels)
    if (auto channel = weak.lock()) channels.push_back(std::move(channel));
  return channels;
}

void Executor::sweep() {
  const Instant now = services_->clock.now();
  for (const auto& channel : channels()) channel->tick(now);
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
  const auto open = channels();
  stats.channels = open.size();
  for (const auto& channel : open) channel->count(stats);
  return stats;
}

ForeignWork Executor::foreign_work(std::uint64_t own, Instant before) const {
  ForeignWork work;
  for (const auto& channel : channels())
    if (channel->gateway() != own) channel->count(work, before);
  return work;
}

void Executor::let_reads_finish(bool yes) {
  services_->reads_finish = yes;
}

void Executor::end_foreign_work(std::uint64_t own, Instant before) {
  for (const auto& channel : channels())
    if (channel->gateway() != own) channel->end_work(before);
}

std::set<RangeId> Executor::busy_ranges(Instant before) const {
  std::set<RangeId> busy;
  for (const auto& channel : channels()) channel->add_busy(busy, before);
  return busy;
}

}  // namespace outlast::executor
