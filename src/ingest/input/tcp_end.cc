// TcpLoop: how connections and all of it end, or go elsewhere.
#include <algorithm>
#include <boost/asio/post.hpp>

#include "ingest/input/tcp_loop.h"

namespace outlast::ingest {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {
constexpr int kLastReadsMax = 4;
constexpr Duration kToldAgain = 500ms;
}  // namespace

void TcpLoop::sweep_later() {
  Duration shortest = Duration::max();
  for (const Duration limit : {options_.idle_max, options_.record_time_max})
    if (limit > Duration::zero()) shortest = std::min(shortest, limit);
  if (shortest == Duration::max() || finished_) return;
  sweep_timer_.expires_after(std::clamp<Duration>(shortest / 4, 10ms, 1s));
  sweep_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (!stopped) self->sweep();
  });
}

void TcpLoop::sweep() {
  if (blocked()) return sweep_later();  // they may have spoken, we have not listened
  const Instant now = boot_now();
  std::vector<Ptr> late;
  for (const Ptr& c : connections_) {
    const bool idle = options_.idle_max > Duration::zero() && now - c->heard > options_.idle_max;
    const bool slow = options_.record_time_max > Duration::zero() && !c->framer.between_records() &&
                      now - c->record_began > options_.record_time_max;
    if (idle || slow) late.push_back(c);
  }
  InputStats::add(stats_->connections_timed_out, late.size());
  for (const Ptr& c : late) end(c);
  sweep_later();
}

void TcpLoop::close() {
  door_.close(options_.name, [this](tcp::socket socket) { accepted(std::move(socket)); });
  for (const Ptr& connection : connections_) tell(connection);
  end_told_later(options_.close_wait);
  asio::post(context_, [self = shared_from_this()] { self->look_whether_closed(); });  // after what was accepted before
}

/// Clients that look at their connection go elsewhere when the other direction ends.
void TcpLoop::tell(const Ptr& connection) {
  error_code ignored;
  connection->socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void TcpLoop::end_told_later(Duration wait) {
  close_timer_.expires_after(wait);
  close_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (stopped || !self->door_.closing) return;
    if (!self->blocked()) self->read_and_end_all();
    if (!self->connections_.empty()) self->end_told_later(kToldAgain);  // they have spoken, and there is no room
  });
}

void TcpLoop::look_whether_closed() {
  door_.done = door_.closing && connections_.empty() && batch_.empty();
}

void TcpLoop::reopen() {
  close_timer_.cancel();
  door_.reopen(options_.name);
  if (door_.acceptor.is_open()) accept_next();
}

std::vector<MovedConnection> TcpLoop::release() {
  error_code ignored;
  std::vector<MovedConnection> out;
  out.reserve(connections_.size());
  for (const Ptr& c : connections_) {
    c->gone = true;
    out.push_back({Fd(c->socket.release(ignored)), c->peer, c->framer.state()});
  }
  connections_.clear();
  ready_.clear();
  stats_->connections = 0;
  put();
  last_read_ = boot_now();
  return out;
}

/// While there is room; at the end of the process room or not.
void TcpLoop::read_and_end_all() {
  while (!connections_.empty()) {
    const Ptr connection = *connections_.begin();
    for (int i = 0; i < kLastReadsMax && !held_ && !connection->gone && read(connection); ++i) {
    }
    if (held_ && !finished_) return;
    if (!connection->gone) end(connection);
  }
}

StopReport TcpLoop::finish() {
  door_.stop_accepting();
  finished_ = true;
  held_ = false;
  put();  // room may have come
  read_and_end_all();
  put();
  for (auto* timer : {&tick_timer_, &rest_timer_, &sweep_timer_, &accept_timer_, &close_timer_}) timer->cancel();
  work_.reset();
  StopReport report{stats_->records, 0, last_read_, {}};
  report.held = std::exchange(batch_, {});
  return report;
}

}  // namespace outlast::ingest
