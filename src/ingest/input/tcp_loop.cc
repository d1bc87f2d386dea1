#include "ingest/input/tcp_loop.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>

namespace outlast::ingest {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kReadMax = 256 << 10;
constexpr std::size_t kMuch = 64 << 10;  // after so many bytes a connection is read again at once
constexpr std::size_t kBatchMax = 512 << 10;
constexpr auto kTick = 2ms;
constexpr Duration kBusy = 20ms;
constexpr auto kAcceptAgain = 50ms;
}  // namespace

TcpLoop::TcpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats)
    : options_(options),
      intake_(intake),
      stats_(std::move(stats)),
      work_(context_.get_executor()),
      door_(context_),
      tick_timer_(context_),
      rest_timer_(context_),
      sweep_timer_(context_),
      accept_timer_(context_),
      close_timer_(context_),
      buffer_(kReadMax),
      bucket_(options.rate_max) {}

void TcpLoop::run() {
  context_.run();
}

void TcpLoop::listen(int fd) {
  door_.listen(fd);
  batch_ = options_.held;
  batch_payload_ = batch_.bytes();
  put();
  accept_next();
  sweep_later();
}

void TcpLoop::accept_next() {
  door_.acceptor.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
    if (!error) self->accepted(std::move(socket));  // stop_accepting() may have come in between
    if (!self->door_.acceptor.is_open()) return;
    if (!error) return self->accept_next();
    // Out of file descriptors: those that wait stay in the kernel's queue, try again a little later.
    self->accept_timer_.expires_after(kAcceptAgain);
    self->accept_timer_.async_wait([self](error_code stopped) {
      if (!stopped && self->door_.acceptor.is_open()) self->accept_next();
    });
  });
}

void TcpLoop::accepted(tcp::socket socket) {
  if (finished_) return;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getpeername(socket.native_handle(), reinterpret_cast<sockaddr*>(&address), &size);
  if (!options_.allow.allows(IpAddress::of(address))) return InputStats::add(stats_->disallowed, 1);
  if (connections_.size() >= options_.connections_max) return InputStats::add(stats_->connections_refused, 1);
  const int on = 1;
  setsockopt(socket.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  add(std::move(socket), Framer(options_.framing, options_.message_size_max), peer_text(address));
}

void TcpLoop::adopt(MovedConnection connection) {
  if (finished_) return;
  tcp::socket socket(context_);
  error_code error;
  socket.assign(tcp::v6(), connection.fd.get(), error);
  if (error) return InputStats::add(stats_->connections_refused, 1);
  connection.fd.release();
  if (options_.read_since != Instant{})
    InputStats::raise(stats_->longest_gap_nanos,
                      static_cast<std::uint64_t>((boot_now() - options_.read_since).count()));
  add(std::move(socket), Framer(std::move(connection.state), options_.message_size_max), std::move(connection.peer));
}

void TcpLoop::add(tcp::socket socket, Framer framer, std::string peer) {
  const auto connection = std::make_shared<Connection>(std::move(socket), std::move(framer));
  connection->peer = std::move(peer);
  connection->heard = connection->record_began = boot_now();
  connections_.insert(connection);
  stats_->connections = connections_.size();
  InputStats::add(stats_->connections_taken, 1);
  if (door_.closing) tell(connection);
  look_whether_closed();
  wait(connection);
}

void TcpLoop::wait(const Ptr& connection) {
  connection->socket.async_wait(tcp::socket::wait_read, [self = shared_from_this(), connection](error_code error) {
    if (error || connection->gone) return;
    if (self->blocked()) return self->list(connection);
    self->read(connection);
  });
}

void TcpLoop::list(const Ptr& connection) {
  if (connection->listed) return;
  connection->listed = true;
  ready_.push_back(connection);
  tick_soon();
}

// False when there was nothing, or nothing will come any more.
bool TcpLoop::read(const Ptr& connection) {
  const ssize_t count = recv(connection->socket.native_handle(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return wait(connection), false;
  if (count <= 0) return end(connection), false;
  last_read_ = now_ = boot_now();
  wall_micros_ = wall_now_micros();
  const std::size_t records = batch_.records();
  const bool began = connection->framer.between_records();
  peer_ = connection->peer;
  connection->framer.feed({buffer_.data(), static_cast<std::size_t>(count)}, *this);
  if (began || batch_.records() != records) connection->record_began = now_;
  const bool busy = now_ - connection->heard < kBusy;
  connection->heard = now_;
  much_ = much_ || static_cast<std::size_t>(count) >= kMuch;
  if (batch_.bytes() >= kBatchMax) put();
  turn_ends_soon();
  if (busy || blocked() || static_cast<std::size_t>(count) >= kMuch)
    list(connection);
  else
    wait(connection);
  return true;
}

void TcpLoop::record(std::string_view bytes, FrameFault fault) {
  batch_payload_ += bytes.size();
  if (fault == FrameFault::kNone) return batch_.append({wall_micros_, peer_, bytes});
  ++(fault == FrameFault::kCut ? batch_cut_ : batch_malformed_);
  scratch_.assign(bytes).append(fault_mark(fault));
  batch_.append({wall_micros_, peer_, scratch_});
}

void TcpLoop::end(const Ptr& connection) {
  wall_micros_ = wall_now_micros();
  peer_ = connection->peer;
  connection->framer.finish(*this);
  connection->gone = true;
  error_code ignored;
  connection->socket.close(ignored);
  connections_.erase(connection);
  stats_->connections = connections_.size();
  turn_ends_soon();
  look_whether_closed();
}

// Whatever else is ready now is read first: posted work runs after it.
void TcpLoop::turn_ends_soon() {
  if (flush_posted_ || batch_.empty()) return;
  flush_posted_ = true;
  asio::post(context_, [self = shared_from_this()] { self->flush(); });
}

void TcpLoop::flush() {
  flush_posted_ = false;
  if (!held_) put();
}

void TcpLoop::put() {
  if (batch_.empty() || held_) return;
  const std::uint64_t records = batch_.records();
  const auto taken = intake_.put(options_.tag, batch_, options_.ack, [stats = stats_, records](Result<void> r) {
    if (!r.ok()) InputStats::add(stats->unconfirmed, records);
  });
  if (taken == Intake::Taken::kWait) {
    InputStats::add(stats_->waits, 1);
    if (!blocked()) blocked_since_ = boot_now();
    held_ = true;
    if (finished_) return;
    return intake_.on_room([weak = weak_from_this()] {
      // Weak to the end: a context that runs no more keeps what is posted to it, and would keep us with it.
      if (const auto loop = weak.lock())
        asio::post(loop->context_, [weak] {
          if (const auto self = weak.lock()) self->unblock(self->held_);
        });
    });
  }
  if (taken == Intake::Taken::kRefused) {
    InputStats::add(stats_->refused, records);
  } else {
    InputStats::add(stats_->records, records);
    InputStats::add(stats_->bytes, batch_payload_);
    InputStats::add(stats_->batches, 1);
  }
  InputStats::add(stats_->cut, batch_cut_);
  InputStats::add(stats_->malformed, batch_malformed_);
  batch_payload_ = batch_cut_ = batch_malformed_ = 0;
  batch_.clear();
  look_whether_closed();
  if (bucket_.limited()) rest(bucket_.borrow(records, boot_now()));
}

void TcpLoop::rest(Duration debt) {
  if (debt == Duration::zero() || finished_) return;
  if (!blocked()) blocked_since_ = boot_now();
  resting_ = true;
  rest_timer_.expires_after(debt);
  rest_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (!stopped) self->unblock(self->resting_);
  });
}

void TcpLoop::unblock(bool& reason) {
  if (finished_) return;
  reason = false;
  put();
  if (blocked()) return;
  const Instant now = boot_now();
  InputStats::raise(stats_->longest_gap_nanos, static_cast<std::uint64_t>((now - blocked_since_).count()));
  for (const Ptr& connection : ready_) connection->record_began = now;
  tick();
}

void TcpLoop::tick_soon() {
  if (tick_set_ || blocked()) return;
  tick_set_ = true;
  tick_timer_.expires_after(much_ ? 0ms : kTick);
  tick_timer_.async_wait([self = shared_from_this()](error_code) {
    self->tick_set_ = false;
    if (!self->finished_) self->tick();
  });
}

void TcpLoop::tick() {
  much_ = false;
  std::vector<Ptr> ready = std::move(ready_);
  ready_.clear();
  for (const Ptr& connection : ready) {
    connection->listed = false;
    if (connection->gone) continue;
    if (blocked())
      list(connection);
    else
      read(connection);
  }
}

}  // namespace outlast::ingest
