#include "loads/steps.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

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

namespace {
/// Shared with the works, which may end after their starter was destroyed.
struct Together {
  explicit Together(const asio::any_io_executor& executor) : all_done(executor) {
    all_done.expires_at(asio::steady_timer::time_point::max());
  }
  std::size_t left{0};
  std::optional<Error> first;
  asio::steady_timer all_done;
};
}  // namespace

asio::awaitable<Result<void>> run_all(std::vector<asio::awaitable<Result<void>>> work) {
  if (work.empty()) co_return Result<void>();
  if (work.size() == 1) co_return co_await std::move(work.front());
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto together = std::make_shared<Together>(executor);
  together->left = work.size();
  for (auto& each : work)
    asio::co_spawn(executor, std::move(each), [together](const std::exception_ptr& threw, Result<void> done) {
      if (threw && !together->first) together->first = Error(Errc::kInternal, "a step of a load failed");
      if (!done.ok() && !together->first) together->first = std::move(done).error();
      if (--together->left == 0) together->all_done.cancel();
    });
  boost::system::error_code ignored;
  while (together->left > 0) co_await together->all_done.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (together->first) co_return *together->first;
  co_return Result<void>();
}

}  // namespace outlast::loads
