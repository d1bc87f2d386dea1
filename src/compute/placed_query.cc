#include "compute/placed_query.h"

#include <algorithm>
#include <utility>

#include "compute/messages.h"
#include "gateway/retry.h"

namespace outlast::compute {
namespace asio = boost::asio;
namespace {
void limit(proto::ExecRequest& request, const gateway::Limits& limits) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(limits.statement_timeout).count();
  if (limits.statement_timeout > Duration::zero())
    request.set_timeout_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(1, ms)));
}
}  // namespace

PlacedQuery::PlacedQuery(Engine& engine, Plan plan, std::vector<std::unique_ptr<executor::Channel>> places)
    : engine_(engine), plan_(std::move(plan)) {
  for (auto& place : places) places_.push_back(std::move(place));
}

PlacedQuery::~PlacedQuery() = default;

asio::awaitable<Result<gateway::Rows>> PlacedQuery::start(gateway::Limits limits, std::uint64_t max_rows) {
  const Instant began = engine_.clock().now();
  const Duration whole = limits.statement_timeout;
  for (const ChannelPtr& place : std::exchange(places_, {})) {
    auto rows = co_await start_at(place, limits, max_rows);
    const bool elsewhere = !rows.ok() && (!place->alive() || facts(rows.error().code).retry == Retry::kUnseen);
    if (!elsewhere) co_return rows;
    if (whole > Duration::zero())  // what is left of it: at least an instant, so that the next place says what happened
      limits.statement_timeout = std::max<Duration>(whole - (engine_.clock().now() - began), Duration(1));
  }
  here_ = engine_.make_local(std::move(plan_));
  if (!set_running(nullptr, here_)) co_return Error(Errc::kCancelled, "canceling statement due to user request");
  co_return co_await here_->start(limits, max_rows);
}

asio::awaitable<Result<gateway::Rows>> PlacedQuery::start_at(ChannelPtr place, gateway::Limits limits,
                                                             std::uint64_t max_rows) {
  if (!set_running(place, nullptr)) co_return Error(Errc::kCancelled, "canceling statement due to user request");
  proto::ExecRequest request;
  *request.mutable_compute() = to_proto(plan_);
  request.mutable_compute()->set_max_rows(max_rows);
  limit(request, limits);
  proto::ExecReply reply = co_await place->call(std::move(request));
  set_running(nullptr, nullptr);
  if (reply.has_error()) co_return gateway::to_error(reply);
  place_ = std::move(place);
  portal_ = reply.portal();
  co_return to_rows(std::move(reply));
}

asio::awaitable<Result<gateway::Rows>> PlacedQuery::fetch(gateway::Limits limits, std::uint64_t max_rows) {
  if (here_) co_return co_await here_->fetch(limits, max_rows);
  const ChannelPtr place = place_;
  if (!set_running(place, nullptr)) co_return Error(Errc::kCancelled, "canceling statement due to user request");
  proto::ExecRequest request;
  request.mutable_fetch()->set_portal(portal_);
  request.mutable_fetch()->set_max_rows(max_rows);
  limit(request, limits);
  proto::ExecReply reply = co_await place->call(std::move(request));
  set_running(nullptr, nullptr);
  if (!reply.has_error()) co_return to_rows(std::move(reply));
  Error error = gateway::to_error(reply);
  if (!place->alive() || facts(error.code).retry == Retry::kUnseen)
    co_return Error(Errc::kSerialization,
                    "the rest of the result is gone with the node that calculated it; run the statement again");
  co_return error;
}

bool PlacedQuery::set_running(ChannelPtr place, std::shared_ptr<Query> here) {
  const std::lock_guard lock(mutex_);
  running_ = std::move(place);
  running_here_ = std::move(here);
  return !interrupted_;
}

void PlacedQuery::interrupt() {
  ChannelPtr running;
  std::shared_ptr<Query> here;
  {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    running = running_;
    here = running_here_;
  }
  if (running) running->interrupt();
  if (here) here->interrupt();
}

}  // namespace outlast::compute
