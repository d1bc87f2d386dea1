// How a session's requests reach the leaseholder: routing, holding, unseen repeats.
#include <boost/asio/this_coro.hpp>

#include "gateway/retry.h"
#include "gateway/session_impl.h"

namespace outlast::gateway {
namespace {
/// A new range and the table that names it are heard of within milliseconds of each other.
constexpr Duration kAppears = std::chrono::seconds(1);

Error timed_out() {
  return Error(Errc::kDeadline, "canceling statement due to statement timeout");
}
Error cancelled() {
  return Error(Errc::kCancelled, "canceling statement due to user request");
}
std::uint64_t to_ms(Duration d) {
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(d).count()));
}
}  // namespace

/// One request on one channel. The reply's error is the executor's, or kUnavailable when the channel broke.
boost::asio::awaitable<proto::ExecReply> SessionImpl::call(Leaseholder where, proto::ExecRequest request,
                                                           Instant until) {
  request.set_range(where.range.value);
  request.set_epoch(where.route.epoch.value);
  if (until != Instant::max()) request.set_timeout_ms(std::max<std::uint64_t>(1, to_ms(until - gateway_->clock.now())));
  request.set_lock_timeout_ms(to_ms(limits_.lock_timeout));
  request.set_idle_timeout_ms(to_ms(limits_.idle_in_transaction_timeout));
  {
    const std::lock_guard lock(mutex_);
    running_ = where.channel;
  }
  proto::ExecReply reply = co_await where.channel->call(std::move(request));
  {
    const std::lock_guard lock(mutex_);
    running_.reset();
  }
  if (reply.lsn() != 0) seen_ = {where.range, where.route.epoch, Lsn(reply.lsn())};
  co_return reply;
}

/// A request of an open transaction: it can only go where the transaction is.
boost::asio::awaitable<SessionImpl::Reply> SessionImpl::call_in_transaction(proto::ExecRequest request) {
  const Leaseholder where = *transaction_;
  if (request.has_run()) request.mutable_run()->set_request_id(gateway_->next_request.fetch_add(1));
  proto::ExecReply reply = co_await call(where, std::move(request), deadline());
  if (!reply.has_error()) co_return reply;
  Error error = to_error(reply);
  const bool gone = !where.channel->alive() || facts(error.code).retry == Retry::kUnseen;
  if (!gone) {
    if (error.code == Errc::kTransactionLost)
      gateway_->counters.transactions_lost.fetch_add(1, std::memory_order_relaxed);
    co_return error;
  }
  lose_transaction();
  co_return Error(Errc::kTransactionLost,
                  "the transaction was rolled back because the database moved to another node; run it again");
}

Result<SessionImpl::ChannelPtr> SessionImpl::channel_to(const Route& route) {
  if (last_ && last_->channel->alive() && last_->route.node == route.node &&
      last_->route.incarnation == route.incarnation)
    return last_->channel;
  ASSIGN_OR_RETURN(std::unique_ptr<executor::Channel> fresh, gateway_->channels.open(route.node, route.incarnation));
  return ChannelPtr(std::move(fresh));
}

/// Holds the statement until the route changes, `at_most` has passed, or the session is interrupted.
boost::asio::awaitable<void> SessionImpl::hold(RangeId range, std::uint64_t seen, Duration at_most) {
  const auto sleeper = gateway_->routes.sleeper(co_await boost::asio::this_coro::executor);
  {
    const std::lock_guard lock(mutex_);
    if (interrupted_) co_return;
    sleeping_ = sleeper;
  }
  co_await gateway_->routes.wait_change(range, seen, at_most, sleeper);
  const std::lock_guard lock(mutex_);
  sleeping_.reset();
}

/// A statement outside a transaction, or the first one of it. Repeats it unseen as long as it provably did nothing.
/// Success leaves the leaseholder in `last_`, or in `transaction_` when one was opened.
boost::asio::awaitable<SessionImpl::Reply> SessionImpl::route_and_call(proto::ExecRequest request, bool is_read,
                                                                       std::optional<RangeId> wanted) {
  const Clock& clock = gateway_->clock;
  const GatewayParameters& parameters = gateway_->parameters;
  const Instant until = deadline();
  const Instant since = clock.now();
  Instant patience = since + parameters.patience;
  Duration pause = parameters.retry_min;
  for (;;) {
    const std::optional<DatabaseRow> row = gateway_->ports.find_database(database_);
    if (!row) co_return Error(Errc::kUndefinedDatabase, "database \"" + database_ + "\" does not exist");
    const RangeId range = wanted.value_or(row->range);
    const RouteTable::Known known = gateway_->routes.find(range);
    bool asked = false;
    if (known.route) {
      Attempted tried = co_await attempt(range, *known.route, request, is_read, until);
      if (tried.answer) co_return *std::move(tried.answer);
      asked = tried.resolved;
      if (asked) patience = clock.now() + parameters.patience;
    }
    if (interrupted()) co_return cancelled();
    const Instant now = clock.now();
    if (wanted && !known.route && now - since >= kAppears && gateway_->ports.partitions.has_range &&
        !gateway_->ports.partitions.has_range(range))
      co_return Error(Errc::kSerialization, "the partition was dropped meanwhile; run the statement again");
    if (now >= until) co_return timed_out();
    if (until == Instant::max() && now >= patience) {
      gateway_->counters.no_leaseholder.fetch_add(1);
      co_return Error(Errc::kNoLeaseholder, "no node serves database \"" + database_ +
                                                "\" at present; try again, and look at 'outlast node status'");
    }
    gateway_->counters.repeated_unseen.fetch_add(known.route ? 1 : 0);
    if (asked) continue;  // by the present leaseholder: no need to wait for another route
    const Duration jittered = pause / 2 + Duration(random_.below(static_cast<std::uint64_t>(pause.count()) / 2 + 1));
    co_await hold(range, known.version, std::min(jittered, until == Instant::max() ? jittered : until - now));
    // Who has just become the leaseholder may not be ready yet, but soon is.
    const bool changed = gateway_->routes.find(range).version != known.version;
    pause = changed ? parameters.retry_min : std::min(pause * 2, parameters.retry_max);
    if (interrupted()) co_return cancelled();
  }
}

boost::asio::awaitable<SessionImpl::Attempted> SessionImpl::attempt(RangeId range, Route route,
                                                                    proto::ExecRequest request, bool is_read,
                                                                    Instant until) {
  Result<ChannelPtr> channel = channel_to(route);
  if (!channel.ok()) co_return Attempted{};
  const Leaseholder where{std::move(*channel), range, route};
  const bool begins = request.run().begin();
  const std::uint64_t max_rows = request.run().max_rows();
  const std::uint64_t id = gateway_->next_request.fetch_add(1);
  const InDoubt write = about_to_write(where, id, until);
  request.mutable_run()->set_request_id(id);
  proto::ExecReply reply = co_await call(where, std::move(request), until);
  last_ = where;
  if (begins && reply.in_transaction()) transaction_ = where;
  if (!reply.has_error()) co_return Attempted{Reply(std::move(reply)), false};
  Error error = to_error(reply);
  const bool alive = where.channel->alive();
  if (!alive) last_.reset();
  const Verdict verdict = judge({error.code, reply.nothing_applied(), alive, is_read || begins});
  if (verdict != Verdict::kRepeat && transaction_ && !alive) lose_transaction();
  if (verdict == Verdict::kGiveUp) co_return Attempted{Reply(std::move(error)), false};
  if (verdict == Verdict::kUnknown) {
    std::optional<Reply> settled = co_await settle(write, max_rows);
    co_return Attempted{std::move(settled), true};
  }
  transaction_.reset();
  co_return Attempted{};
}

}  // namespace outlast::gateway
