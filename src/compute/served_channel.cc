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
Error leaves() {
  return Error(Errc::kNotReady, "INTERNAL_ERROR: the node is exiting: run it on another node");
}
}  // namespace

void ServedChannels::end_work(Instant before) {
  const std::lock_guard lock(mutex_);
  for (ServedChannel* const channel : all_) channel->end_work(before);
}

ServedChannel::ServedChannel(std::unique_ptr<executor::Channel> below, Engine& engine, lifecycle::Gate& gate,
                             ServedChannels& all)
    : below_(std::move(below)), engine_(engine), gate_(gate), all_(all) {
  const std::lock_guard lock(all_.mutex_);
  all_.all_.insert(this);
}

ServedChannel::~ServedChannel() {
  const std::lock_guard lock(all_.mutex_);
  all_.all_.erase(this);
}

asio::awaitable<proto::ExecReply> ServedChannel::call(proto::ExecRequest request) {
  switch (request.body_case()) {
    case proto::ExecRequest::kCompute:
      return compute(std::move(request));
    case proto::ExecRequest::kRun:
      return request.run().fragment() ? fragment(std::move(request)) : below_->call(std::move(request));
    case proto::ExecRequest::kFetch:
      return fetch(std::move(request));
    case proto::ExecRequest::kClosePortal:
      (void)take(request.close_portal().portal());
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
  Open work{engine_.make_local(from_proto(std::move(*request.mutable_compute()))), *std::move(ticket),
            engine_.clock().now()};
  set_running(work);
  auto rows = co_await work.query->start(limits, max_rows);
  co_return after_step(next_++, std::move(work), std::move(rows));
}

asio::awaitable<proto::ExecReply> ServedChannel::fetch(proto::ExecRequest request) {
  const std::uint64_t portal = request.fetch().portal();
  Open work = take(portal);
  if (work.query) {
    set_running(work);
    auto rows = co_await work.query->fetch(limits_of(request), request.fetch().max_rows());
    co_return after_step(portal, std::move(work), std::move(rows));
  }
  if ((portal & kOwn) != 0) co_return to_reply(leaves());
  proto::ExecReply reply = co_await below_->call(std::move(request));
  count_portal(portal, reply, std::move(work));
  co_return reply;
}

asio::awaitable<proto::ExecReply> ServedChannel::fragment(proto::ExecRequest request) {
  Open work{nullptr, gate_.take_over(lifecycle::WorkKind::kFragment), engine_.clock().now()};
  proto::ExecReply reply = co_await below_->call(std::move(request));
  count_portal(reply.portal(), reply, std::move(work));
  co_return reply;
}

proto::ExecReply ServedChannel::after_step(std::uint64_t portal, Open work, Result<gateway::Rows> rows) {
  const std::lock_guard lock(mutex_);
  const bool ended = std::exchange(running_, {}).ended;
  const bool over = rows.ok() && rows->portal == 0;
  if (ended && !over) return to_reply(leaves());
  if (rows.ok() && !over) {
    rows->portal = portal;
    open_.emplace(portal, std::move(work));
    return to_reply(std::move(rows));
  }
  proto::ExecReply reply = to_reply(std::move(rows));
  work.ticket.end(outcome_of(reply));
  return reply;
}

void ServedChannel::count_portal(std::uint64_t portal, const proto::ExecReply& reply, Open work) {
  if (reply.has_error() || reply.portal() == 0) return work.ticket.end(outcome_of(reply));
  const std::lock_guard lock(mutex_);
  if (work.ticket) open_.insert_or_assign(portal, std::move(work));
}

ServedChannel::Open ServedChannel::take(std::uint64_t portal) {
  const std::lock_guard lock(mutex_);
  auto found = open_.extract(portal);
  return found.empty() ? Open() : std::move(found.mapped());
}

void ServedChannel::set_running(const Open& work) {
  const std::lock_guard lock(mutex_);
  running_ = {work.query, work.since};
}

void ServedChannel::interrupt() {
  std::shared_ptr<Query> running;
  {
    const std::lock_guard lock(mutex_);
    running = running_.query;
  }
  if (running) running->interrupt();
  below_->interrupt();
}

void ServedChannel::end_work(Instant before) {
  const std::lock_guard lock(mutex_);
  if (running_.query && running_.since < before) {
    running_.ended = true;
    running_.query->interrupt();
  }
  for (auto it = open_.begin(); it != open_.end();) it = it->second.since < before ? open_.erase(it) : std::next(it);
}

}  // namespace outlast::compute
