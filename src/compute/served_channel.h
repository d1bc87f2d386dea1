#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "compute/engine.h"
#include "executor/channel.h"
#include "lifecycle/gate.h"

namespace outlast::compute {

/// A channel for a gateway elsewhere: runs whole queries for it, and counts them and its fragments as work of this
/// node. All else goes to the executor's channel below. A node that leaves refuses queries, which any other can run; a
/// fragment of a range that is led here can run nowhere else, and is only counted (protocol A7).
/// Thread-safety: executor/channel.h. Lifetime: engine and gate outlive it.
class ServedChannel final : public executor::Channel {
 public:
  ServedChannel(std::unique_ptr<executor::Channel> below, Engine& engine, lifecycle::Gate& gate)
      : below_(std::move(below)), engine_(engine), gate_(gate) {}
  boost::asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) override;
  void interrupt() override;
  bool alive() const override { return below_->alive(); }

 private:
  struct Open {
    std::shared_ptr<Query> query;
    lifecycle::Ticket ticket;
  };
  /// Portals of queries have this bit; the executor counts its own from 1.
  static constexpr std::uint64_t kOwn = std::uint64_t{1} << 62;

  boost::asio::awaitable<proto::ExecReply> compute(proto::ExecRequest request);
  boost::asio::awaitable<proto::ExecReply> fetch(proto::ExecRequest request);
  boost::asio::awaitable<proto::ExecReply> fragment(proto::ExecRequest request);
  /// The portal of a fragment is open work until its last row.
  void count_portal(std::uint64_t portal, const proto::ExecReply& reply, lifecycle::Ticket ticket);
  void set_running(std::shared_ptr<Query> query);

  const std::unique_ptr<executor::Channel> below_;
  Engine& engine_;
  lifecycle::Gate& gate_;
  std::map<std::uint64_t, Open> open_;
  std::map<std::uint64_t, lifecycle::Ticket> fragments_;  ///< By the executor's portals.
  std::uint64_t next_{kOwn};
  std::mutex mutex_;  ///< Of `running_`.
  std::shared_ptr<Query> running_;
};

}  // namespace outlast::compute
