// What became of a write whose answer got lost (protocol A5.6): asked of whoever leads the range now.
#include <algorithm>

#include "base/parse.h"
#include "executor/row_batch.h"
#include "gateway/session_impl.h"

namespace outlast::gateway {
namespace {

Duration resolve_timeout(const Gateway& gateway) {
  const Result<std::string> text = gateway.ports.setting("resolve.timeout");
  if (!text.ok()) return gateway.parameters.resolve_timeout;
  const Result<Duration> parsed = parse_duration(*text);
  return parsed.ok() ? *parsed : gateway.parameters.resolve_timeout;
}

Error unknown(std::string_view what) {
  return Error(Errc::kUnknownOutcome, "the leaseholder went away while " + std::string(what) +
                                          " ran, and no node could tell in time whether it was applied: look before "
                                          "running it again");
}

/// True when the rows fit the client's request. Those of a result that is to come in pieces would have to be kept
/// open somewhere, and their leaseholder is gone.
bool can_return(const proto::ExecReply& reply, std::uint64_t max_rows) {
  if (reply.resolved().rows_lost()) return false;
  if (max_rows == 0) return true;
  executor::RowReader reader(reply.rows(), static_cast<std::size_t>(reply.columns_size()));
  std::vector<executor::Value> row;
  std::uint64_t rows = 0;
  for (; !reader.done() && rows < max_rows; ++rows)
    if (!reader.next(row).ok()) return false;
  return rows < max_rows;
}

}  // namespace

/// To be asked just before a write is sent.
SessionImpl::InDoubt SessionImpl::about_to_write(const Leaseholder& where, std::uint64_t request, Instant until) const {
  const bool known = seen_.range == where.range && seen_.epoch == where.route.epoch;
  return {where.range, where.route.epoch, request, known ? seen_.lsn : Lsn(), gateway_->clock.now(), until};
}

/// Asks until somebody knows, `resolve.timeout` or the statement's deadline has passed, or the client cancels.
/// kApplied leaves the leaseholder that said so in `last_`.
boost::asio::awaitable<SessionImpl::Fate> SessionImpl::resolve(InDoubt write) {
  const Clock& clock = gateway_->clock;
  const GatewayParameters& parameters = gateway_->parameters;
  const Instant give_up = std::min(write.until, clock.now() + resolve_timeout(*gateway_));
  Duration pause = parameters.retry_min;
  while (!interrupted() && clock.now() < give_up) {
    const RouteTable::Known known = gateway_->routes.find(write.range);
    if (known.route && known.route->epoch >= write.addressed) {
      Result<ChannelPtr> channel = channel_to(*known.route);
      if (channel.ok()) {
        const Leaseholder where{std::move(*channel), write.range, *known.route};
        proto::ExecRequest question;
        proto::Resolve& ask = *question.mutable_resolve();
        ask.set_request_id(write.request);
        ask.set_addressed_epoch(write.addressed.value);
        ask.set_after_lsn(write.after.value);
        const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(clock.now() - write.sent).count();
        ask.set_age_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, age)));
        Fate fate;
        fate.reply = co_await call(where, std::move(question), give_up);
        fate.kind = judge_answer(fate.reply, clock.now() - write.sent);
        last_.reset();
        if (where.channel->alive()) last_ = where;
        if (fate.kind != Resolution::kAskAgain) co_return fate;
      }
    }
    const Duration jittered = pause / 2 + Duration(random_.below(static_cast<std::uint64_t>(pause.count()) / 2 + 1));
    co_await hold(write.range, known.version, std::min(jittered, std::max(give_up - clock.now(), Duration(0))));
    pause = std::min(pause * 2, parameters.retry_max);
  }
  co_return Fate{};
}

/// A statement outside a transaction: what its client is told. Nothing: it was not applied and never will be, so it may
/// run again under a new id (A11), for no byte of an answer was sent.
boost::asio::awaitable<std::optional<SessionImpl::Reply>> SessionImpl::settle(InDoubt write, std::uint64_t max_rows) {
  Fate fate = co_await resolve(write);
  GatewayCounters& counters = gateway_->counters;
  if (fate.kind == Resolution::kNotApplied) {
    counters.resolved_not_applied.fetch_add(1, std::memory_order_relaxed);
    co_return std::nullopt;
  }
  if (fate.kind == Resolution::kApplied && last_ && can_return(fate.reply, max_rows)) {
    counters.resolved_done.fetch_add(1, std::memory_order_relaxed);
    fate.reply.clear_resolved();
    co_return Reply(std::move(fate.reply));
  }
  counters.unknown.fetch_add(1, std::memory_order_relaxed);
  if (fate.kind == Resolution::kApplied)
    co_return Reply(Error(Errc::kUnknownOutcome,
                          "the statement was applied and changed " + std::to_string(fate.reply.changes()) +
                              " rows, but what it returned is lost with its leaseholder: read it with a SELECT, and "
                              "do not run the statement again"));
  co_return Reply(unknown("the statement"));
}

/// The same for a COMMIT: a transaction cannot be run again unseen.
boost::asio::awaitable<Result<bool>> SessionImpl::settle_commit(InDoubt write) {
  const Fate fate = co_await resolve(write);
  GatewayCounters& counters = gateway_->counters;
  if (fate.kind == Resolution::kApplied) {
    counters.resolved_done.fetch_add(1, std::memory_order_relaxed);
    co_return true;
  }
  if (fate.kind == Resolution::kNotApplied) {
    counters.resolved_not_applied.fetch_add(1, std::memory_order_relaxed);
    counters.transactions_lost.fetch_add(1, std::memory_order_relaxed);
    co_return Error(Errc::kTransactionLost,
                    "the transaction was not applied, because the database moved to another "
                    "node while it committed; run it again");
  }
  counters.unknown.fetch_add(1, std::memory_order_relaxed);
  co_return Error(unknown("the COMMIT"));
}

}  // namespace outlast::gateway
