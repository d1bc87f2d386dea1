#include "loads/keeper.h"

#include <chrono>

#include "loads/load.h"

namespace outlast::loads {
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {
constexpr Duration kTime = 10s;  ///< For one label; what it was not enough for is done the next time.

Patience::Until soon() {
  return std::chrono::steady_clock::now() + kTime;
}

/// What was done, or nothing.
asio::awaitable<Result<std::string>> carry_out(gateway::Cluster& cluster, std::string database, Label label,
                                               Duty duty) {
  const std::string what = "load \"" + label.label + "\" of database \"" + database + "\" ";
  if (duty == Duty::kApply) {
    auto done = co_await apply_committed(cluster, database, label, soon());
    if (!done.ok()) co_return std::move(done).error();
    co_return done->state == State::kDone ? what + "was committed and is applied now"
                                          : what + "is committed and cannot be applied yet: " + done->error;
  }
  if (duty == Duty::kAbort) {
    Labels labels(cluster, database);
    label.error = "its owner left it, or its time was over";
    auto state = co_await labels.move(label, {State::kPreparing, State::kPrepared}, State::kAborted, soon());
    if (!state.ok()) co_return std::move(state).error();
    if (*state != State::kAborted) co_return std::string();
  }
  if (duty == Duty::kAbort || duty == Duty::kSweep) {
    if (auto swept = co_await sweep_aborted(cluster, database, label, soon()); !swept.ok())
      co_return std::move(swept).error();
    co_return what + "was not committed and is aborted";
  }
  if (auto gone = co_await forget_ended(cluster, database, label, soon()); !gone.ok())
    co_return std::move(gone).error();
  co_return std::string();
}
}  // namespace

asio::awaitable<Result<std::vector<std::string>>> look_after(gateway::Cluster& cluster, std::string database,
                                                             Duration keep) {
  const KeeperTimes times{.keep = keep / 1us};
  Labels labels(cluster, database);
  auto list = co_await labels.unfinished(cluster.wall_micros() - times.keep, soon());
  if (!list.ok()) co_return std::move(list).error();
  std::vector<std::string> said;
  for (Label& label : *list) {
    const Duty duty = duty_of(label, {cluster.wall_micros(), cluster.process_gone(label.owner)}, times);
    if (duty == Duty::kNone) continue;
    auto done = co_await carry_out(cluster, database, std::move(label), duty);
    if (!done.ok()) said.push_back("a load of database \"" + database + "\" has to wait: " + done.error().message);
    if (done.ok() && !done->empty()) said.push_back(*std::move(done));
  }
  co_return said;
}

}  // namespace outlast::loads
