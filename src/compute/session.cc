#include "compute/session.h"

namespace outlast::compute {
namespace asio = boost::asio;

void Session::set_running(QueryPtr query) {
  const std::lock_guard lock(mutex_);
  running_ = std::move(query);
}

asio::awaitable<Result<gateway::Rows>> Session::run_plan(Plan plan, std::uint64_t max_rows) {
  const QueryPtr query = engine_.make(std::move(plan));
  set_running(query);
  auto rows = co_await query->start(limits(), max_rows);
  set_running(nullptr);
  if (!rows.ok() || rows->portal == 0) co_return rows;
  rows->portal = next_++;
  open_.emplace(rows->portal, query);
  co_return rows;
}

asio::awaitable<Result<gateway::Rows>> Session::fetch_own(std::uint64_t portal, std::uint64_t max_rows) {
  const auto found = open_.find(portal);
  if (found == open_.end()) co_return Error(Errc::kUndefinedCursor, "the cursor is not open any more");
  const QueryPtr query = found->second;
  set_running(query);
  auto rows = co_await query->fetch(limits(), max_rows);
  set_running(nullptr);
  if (rows.ok() && rows->portal != 0)
    rows->portal = portal;
  else
    open_.erase(portal);
  co_return rows;
}

asio::awaitable<void> Session::close_portal(std::uint64_t portal) {
  if (!is_own(portal)) co_return co_await below_->close_portal(portal);
  open_.erase(portal);
}

void Session::interrupt() {
  QueryPtr running;
  {
    const std::lock_guard lock(mutex_);
    running = running_;
  }
  if (running) running->interrupt();
  below_->interrupt();
}

}  // namespace outlast::compute
