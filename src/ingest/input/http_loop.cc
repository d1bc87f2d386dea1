#include "ingest/input/http_loop.h"

#include <spdlog/spdlog.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/http.hpp>

namespace outlast::ingest {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kFirstRead = 16 << 10;
constexpr auto kAnswerTime = 60s;
constexpr auto kLingerTime = 2s;
constexpr auto kLastAnswers = 1s;
constexpr auto kAcceptAgain = 50ms;
constexpr Duration kLastRequest = 1s;

auto noting(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

}  // namespace

HttpLoop::HttpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats)
    : options_(options),
      stats_(std::move(stats)),
      context_(std::make_shared<asio::io_context>(1)),
      delivery_(options, intake, stats_, context_),
      work_(context_->get_executor()),
      door_(*context_),
      stop_timer_(*context_) {}

void HttpLoop::run() {
  context_->run();
}

void HttpLoop::listen(int fd) {
  door_.listen(fd);
  accept_connections();
}

void HttpLoop::accept_connections() {
  asio::co_spawn(*context_, [self = shared_from_this()] { return self->accept_all(); }, asio::detached);
}

asio::awaitable<void> HttpLoop::accept_all() {
  while (door_.acceptor.is_open()) {
    error_code error;
    tcp::socket socket = co_await door_.acceptor.async_accept(noting(error));
    if (!error) accepted(std::move(socket));  // stop_accepting() may have come in between
    if (!error || !door_.acceptor.is_open()) continue;
    asio::steady_timer pause(*context_, kAcceptAgain);  // out of file descriptors
    co_await pause.async_wait(noting(error));
  }
}

void HttpLoop::close() {
  door_.close(options_.name, [this](tcp::socket socket) { accepted(std::move(socket)); });
  wake_readers();
  asio::post(*context_, [self = shared_from_this()] { self->look_for_end(); });  // after what was accepted before
}

void HttpLoop::reopen() {
  door_.reopen(options_.name);
  if (door_.acceptor.is_open()) accept_connections();
}

void HttpLoop::accepted(tcp::socket socket) {
  if (finishing_) return;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getpeername(socket.native_handle(), reinterpret_cast<sockaddr*>(&address), &size);
  if (!options_.allow.allows(IpAddress::of(address))) return InputStats::add(stats_->disallowed, 1);
  if (connections_.size() >= options_.connections_max) return InputStats::add(stats_->connections_refused, 1);
  const auto connection = std::make_shared<Connection>(std::move(socket));
  connection->peer = peer_text(address);
  add(connection);
}

void HttpLoop::adopt(MovedConnection moved) {
  tcp::socket socket(*context_);
  error_code error;
  socket.assign(tcp::v6(), moved.fd.get(), error);
  if (error) return InputStats::add(stats_->connections_refused, 1);
  moved.fd.release();
  const auto connection = std::make_shared<Connection>(std::move(socket));
  connection->peer = std::move(moved.peer);
  const std::string& begun = moved.state.unfinished;
  connection->buffer.commit(asio::buffer_copy(connection->buffer.prepare(begun.size()), asio::buffer(begun)));
  add(connection);
}

void HttpLoop::add(const Ptr& connection) {
  connections_.insert(connection);
  door_.done = false;
  stats_->connections = connections_.size();
  InputStats::add(stats_->connections_taken, 1);
  asio::co_spawn(
      *context_, [self = shared_from_this(), connection] { return self->serve(connection); },
      asio::bind_cancellation_slot(connection->give_up.slot(), asio::detached));
}

asio::awaitable<void> HttpLoop::serve(Ptr connection) {
  try {
    while (co_await request_begins(*connection)) {
      if (!co_await request(*connection)) break;
    }
    if (connection->moves) give(*connection);
    if (connection->stream.socket().is_open()) co_await close(*connection);
  } catch (const std::exception& e) {
    spdlog::error("ingest: input {}: a connection failed: {}", options_.name, e.what());
  }
  connections_.erase(connection);
  stats_->connections = connections_.size();
  look_for_end();
}

asio::awaitable<error_code> HttpLoop::read_some(Connection& c, std::size_t size) {
  error_code error;
  c.reading = true;
  ++reading_;
  const std::size_t count = co_await c.stream.async_read_some(c.buffer.prepare(size), noting(error));
  c.buffer.commit(count);
  c.reading = false;
  // Whoever waits for the last reader is told when what it has read is given away.
  if (--reading_ == 0 && release_to_) asio::post(*context_, [self = shared_from_this()] { self->look_for_end(); });
  if (error == beast::error::timeout && !door_.closing) InputStats::add(stats_->connections_timed_out, 1);
  co_return error;
}

// Between two requests a connection can be given away, or closed when we stop. A last one is answered when the door
// closes: its client cannot know yet that it should go elsewhere.
asio::awaitable<bool> HttpLoop::request_begins(Connection& c) {
  error_code error;
  for (bool last = false; c.buffer.size() == 0 && !finishing_ && !releasing_ && !last;) {
    last = door_.closing;
    c.stream.expires_after(last ? std::min<Duration>(kLastRequest, options_.keep_alive_max) : options_.keep_alive_max);
    error = co_await read_some(c, kFirstRead);
    if (error != asio::error::operation_aborted) break;
  }
  c.moves = can_move() && (!error || error == asio::error::operation_aborted);
  if (c.moves) co_return false;
  if (c.buffer.size() > 0) co_return true;
  // A request that came while we stopped is still answered.
  if (finishing_ && c.stream.socket().available(error) > 0) co_return true;
  co_return !error && !finishing_ && !releasing_;
}

// False: the connection ends with it, or moves.
asio::awaitable<bool> HttpLoop::request(Connection& c) {
  HttpRequest request(options_.body_max);
  c.stream.expires_after(options_.request_time_max);
  c.linger = true;
  const HttpAnswer out = co_await read_and_take(c, request);
  last_read_ = boot_now();
  if (out.status == 0) co_return false;
  const bool whole = request.stage() == HttpRequest::Stage::kDone;
  const bool ending = finishing_ || releasing_ || door_.closing;
  const bool keep = whole && request.keep_alive() && (can_move() || !ending);
  c.linger = !whole || keep != request.keep_alive();  // it may have gone on already
  co_return co_await answer(c, out, whole ? request.head().version() : 11, keep);
}

// Aborted: the connection moves, or it is too late.
asio::awaitable<error_code> HttpLoop::read_until(Connection& c, HttpRequest& request, HttpRequest::Stage stage) {
  for (;;) {
    error_code error = request.read(c.buffer);
    if (error || request.stage() >= stage) co_return error;
    if (can_move()) {
      const std::string begun = request.bytes() + beast::buffers_to_string(c.buffer.data());
      c.buffer.clear();
      c.buffer.commit(asio::buffer_copy(c.buffer.prepare(begun.size()), asio::buffer(begun)));
      c.moves = true;
    }
    if (c.moves || late_) co_return asio::error::operation_aborted;
    error = co_await read_some(c, request.wanted());
    if (error && error != asio::error::operation_aborted) co_return error;
  }
}

// Status 0: the connection broke, or moves.
asio::awaitable<HttpAnswer> HttpLoop::read_and_take(Connection& c, HttpRequest& request) {
  const auto failed = [&](error_code error) {
    if (late_) return HttpAnswer::failed(503, "this process ends; send this again", 1);
    return unreadable(error, options_);
  };
  error_code error = co_await read_until(c, request, HttpRequest::Stage::kBody);
  if (error) co_return failed(error);
  HttpContent content;
  if (const auto unwanted = content.read(request.head(), options_)) {
    if (unwanted->status == 400) InputStats::add(stats_->malformed, 1);
    co_return *unwanted;
  }
  if (beast::iequals(request.head()[bhttp::field::expect], "100-continue")) {
    bhttp::response<bhttp::empty_body> go_on(bhttp::status::continue_, request.head().version());
    co_await bhttp::async_write(c.stream, go_on, noting(error));
  }
  error = co_await read_until(c, request, HttpRequest::Stage::kDone);
  if (error) co_return failed(error);
  co_return co_await take(c, request, std::move(content));
}

asio::awaitable<HttpAnswer> HttpLoop::take(Connection& c, HttpRequest& request, HttpContent content) {
  std::string body = request.take_body();
  RecordBatch batch;
  if (const auto wrong = content.split(body, options_, c.peer, batch)) {
    InputStats::add(stats_->malformed, 1);
    co_return *wrong;
  }
  const std::uint64_t bytes = body.size();
  body = std::string();
  c.stream.expires_never();
  co_return co_await delivery_.deliver(std::move(content.label), std::move(batch), bytes);
}

asio::awaitable<bool> HttpLoop::answer(Connection& c, const HttpAnswer& what, unsigned version, bool keep) {
  bhttp::response<bhttp::string_body> out(static_cast<bhttp::status>(what.status), version);
  out.set(bhttp::field::content_type, "application/json");
  if (what.retry_after > 0) out.set(bhttp::field::retry_after, std::to_string(what.retry_after));
  if (what.status == 405) out.set(bhttp::field::allow, "POST");
  out.keep_alive(keep);
  out.body() = what.body;
  out.prepare_payload();
  error_code error;
  c.stream.expires_after(kAnswerTime);
  co_await bhttp::async_write(c.stream, out, noting(error));
  co_return !error && keep;
}

// Closing with unread bytes would reset the connection, and the answer with it.
asio::awaitable<void> HttpLoop::close(Connection& c) {
  error_code error;
  c.stream.socket().shutdown(tcp::socket::shutdown_send, error);
  c.stream.expires_after(kLingerTime);
  while (c.linger && !error && (!finishing_ || c.stream.socket().available(error) > 0)) {
    c.buffer.clear();
    co_await c.stream.async_read_some(c.buffer.prepare(kFirstRead), noting(error));
  }
  c.stream.close();
}

void HttpLoop::give(Connection& c) {
  error_code ignored;
  MovedConnection moved{Fd(c.stream.release_socket().release(ignored)), c.peer, {}};
  moved.state.unfinished = beast::buffers_to_string(c.buffer.data());
  if (release_to_) return released_.push_back(std::move(moved));
  later_(std::move(moved));
}

void HttpLoop::wake_readers() {
  for (const Ptr& c : connections_)
    if (c->reading) c->stream.cancel();
}

void HttpLoop::release(std::function<void(std::vector<MovedConnection>)> to, Input::Later later) {
  releasing_ = true;
  release_to_ = std::move(to);
  later_ = std::move(later);
  wake_readers();
  look_for_end();
}

void HttpLoop::finish() {
  door_.stop_accepting();
  finishing_ = true;
  wake_readers();
  stop_timer_.expires_after(options_.stop_wait);
  stop_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (!stopped) self->end_late();
  });
  look_for_end();
}

// Whatever a client still waits for is answered now; who does not take the answer is left.
void HttpLoop::end_late() {
  late_ = true;
  delivery_.give_up();
  wake_readers();
  stop_timer_.expires_after(kLastAnswers);
  stop_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (stopped) return;
    const std::vector<Ptr> left(self->connections_.begin(), self->connections_.end());
    for (const Ptr& c : left) c->give_up.emit(asio::cancellation_type::terminal);
  });
}

void HttpLoop::look_for_end() {
  if (releasing_ && reading_ == 0 && release_to_) std::exchange(release_to_, nullptr)(std::exchange(released_, {}));
  door_.done = door_.closing && connections_.empty();
  if (!finishing_ || !connections_.empty()) return;
  stop_timer_.cancel();
  work_.reset();
}

}  // namespace outlast::ingest
