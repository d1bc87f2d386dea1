#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "compute/engine.h"
#include "executor/channel.h"
#include "lifecycle/gate.h"

namespace outlast::compute {

class ServedChannel;

/// All channels that this node serves for others. Thread-safety: any thread. Lifetime: outlives its channels.
class ServedChannels {
 public:
  /// Ends queries that began before, and counts fragments that did so no more: the executor has ended those itself.
  /// What begins at this instant may slip through: repeat it until the gate counts none.
  void end_work(Instant before);

 private:
  friend class ServedChannel;
  std::mutex mutex_;
  std::set<ServedChannel*> all_;
};

/// A channel for a gateway elsewhere: runs whole queries for it, and counts them and its fragments as work of this
/// node. All else goes to the executor's channel below. A node that leaves refuses queries, which any other can run; a
/// fragment of a range that is led here can run nowhere else, and is only counted (protocol A7).
/// Thread-safety: executor/channel.h. Lifetime: engine, gate and `all` outlive it.
class ServedChannel final : public executor::Channel {
 public:
  ServedChannel(std::unique_ptr<executor::Channel> below, Engine& engine, lifecycle::Gate& gate, ServedChannels& all);
  ~ServedChannel() override;
  boost::asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) override;
  void interrupt() override;
  bool alive() const override { return below_->alive(); }

 private:
  friend class ServedChannels;
  struct Open {
    std::shared_ptr<Query> query;  ///< Null: a fragment, at the executor.
    lifecycle::Ticket ticket;
    Instant since;
  };
  struct Running {
    std::shared_ptr<Query> query;
    Instant since;
    bool ended{false};  ///< By end_work().
  };
  /// Portals of queries have this bit; the executor counts its own from 1.
  static constexpr std::uint64_t kOwn = std::uint64_t{1} << 62;

  boost::asio::awaitable<proto::ExecReply> compute(proto::ExecRequest request);
  boost::asio::awaitable<proto::ExecReply> fetch(proto::ExecRequest request);
  boost::asio::awaitable<proto::ExecReply> fragment(proto::ExecRequest request);
  Open take(std::uint64_t portal);
  void set_running(const Open& work);
  /// The answer after a step of a query, which stays open as `portal` if it has more rows.
  proto::ExecReply after_step(std::uint64_t portal, Open work, Result<gateway::Rows> rows);
  /// The portal of a fragment is open work until its last row.
  void count_portal(std::uint64_t portal, const proto::ExecReply& reply, Open work);
  void end_work(Instant before);

  const std::unique_ptr<executor::Channel> below_;
  Engine& engine_;
  lifecycle::Gate& gate_;
  ServedChannels& all_;
  std::uint64_t next_{kOwn};
  std::mutex mutex_;  ///< Of what end_work() and interrupt() touch.
  std::map<std::uint64_t, Open> open_;
  Running running_;
};

}  // namespace outlast::compute
