#include "compute/local_query.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "gateway/await_callback.h"

namespace outlast::compute {
namespace asio = boost::asio;
namespace {
Error cancelled() {
  return Error(Errc::kCancelled, "canceling statement due to user request");
}
Error timed_out() {
  return Error(Errc::kDeadline, "canceling statement due to statement timeout");
}
}  // namespace

LocalQuery::LocalQuery(Engine& engine, Plan plan)
    : engine_(engine), plan_(std::move(plan)), serial_(std::make_shared<Serial>(engine.pool())) {
  for (std::size_t i = 0; i < plan_.fragments.size(); ++i)
    for (const RangeId range : plan_.fragments[i].ranges) parts_.push_back({i, range});
}

/// Giving back what it holds may take a while, too.
LocalQuery::~LocalQuery() {
  if (workspace_) serial_->post([workspace = std::move(workspace_)] {});
}

template <class T, class Step>
asio::awaitable<Result<T>> LocalQuery::on_pool(Step step) {
  return gateway::await_callback<T>([self = shared_from_this(), step = std::move(step)](Callback<T> done) mutable {
    Serial& serial = *self->serial_;
    serial.post([self = std::move(self), step = std::move(step), done = std::move(done)]() mutable {
      Result<T> result = step();
      done(std::move(result));
    });
  });
}

void LocalQuery::begin_operation(const gateway::Limits& limits) {
  limits_ = limits;
  deadline_ =
      limits.statement_timeout > Duration::zero() ? engine_.clock().now() + limits.statement_timeout : Instant::max();
  stop_.begin(deadline_);
}

/// What was asked of an operation that has succeeded is none of the next one's.
Result<gateway::Rows> LocalQuery::end_operation(Result<gateway::Rows> rows) {
  if (rows.ok()) stop_.reset(Instant::max());
  return rows;
}

asio::awaitable<Result<gateway::Rows>> LocalQuery::start(gateway::Limits limits, std::uint64_t max_rows) {
  {
    const auto executor = co_await asio::this_coro::executor;
    const std::lock_guard lock(mutex_);
    executor_ = executor;
  }
  begin_operation(limits);
  auto opened = co_await on_pool<void>([this]() -> Result<void> {
    ASSIGN_OR_RETURN(workspace_, Workspace::open(plan_, engine_.ports().dress, stop_, engine_.clock()));
    return {};
  });
  if (!opened.ok()) co_return std::move(opened).error();
  if (auto done = co_await run_parts(); !done.ok()) co_return std::move(done).error();
  co_return end_operation(co_await on_pool<gateway::Rows>([this, max_rows] { return workspace_->begin(max_rows); }));
}

asio::awaitable<Result<gateway::Rows>> LocalQuery::fetch(gateway::Limits limits, std::uint64_t max_rows) {
  begin_operation(limits);
  if (auto wanted = go_on(); !wanted.ok()) co_return std::move(wanted).error();
  co_return end_operation(co_await on_pool<gateway::Rows>([this, max_rows] { return workspace_->next(max_rows); }));
}

asio::awaitable<Result<void>> LocalQuery::run_parts() {
  const std::size_t workers = std::min(parts_.size(), engine_.parameters().parallel);
  if (workers == 0) co_return Result<void>();
  const auto executor = co_await asio::this_coro::executor;
  (void)co_await gateway::await_callback<void>([self = shared_from_this(), workers, executor](Callback<void> done) {
    auto left = std::make_shared<std::pair<std::size_t, Callback<void>>>(workers, std::move(done));
    for (std::size_t i = 0; i < workers; ++i)
      asio::co_spawn(executor, self->work(), [self, left](const std::exception_ptr&) {
        if (--left->first == 0) left->second(Result<void>());
      });
  });
  if (failed_) co_return *failed_;
  co_return go_on();
}

Result<void> LocalQuery::go_on() const {
  if (failed_) return *failed_;
  if (stop_.why() == executor::StopWhy::kCancelled) return cancelled();
  if (engine_.clock().now() >= deadline_) return timed_out();
  return {};
}

/// What is left of the statement's own time.
Result<void> LocalQuery::give_time(gateway::Session& session) const {
  TRY(go_on());
  session.limits() = limits_;
  if (deadline_ != Instant::max())
    session.limits().statement_timeout = std::max<Duration>(deadline_ - engine_.clock().now(), Duration(1));
  return {};
}

asio::awaitable<void> LocalQuery::work() {
  const auto self = shared_from_this();
  const SessionPtr session = engine_.ports().open_session();
  {
    const std::lock_guard lock(mutex_);
    sessions_.insert(session);
  }
  auto ready = co_await session->use_database(plan_.database);
  if (!ready.ok()) fail(std::move(ready).error());
  while (!failed_ && next_part_ < parts_.size()) {
    auto done = co_await run_part(session, parts_[next_part_++]);
    if (!done.ok()) fail(std::move(done).error());
  }
  const std::lock_guard lock(mutex_);
  sessions_.erase(session);
}

/// Nothing of it has reached the client yet, so a part that was lost on its way can be asked for again.
asio::awaitable<Result<void>> LocalQuery::run_part(SessionPtr session, Part& part) {
  for (int restarts = 0;; ++restarts) {
    auto done = co_await stream_part(session, part);
    const bool again = !done.ok() && done.error().code == Errc::kSerialization && !part.rows.empty() &&
                       restarts < engine_.parameters().restarts;
    if (!again) co_return done;
    auto removed = co_await on_pool<void>(
        [this, &part] { return workspace_->remove(part.fragment, std::exchange(part.rows, {})); });
    if (!removed.ok()) co_return removed;
  }
}

asio::awaitable<Result<void>> LocalQuery::stream_part(SessionPtr session, Part& part) {
  const Fragment& fragment = plan_.fragments[part.fragment];
  gateway::Statement statement;
  statement.sql = fragment.sql;
  statement.tag = "SELECT";
  statement.range = part.range;
  statement.fragment = true;
  if (!fragment.parameters.empty()) statement.params.push_back(fragment.parameters);
  if (auto timed = give_time(*session); !timed.ok()) co_return timed;
  auto piece = co_await session->run(std::move(statement));
  for (;;) {
    if (!piece.ok()) co_return std::move(piece).error();
    const std::uint64_t portal = piece->portal;
    if (!piece->bytes.empty())
      if (auto kept = co_await keep(part, std::move(piece->bytes)); !kept.ok()) co_return kept;
    if (portal == 0) co_return Result<void>();
    if (auto timed = give_time(*session); !timed.ok()) co_return timed;
    piece = co_await session->fetch(portal, 0);
  }
}

asio::awaitable<Result<void>> LocalQuery::keep(Part& part, std::string rows) {
  auto span = co_await on_pool<Workspace::Span>(
      [this, &part, rows = std::move(rows)] { return workspace_->insert(part.fragment, rows); });
  if (!span.ok()) co_return std::move(span).error();
  if (!part.rows.empty() && part.rows.back().second + 1 == span->first)
    part.rows.back().second = span->second;
  else
    part.rows.push_back(*span);
  co_return Result<void>();
}

/// The others have nothing to wait for any more.
void LocalQuery::fail(Error error) {
  if (failed_) return;
  failed_ = std::move(error);
  interrupt_sessions();
}

void LocalQuery::interrupt_sessions() {
  std::set<SessionPtr> sessions;
  {
    const std::lock_guard lock(mutex_);
    sessions = sessions_;
  }
  for (const SessionPtr& session : sessions) session->interrupt();
}

/// On the query's own executor no worker is between its look at the signal and its session's start.
void LocalQuery::interrupt() {
  stop_.ask_stop(executor::StopWhy::kCancelled);
  asio::any_io_executor executor;
  {
    const std::lock_guard lock(mutex_);
    executor = executor_;
  }
  if (executor) asio::post(executor, [self = shared_from_this()] { self->interrupt_sessions(); });
}

}  // namespace outlast::compute
