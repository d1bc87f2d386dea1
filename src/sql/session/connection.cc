#include "sql/session/connection.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
constexpr std::size_t kReadBytes = 16 * 1024;
}

void Connection::enter(Phase phase) {
  since_.store(host_.clock.now().time_since_epoch().count(), std::memory_order_release);
  phase_.store(phase, std::memory_order_release);
}

asio::awaitable<Result<bool>> Connection::fill() {
  if (woken_) co_return Error(Errc::kCancelled, "the wait for the client was ended");
  reading_ = true;
  auto count = co_await stream_->read_some(in_.prepare(kReadBytes), kReadBytes);
  reading_ = false;
  if (!count.ok()) co_return std::move(count).error();
  in_.commit(*count);
  host_.metrics.bytes_in += *count;
  co_return *count > 0;
}

asio::awaitable<Result<std::optional<pgwire::Frame>>> Connection::next_frame() {
  if (taken_) {
    in_.consume();
    taken_.reset();
  }
  for (;;) {
    auto frame = in_.peek();
    if (!frame.ok()) co_return std::move(frame).error();
    if (*frame) {
      taken_ = **frame;
      co_return taken_;
    }
    const auto more = co_await fill();
    if (!more.ok()) co_return more.error();
    if (!*more) co_return std::optional<pgwire::Frame>();
  }
}

asio::awaitable<Result<void>> Connection::flush() {
  if (out.empty()) co_return Result<void>();
  const Phase before = phase();
  enter(Phase::kWriting);
  auto written = co_await stream_->write_all(out.bytes());
  host_.metrics.bytes_out += out.size();
  out.clear();
  enter(before);
  co_return written;
}

char Connection::next_type() const {
  return taken_ ? in_.type_after_current() : '\0';
}

}  // namespace outlast::sql
