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
constexpr std::uint32_t kHeaderMax = 16 << 10;
constexpr std::size_t kFirstRead = 16 << 10;
constexpr auto kRequestTime = 60s;
constexpr auto kKeepAliveTime = 75s;
constexpr auto kLingerTime = 2s;
constexpr auto kAcceptAgain = 50ms;

auto noting(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

std::optional<Packing> packing_of(std::string_view encoding) {
  if (encoding.empty() || beast::iequals(encoding, "identity")) return Packing::kNone;
  if (beast::iequals(encoding, "gzip") || beast::iequals(encoding, "x-gzip")) return Packing::kGzip;
  if (beast::iequals(encoding, "zstd")) return Packing::kZstd;
  return std::nullopt;
}

HttpAnswer unreadable(error_code error) {
  if (error == bhttp::error::body_limit) return HttpAnswer::failed(413, "the body is larger than body_max");
  if (error == bhttp::error::header_limit) return HttpAnswer::failed(431, "the headers are larger than 16 KiB");
  if (error == beast::error::timeout) return HttpAnswer::failed(408, "the request took longer than 60 s to arrive");
  return HttpAnswer::failed(400, "this is no HTTP request: " + error.message());
}

bool connection_ended(error_code error) {
  return error == bhttp::error::end_of_stream || error == bhttp::error::partial_message ||
         (error && error.category() == asio::error::get_system_category()) || error == asio::error::eof;
}
}  // namespace

HttpLoop::HttpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats)
    : options_(options),
      stats_(std::move(stats)),
      context_(std::make_shared<asio::io_context>(1)),
      delivery_(options, intake, stats_, context_),
      work_(context_->get_executor()),
      acceptor_(*context_),
      stop_timer_(*context_) {}

void HttpLoop::run() {
  context_->run();
}

void HttpLoop::listen(int fd) {
  error_code ignored;
  acceptor_.assign(tcp::v6(), fd, ignored);
  asio::co_spawn(*context_, [self = shared_from_this()] { return self->accept_all(); }, asio::detached);
}

asio::awaitable<void> HttpLoop::accept_all() {
  while (acceptor_.is_open()) {
    error_code error;
    tcp::socket socket = co_await acceptor_.async_accept(noting(error));
    if (!error) accepted(std::move(socket));  // stop_accepting() may have come in between
    if (!error || !acceptor_.is_open()) continue;
    asio::steady_timer pause(*context_, kAcceptAgain);  // out of file descriptors
    co_await pause.async_wait(noting(error));
  }
}

void HttpLoop::stop_accepting() {
  error_code ignored;
  acceptor_.close(ignored);
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
  stats_->connections = connections_.size();
  InputStats::add(stats_->connections_taken, 1);
  connection->idle = true;
  ++idle_;
  asio::co_spawn(
      *context_, [self = shared_from_this(), connection] { return self->serve(connection); },
      asio::bind_cancellation_slot(connection->give_up.slot(), asio::detached));
}

asio::awaitable<void> HttpLoop::serve(Ptr connection) {
  try {
    while (co_await request_begins(*connection)) {
      if (!co_await request(*connection)) break;
    }
    if (connection->stream.socket().is_open()) co_await close(*connection);
  } catch (const std::exception& e) {
    spdlog::error("ingest: input {}: a connection failed: {}", options_.name, e.what());
  }
  connections_.erase(connection);
  stats_->connections = connections_.size();
  look_for_end();
}

// Between two requests a connection can be given away, or closed when we stop.
asio::awaitable<bool> HttpLoop::request_begins(Connection& c) {
  error_code error;
  if (!c.idle) ++idle_;
  c.idle = true;
  if (c.buffer.size() == 0 && !ending()) {
    c.stream.expires_after(kKeepAliveTime);
    const std::size_t count = co_await c.stream.async_read_some(c.buffer.prepare(kFirstRead), noting(error));
    c.buffer.commit(count);
  }
  c.idle = false;
  --idle_;
  if (releasing_ && (!error || error == asio::error::operation_aborted)) {
    MovedConnection moved{Fd(c.stream.release_socket().release(error)), c.peer, {}};
    moved.state.unfinished = beast::buffers_to_string(c.buffer.data());
    released_.push_back(std::move(moved));
    co_return false;
  }
  if (c.buffer.size() > 0) co_return true;
  // A request that came while we stopped is still answered.
  if (finishing_ && c.stream.socket().available(error) > 0) co_return true;
  co_return !error && !ending();
}

// False: the connection ends with it.
asio::awaitable<bool> HttpLoop::request(Connection& c) {
  Parser parser;
  parser.body_limit(options_.body_max);
  parser.header_limit(kHeaderMax);
  c.stream.expires_after(kRequestTime);
  error_code error;
  co_await bhttp::async_read_header(c.stream, c.buffer, parser, noting(error));
  last_read_ = boot_now();
  c.linger = true;
  if (connection_ended(error)) co_return false;
  if (error) co_return co_await answer(c, unreadable(error), 11, false);
  const HttpAnswer out = co_await read_and_take(c, parser);
  if (out.status == 0) co_return false;
  c.linger = !parser.is_done();
  const bool keep = parser.is_done() && parser.get().keep_alive() && !ending();
  co_return co_await answer(c, out, parser.get().version(), keep);
}

// Status 0: the connection broke.
asio::awaitable<HttpAnswer> HttpLoop::read_and_take(Connection& c, Parser& parser) {
  const auto& head = parser.get();
  const auto text = [](beast::string_view v) { return std::string_view(v.data(), v.size()); };
  if (head.method() != bhttp::verb::post)
    co_return HttpAnswer::failed(405, "send records as the body of a POST request");
  const auto format = body_format(text(head[bhttp::field::content_type]));
  const auto packing = packing_of(text(head[bhttp::field::content_encoding]));
  if (!format)
    co_return HttpAnswer::failed(415, "send application/x-ndjson, application/json or text/plain as the Content-Type");
  if (!packing) co_return HttpAnswer::failed(415, "send gzip, zstd or nothing as the Content-Encoding");
  error_code error;
  if (beast::iequals(head[bhttp::field::expect], "100-continue")) {
    bhttp::response<bhttp::empty_body> go_on(bhttp::status::continue_, head.version());
    co_await bhttp::async_write(c.stream, go_on, noting(error));
  }
  co_await bhttp::async_read(c.stream, c.buffer, parser, noting(error));
  if (connection_ended(error)) co_return HttpAnswer{0, ""};
  if (error) co_return unreadable(error);
  co_return co_await take(c, parser, *format, *packing);
}

asio::awaitable<HttpAnswer> HttpLoop::take(Connection& c, Parser& parser, BodyFormat format, Packing packing) {
  std::string body = std::move(parser.get().body());
  if (packing != Packing::kNone) {
    auto unpacked = unpack(packing, body, options_.unpacked_max);
    if (!unpacked.ok()) {
      InputStats::add(stats_->malformed, 1);
      co_return HttpAnswer::failed(unpacked.error().code == Errc::kTooLarge ? 413 : 400, unpacked.error().message);
    }
    body = std::move(*unpacked);
  }
  RecordBatch batch;
  const auto split = split_body(format, body, options_.message_size_max, wall_now_micros(), c.peer, batch);
  if (!split.ok()) {
    InputStats::add(stats_->malformed, 1);
    co_return HttpAnswer::failed(split.error().code == Errc::kTooLarge ? 413 : 400, split.error().message);
  }
  const std::uint64_t bytes = body.size();
  body = std::string();
  c.stream.expires_never();
  co_return co_await delivery_.deliver(std::move(batch), bytes);
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
  c.stream.expires_after(kRequestTime);
  co_await bhttp::async_write(c.stream, out, noting(error));
  co_return !error && keep;
}

// Closing with unread bytes would reset the connection, and the answer with it.
asio::awaitable<void> HttpLoop::close(Connection& c) {
  error_code error;
  c.stream.socket().shutdown(tcp::socket::shutdown_send, error);
  c.stream.expires_after(kLingerTime);
  while (c.linger && !error && !finishing_) {
    c.buffer.clear();
    co_await c.stream.async_read_some(c.buffer.prepare(kFirstRead), noting(error));
  }
  c.stream.close();
}

void HttpLoop::wake_idle() {
  for (const Ptr& c : connections_)
    if (c->idle) c->stream.cancel();
}

void HttpLoop::release(std::function<void(std::vector<MovedConnection>)> to) {
  releasing_ = true;
  release_to_ = std::move(to);
  wake_idle();
  look_for_end();
}

void HttpLoop::finish() {
  stop_accepting();
  finishing_ = true;
  releasing_ = false;
  wake_idle();
  stop_timer_.expires_after(options_.stop_wait);
  stop_timer_.async_wait([self = shared_from_this()](error_code stopped) {
    if (stopped) return;
    const std::vector<Ptr> late(self->connections_.begin(), self->connections_.end());
    for (const Ptr& c : late) c->give_up.emit(asio::cancellation_type::terminal);
  });
  look_for_end();
}

void HttpLoop::look_for_end() {
  if (releasing_ && idle_ == 0 && release_to_) std::exchange(release_to_, nullptr)(std::exchange(released_, {}));
  if (!finishing_ || !connections_.empty()) return;
  stop_timer_.cancel();
  work_.reset();
}

}  // namespace outlast::ingest
