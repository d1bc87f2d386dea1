#include "ingest/input/http_delivery.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <optional>

namespace outlast::ingest {
namespace asio = boost::asio;

namespace {
constexpr unsigned kComeAgain = 1;

std::chrono::steady_clock::time_point in(Duration d) {
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(d);
}
}  // namespace

/// Told from any thread, waited for in the loop's.
struct HttpDelivery::Told {
  explicit Told(const asio::any_io_executor& executor) : timer(executor) {}
  asio::steady_timer timer;
  std::optional<Result<void>> what;

  // Neither the loop nor the one who waits need be there any more.
  static void tell(const std::weak_ptr<asio::io_context>& context, std::weak_ptr<Told> told, Result<void> what) {
    const SharedContext alive = context.lock();
    if (alive == nullptr) return;
    asio::post(*alive, [told = std::move(told), what = std::move(what)]() mutable {
      const auto waiter = told.lock();
      if (waiter == nullptr) return;
      waiter->what = std::move(what);
      waiter->timer.cancel();
    });
  }
};

HttpAnswer HttpAnswer::failed(int status, const std::string& message, unsigned retry_after) {
  return {status, "{\"error\":" + boost::json::serialize(boost::json::string(message)) + "}\n", retry_after};
}

HttpDelivery::HttpDelivery(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats,
                           std::weak_ptr<asio::io_context> context)
    : options_(options),
      intake_(intake),
      stats_(std::move(stats)),
      context_(std::move(context)),
      bucket_(options.rate_max) {}

HttpDelivery::~HttpDelivery() = default;

void HttpDelivery::give_up() {
  given_up_ = true;
  for (const auto& told : waiting_) told->timer.cancel();
}

asio::awaitable<bool> HttpDelivery::told_until(std::shared_ptr<Told> told,
                                               std::chrono::steady_clock::time_point deadline) {
  boost::system::error_code ignored;
  told->timer.expires_at(deadline);
  if (told->what.has_value() || given_up_) co_return told->what.has_value();
  waiting_.insert(told);
  co_await told->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  waiting_.erase(told);
  co_return told->what.has_value();
}

Intake::Taken HttpDelivery::put(const HttpLabel& label, RecordBatch& batch, Callback<void> done) {
  if (!label.id) return intake_.put(label.tag, batch, options_.ack, std::move(done));
  return intake_.put_named({*label.id, label.tag, label.form}, batch, options_.ack, std::move(done));
}

asio::awaitable<HttpAnswer> HttpDelivery::deliver(HttpLabel label, RecordBatch batch, std::uint64_t bytes) {
  const std::uint64_t records = batch.records();
  if (records == 0) co_return HttpAnswer{200, "{\"records\":0}\n"};
  if (const Duration debt = bucket_.borrow(0, boot_now()); debt > Duration::zero()) {
    InputStats::add(stats_->limited, records);
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(debt).count();
    co_return HttpAnswer::failed(429, "more records per second than rate_max", static_cast<unsigned>(seconds));
  }
  const auto executor = co_await asio::this_coro::executor;
  const auto deadline = in(options_.room_wait);
  for (;;) {
    const auto ack = std::make_shared<Told>(executor);
    const auto taken_now = put(label, batch, [context = context_, told = std::weak_ptr(ack)](Result<void> r) {
      Told::tell(context, told, std::move(r));
    });
    if (taken_now == Intake::Taken::kYes) {
      bucket_.borrow(records, boot_now());
      if (co_await told_until(ack, in(options_.ack_wait))) co_return taken(*ack->what, records, bytes);
      const std::string again =
          label.id ? "send them again under the same id" : "sending them again may store them twice";
      co_return taken(
          Error(Errc::kDeadline, "the records are on their way, but it takes too long to confirm them; " + again),
          records, bytes);
    }
    const auto room = std::make_shared<Told>(executor);
    bool again = false;
    if (taken_now == Intake::Taken::kWait) {
      InputStats::add(stats_->waits, 1);
      intake_.on_room([context = context_, told = std::weak_ptr(room)] { Told::tell(context, told, {}); });
      again = co_await told_until(room, deadline);
    }
    if (again) continue;
    InputStats::add(stats_->refused, records);
    co_return HttpAnswer::failed(429, "the buffer is full; send this again later", kComeAgain);
  }
}

HttpAnswer HttpDelivery::taken(const Result<void>& ack, std::uint64_t records, std::uint64_t bytes) {
  InputStats::add(stats_->records, records);
  InputStats::add(stats_->bytes, bytes);
  InputStats::add(stats_->batches, 1);
  if (ack.ok()) return {200, "{\"records\":" + std::to_string(records) + "}\n"};
  InputStats::add(stats_->unconfirmed, records);
  return HttpAnswer::failed(503, ack.error().message, kComeAgain);
}

}  // namespace outlast::ingest
