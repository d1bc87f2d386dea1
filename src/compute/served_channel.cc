#include "compute/served_channel.h"

#include "compute/messages.h"

namespace outlast::compute {
namespace asio = boost::asio;
namespace {
gateway::Limits limits_of(const proto::ExecRequest& request) {
  return {.statement_timeout = std::chrono::milliseconds(request.timeout_ms())};
}
lifecycle::Outcome outcome_of(const proto::ExecReply& reply) {
  return reply.has_error() ? lifecycle::Outcome::kFailed : lifecycle::Outcome::kDone;
}
}  // namespace

asio::awaitable<proto::ExecReply> ServedChannel::call(proto::ExecRequest request) {
  switch (request.body_case()) {
    case proto::ExecRequest::kCompute:
      return compute(std::move(request));
    case proto::ExecRequest::kRun:
      return request.run().fragment() ? fragment(std::move(request)) : below_->call(std::move(request));
    case proto::ExecRequest::kFetch:
      return fetch(std::move(request));
    case proto::ExecRequest::kClosePortal:
      fragments_.erase(request.close_portal().portal());
      open_.erase(request.close_portal().portal());
      return below_->call(std::move(request));
    default:
      return below_->call(std::move(request));
  }
}

asio::awaitable<proto::ExecReply> ServedChannel::compute(proto::ExecRequest request) {
  auto ticket = gate_.admit(lifecycle::WorkKind::kFragment);
  if (!ticket.ok()) co_return to_reply(ticket.error());
  const gateway::Limits limits = limits_of(request);
  const std::uint64_t max_rows = request.compute().max_rows();
  const auto query = engine_.make_local(from_proto(std::move(*request.mutable_compute())));
  set_running(query);
  auto rows = co_await query->start(limits, max_rows);
  set_running(nullptr);
  if (rows.ok() && rows->portal != 0) {
    rows->portal = next_++;
    open_.emplace(rows->portal, Open{query, *std::move(ticket)});
    co_return to_reply(std::move(rows));
  }
  ticket->end(rows.ok() ? lifecycle::Outcome::kDone : lifecycle::Outcome::kFailed);
  co_return to_reply(std::move(rows));
}

asio::awaitable<proto::ExecReply> ServedChannel::fetch(proto::ExecRequest request) {
  const std::uint64_t portal = request.fetch().portal();
  const auto found = open_.find(portal);
  if (found == open_.end()) {
    auto counted = fragments_.extract(portal);
    proto::ExecReply reply = co_await below_->call(std::move(request));
    if (!counted.empty()) count_portal(portal, reply, std::move(counted.mapped()));
    co_return reply;
  }
  const auto query = found->second.query;
  set_running(query);
  auto rows = co_await query->fetch(limits_of(request), request.fetch().max_rows());
  set_running(nullptr);
  if (rows.ok() && rows->portal != 0) {
    rows->portal = portal;
    co_return to_reply(std::move(rows));
  }
  proto::ExecReply reply = to_reply(std::move(rows));
  if (auto ended = open_.extract(portal); !ended.empty()) ended.mapped().ticket.end(outcome_of(reply));
  co_return reply;
}

asio::awaitable<proto::ExecReply> ServedChannel::fragment(proto::ExecRequest request) {
  lifecycle::Ticket ticket = gate_.take_over(lifecycle::WorkKind::kFragment);
  proto::ExecReply reply = co_await below_->call(std::move(request));
  count_portal(reply.portal(), reply, std::move(ticket));
  co_return reply;
}

void ServedChannel::count_portal(std::uint64_t portal, const proto::ExecReply& reply, lifecycle::Ticket ticket) {
  if (reply.has_error() || reply.portal() == 0) return ticket.end(outcome_of(reply));
  fragments_.insert_or_assign(portal, std::move(ticket));
}

void ServedChannel::set_running(std::shared_ptr<Query> query) {
  const std::lock_guard lock(mutex_);
  running_ = std::move(query);
}

void ServedChannel::interrupt() {
  std::shared_ptr<Query> running;
  {
    const std::lock_guard lock(mutex_);
    running = running_;
  }
  if (running) running->interrupt();
  below_->interrupt();
}

}  // namespace outlast::compute
