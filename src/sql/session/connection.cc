#include "sql/session/connection.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
constexpr std::size_t kReadMost = 16 * 1024;  // the least is in the header
}

void Connection::enter(Phase phase) {
  since_.store(host_.clock.now().time_since_epoch().count(), std::memory_order_release);
  phase_.store(phase, std::memory_order_release);
}

asio::awaitable<Result<bool>> Connection::fill() {
  if (woken_) co_return Error(Errc::kCancelled, "the wait for the client was ended");
  reading_ = true;
  if (teller.listens()) {
    const auto readable = co_await stream_->wait_readable();
    reading_ = false;
    if (!readable.ok()) co_return readable.error();
    if (woken_) co_return Error(Errc::kCancelled, "the wait for the client was ended");
    teller.serving();
    reading_ = true;
  }
  auto count = co_await stream_->read_some(in_.prepare(read_bytes_), read_bytes_);
  reading_ = false;
  if (!count.ok()) co_return std::move(count).error();
  if (*count == read_bytes_) read_bytes_ = std::min(4 * read_bytes_, kReadMost);
  in_.commit(*count);
  host_.metrics.bytes_in += *count;
  co_return *count > 0;
}

void Connection::drop_taken() {
  if (taken_) in_.consume();
  taken_.reset();
}

bool Connection::frame_waits() const {
  const auto frame = in_.peek();
  return !frame.ok() || *frame;
}

asio::awaitable<Result<std::optional<pgwire::Frame>>> Connection::next_frame() {
  drop_taken();
  for (;;) {
    auto frame = in_.peek();
    if (!frame.ok()) co_return std::move(frame).error();
    if (*frame) {
      teller.serving();
      taken_ = **frame;
      co_return taken_;
    }
    const auto more = co_await fill();
    if (!more.ok()) co_return more.error();
    if (!*more) co_return std::optional<pgwire::Frame>();
  }
}

asio::awaitable<Result<void>> Connection::write_out(bool may_cut) {
  if (out.empty()) co_return Result<void>();
  teller.answering();
  const Phase before = phase();
  enter(Phase::kWriting);
  answering_ = may_cut;
  const auto taken = co_await stream_->write_all(out.bytes());
  answering_ = false;
  enter(before);
  if (!taken.ok()) {
    out.clear();
    co_return taken.error();
  }
  host_.metrics.bytes_out += *taken;
  out.drop(*taken);
  if (!out.empty()) co_return Error(Errc::kCancelled, "the answer was cut");
  co_return Result<void>();
}

Result<void> Connection::flush_now() {
  if (out.empty()) return {};
  teller.answering();
  ASSIGN_OR_RETURN(const std::size_t taken, stream_->write_now(out.bytes()));
  host_.metrics.bytes_out += taken;
  out.drop(taken);
  return {};
}

char Connection::next_type() const {
  return taken_ ? in_.type_after_current() : '\0';
}

}  // namespace outlast::sql
