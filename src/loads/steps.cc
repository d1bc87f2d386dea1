#include "loads/steps.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "executor/row_batch.h"

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;

gateway::Statement own_statement(std::string sql, std::optional<RangeId> range, Row values) {
  gateway::Statement out;
  const bool reads = sql.starts_with("SELECT");
  out.sql = std::move(sql);
  if (!values.empty()) out.params.push_back(std::move(values));
  out.tag = reads ? "SELECT" : "UPDATE";
  out.internal = true;
  out.range = range;
  return out;
}

asio::awaitable<Result<Rows>> read_rows(gateway::Session& session, gateway::Statement statement) {
  auto piece = co_await session.run(std::move(statement));
  if (!piece.ok()) co_return std::move(piece).error();
  Rows rows;
  const std::size_t columns = piece->columns.size();
  for (;;) {
    executor::RowReader reader(piece->bytes, columns);
    while (!reader.done()) {
      Row row;
      if (auto next = reader.next(row); !next.ok()) co_return std::move(next).error();
      rows.push_back(std::move(row));
    }
    if (piece->portal == 0) co_return rows;
    piece = co_await session.fetch(piece->portal, 0);
    if (!piece.ok()) co_return std::move(piece).error();
  }
}

asio::awaitable<Result<std::int64_t>> run_write(gateway::Session& session, gateway::Statement statement) {
  auto done = co_await session.run(std::move(statement));
  if (!done.ok()) co_return std::move(done).error();
  co_return done->changes;
}

asio::awaitable<Result<void>> commit(gateway::Session& session) {
  auto committed = co_await session.commit();
  if (!committed.ok()) co_return std::move(committed).error();
  if (!*committed) co_return Error(Errc::kTransactionLost, "the transaction of a load's step was rolled back");
  co_return Result<void>();
}

std::int64_t number_of(const Value& value) {
  const auto* const number = std::get_if<std::int64_t>(&value);
  return number == nullptr ? 0 : *number;
}

std::string text_of(const Value& value) {
  const auto* const text = std::get_if<std::string>(&value);
  return text == nullptr ? std::string() : *text;
}

namespace {
std::string doubled(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out.append(c == quote ? 2 : 1, c);
  return out + quote;
}
}  // namespace

std::string name_sql(std::string_view name) {
  return doubled(name, '"');
}

std::string text_sql(std::string_view text) {
  return doubled(text, '\'');
}

bool may_try_again(Errc code) {
  if (code == Errc::kLockTimeout || code == Errc::kNotReady || code == Errc::kUnavailable) return true;
  return facts(code).retry != Retry::kNever;
}

asio::awaitable<Result<void>> Patience::after(Error failed) {
  if (!may_try_again(failed.code) || std::chrono::steady_clock::now() + pause_ >= until_) co_return failed;
  asio::steady_timer timer(co_await asio::this_coro::executor, pause_);
  pause_ = std::min<Duration>(pause_ * 2, std::chrono::milliseconds(500));
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  co_return Result<void>();
}

/// Shared with the work, which may end after its starter was destroyed.
struct Beside::State {
  std::optional<Result<void>> ended;
  std::shared_ptr<asio::steady_timer> joining;
};

asio::awaitable<void> Beside::start(asio::awaitable<Result<void>> work) {
  state_ = std::make_shared<State>();
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  asio::co_spawn(executor, std::move(work), [state = state_](const std::exception_ptr& threw, Result<void> ended) {
    if (threw) ended = Error(Errc::kInternal, "a step of a load failed");
    state->ended = std::move(ended);
    if (state->joining) state->joining->cancel();
  });
  co_await asio::post(executor, asio::use_awaitable);  // it begins before its starter goes on
}

asio::awaitable<Result<void>> Beside::join() {
  if (!state_) co_return Result<void>();
  const auto timer =
      std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor, asio::steady_timer::time_point::max());
  state_->joining = timer;
  boost::system::error_code ignored;
  while (!state_->ended) co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  co_return *std::exchange(state_, nullptr)->ended;
}

asio::awaitable<Result<void>> run_all(std::vector<asio::awaitable<Result<void>>> work) {
  if (work.size() == 1) co_return co_await std::move(work.front());
  std::vector<Beside> all(work.size());
  for (std::size_t i = 0; i < work.size(); ++i) co_await all[i].start(std::move(work[i]));
  Result<void> first;
  for (Beside& each : all)
    if (auto ended = co_await each.join(); !ended.ok() && first.ok()) first = std::move(ended);
  co_return first;
}

}  // namespace outlast::loads
