#include "http/server.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace outlast::http {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using BeastHead = bhttp::request_header<>;
using HeadParser = bhttp::request_parser<bhttp::empty_body>;
using BeastResponse = bhttp::response<bhttp::string_body>;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kBodyMax = 1 << 20;
constexpr std::size_t kPiece = 64 << 10;  ///< Of a stream.
constexpr std::uint32_t kHeaderMax = 16 << 10;
constexpr int kConnectionsMax = 256;

std::string percent_decode(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
        std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0) {
      out.push_back(static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

Request to_request(const BeastHead& in) {
  Request out;
  out.method = in.method() == bhttp::verb::head ? "GET" : std::string(in.method_string());
  const std::string_view target(in.target().data(), in.target().size());
  const std::size_t mark = target.find('?');
  out.path = percent_decode(target.substr(0, mark));
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t eq = pair.find('=');
    out.query[percent_decode(pair.substr(0, eq))] =
        eq == std::string_view::npos ? "" : percent_decode(pair.substr(eq + 1));
  }
  for (const auto& field : in) {
    std::string name(field.name_string());
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    out.headers[std::move(name)] = std::string(field.value());
  }
  return out;
}

bool waits_for_continue(const BeastHead& in) {
  return in.version() >= 11 && beast::iequals(in[bhttp::field::expect], "100-continue");
}

asio::awaitable<boost::system::error_code> say_continue(beast::tcp_stream* stream) {
  boost::system::error_code error;
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  co_await asio::async_write(*stream, asio::buffer(kContinue), asio::redirect_error(asio::use_awaitable, error));
  co_return error;
}

Error too_large() {
  return {Errc::kTooLarge, "the body is larger than this path takes"};
}

/// Over a parser that has read the head.
class BeastBody final : public BodyStream {
 public:
  BeastBody(beast::tcp_stream& stream, beast::flat_buffer& buffer, HeadParser&& head, const StreamLimits& limits)
      : stream_(stream), buffer_(buffer), limits_(limits), parser_(std::move(head)) {
    parser_.body_limit(limits.body_max);
    waiting_ = waits_for_continue(parser_.get());
  }
  bool done() const { return parser_.is_done(); }
  bool asked() const { return !waiting_; }
  const BeastHead& head() const { return parser_.get(); }
  bool keep_alive() const { return parser_.keep_alive(); }

  asio::awaitable<Result<std::string>> next() override {
    stream_.expires_after(limits_.silence);
    if (std::exchange(waiting_, false) && co_await say_continue(&stream_)) co_return gone();
    std::string piece;
    piece.resize_and_overwrite(kPiece, [](char*, std::size_t size) { return size; });
    std::size_t size = 0;
    boost::system::error_code error;
    while (size == 0 && !parser_.is_done()) {
      parser_.get().body().data = piece.data();
      parser_.get().body().size = piece.size();
      parser_.get().body().more = true;
      co_await bhttp::async_read_some(stream_, buffer_, parser_, asio::redirect_error(asio::use_awaitable, error));
      size = piece.size() - parser_.get().body().size;
      if (error == bhttp::error::need_buffer) error = {};
      if (error) break;
      stream_.expires_after(limits_.silence);
    }
    if (error == beast::error::timeout) co_return Error(Errc::kDeadline, "the client sent nothing for too long");
    if (error == bhttp::error::body_limit) co_return too_large();
    if (error) co_return gone();
    piece.resize(size);
    co_return piece;
  }

 private:
  static Error gone() { return {Errc::kUnavailable, "the client went away before the end of its body"}; }
  beast::tcp_stream& stream_;
  beast::flat_buffer& buffer_;
  const StreamLimits limits_;
  bhttp::request_parser<bhttp::buffer_body> parser_;
  bool waiting_{false};
};
}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  explicit Impl(asio::any_io_executor e) : executor(std::move(e)), acceptor(executor) {}

  struct Route {
    Handler handler;
    StreamHandler stream;  ///< Instead of `handler`.
    StreamLimits limits;
  };
  const Route* find(const std::string& method, const std::string& path, bool& path_known) const {
    const Route* best = nullptr;
    std::size_t best_length = 0;
    for (const auto& [route, target] : routes) {
      const auto& [route_method, route_path] = route;
      const bool prefix = route_path.size() > 1 && route_path.back() == '/';
      if (prefix ? path.compare(0, route_path.size(), route_path) != 0 : path != route_path) continue;
      path_known = true;
      if (route_method != method || route_path.size() < best_length) continue;
      best = &target;
      best_length = route_path.size();
    }
    return best;
  }

  /// `body`: of a stream, null for any other route.
  asio::awaitable<Response> answer(const Route* route, bool path_known, Request request, BodyStream* body) {
    if (route == nullptr)
      co_return path_known ? Response::text("method not allowed\n", 405)
                           : Response::error(Error(Errc::kNotFound, "there is no " + request.path + " here"));
    std::string failure;
    try {
      if (body != nullptr) co_return co_await route->stream(std::move(request), body);
      co_return co_await route->handler(std::move(request));
    } catch (const std::exception& e) {
      failure = e.what();
    }
    spdlog::error("http: a handler failed: {}", failure);
    co_return Response::error(Error(Errc::kInternal, failure));
  }

  /// False: the connection is of no more use.
  static asio::awaitable<bool> write(beast::tcp_stream* stream, Response out, const BeastHead& in, bool keep) {
    BeastResponse response(static_cast<bhttp::status>(out.status), in.version());
    response.set(bhttp::field::content_type, out.content_type);
    response.set(bhttp::field::cache_control, "no-store");
    for (const auto& [name, value] : out.headers) response.set(name, value);
    response.keep_alive(keep);
    response.content_length(out.body.size());
    stream->expires_after(30s);
    const bool head = in.method() == bhttp::verb::head;
    if (!head) response.body() = std::move(out.body);
    bhttp::response_serializer<bhttp::string_body> serializer(response);
    boost::system::error_code error;
    if (head)
      co_await bhttp::async_write_header(*stream, serializer, asio::redirect_error(asio::use_awaitable, error));
    else
      co_await bhttp::async_write(*stream, serializer, asio::redirect_error(asio::use_awaitable, error));
    co_return !error;
  }

  /// A client that still sends would lose the answer with a connection that is closed under it.
  static asio::awaitable<void> let_finish(beast::tcp_stream* stream) {
    boost::system::error_code error;
    stream->socket().shutdown(tcp::socket::shutdown_send, error);
    stream->expires_after(2s);
    std::string rest(kPiece, '\0');
    while (!error)
      co_await stream->async_read_some(asio::buffer(rest), asio::redirect_error(asio::use_awaitable, error));
  }

  /// A request that is not read to its end; the connection is of no more use.
  static asio::awaitable<void> turn_away(beast::tcp_stream* stream, const BeastHead& in, Error why, int status) {
    Response out = Response::error(why);
    out.status = status;
    if (co_await write(stream, std::move(out), in, false)) co_await let_finish(stream);
  }

  asio::awaitable<bool> serve_stream(beast::tcp_stream* stream, beast::flat_buffer* buffer, HeadParser* parser,
                                     const Route* route, Request request) {
    BeastBody body(*stream, *buffer, std::move(*parser), route->limits);
    stream->expires_never();  // a handler may work for long between two pieces
    Response out = co_await answer(route, true, std::move(request), &body);
    const bool keep = body.done() && body.keep_alive() && accepting;
    const bool written = co_await write(stream, std::move(out), body.head(), keep);
    if (written && !body.done() && body.asked()) co_await let_finish(stream);
    co_return written&& keep;
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    beast::tcp_stream stream(std::move(socket));
    beast::flat_buffer buffer;
    boost::system::error_code error;
    for (bool keep = true; keep && !stopped;) {
      HeadParser head;
      head.header_limit(kHeaderMax);
      head.body_limit(boost::none);  // the route has it
      stream.expires_after(30s);
      co_await bhttp::async_read_header(stream, buffer, head, asio::redirect_error(asio::use_awaitable, error));
      if (error == bhttp::error::header_limit)
        co_await turn_away(&stream, head.get(), Error(Errc::kTooLarge, "the headers are larger than 16 KiB"), 431);
      if (error) break;
      Request request = to_request(head.get());
      bool path_known = false;
      const Route* const route = find(request.method, request.path, path_known);
      const bool streams = route != nullptr && route->stream;
      if (head.content_length().value_or(0) > (streams ? route->limits.body_max : kBodyMax)) {
        co_await turn_away(&stream, head.get(), too_large(), facts(Errc::kTooLarge).http);
        break;
      }
      if (streams) {
        keep = co_await serve_stream(&stream, &buffer, &head, route, std::move(request));
        continue;
      }
      if (waits_for_continue(head.get()) && co_await say_continue(&stream)) break;
      bhttp::request_parser<bhttp::string_body> parser(std::move(head));
      parser.body_limit(kBodyMax);
      co_await bhttp::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      request.body = std::move(parser.get().body());
      stream.expires_never();
      Response out = co_await answer(route, path_known, std::move(request), nullptr);
      keep = parser.keep_alive() && accepting;
      if (!co_await write(&stream, std::move(out), parser.get(), keep)) break;
    }
    stream.socket().shutdown(tcp::socket::shutdown_send, error);
  }

  static asio::awaitable<void> serve_one(std::shared_ptr<Impl> self, tcp::socket socket) {
    ++self->connections;
    try {
      co_await self->serve(std::move(socket));
    } catch (const std::exception& e) {
      spdlog::error("http: a connection failed: {}", e.what());
    }
    --self->connections;
  }

  static asio::awaitable<void> accept_all(std::shared_ptr<Impl> self) {
    while (!self->stopped && self->accepting) {
      boost::system::error_code error;
      tcp::socket socket = co_await self->acceptor.async_accept(asio::make_strand(self->executor),
                                                                asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor || self->stopped) co_return;
      if (error) {  // out of file descriptors: the listener stays, try again a little later
        asio::steady_timer pause(self->executor, 50ms);
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      if (self->connections >= kConnectionsMax) continue;  // closes it
      const auto executor = socket.get_executor();
      asio::co_spawn(executor, serve_one(self, std::move(socket)), asio::detached);
    }
  }

  asio::any_io_executor executor;
  tcp::acceptor acceptor;
  std::map<std::pair<std::string, std::string>, Route> routes;
  std::atomic<int> connections{0};
  std::atomic<bool> stopped{false}, accepting{false};
};

Server::Server(asio::any_io_executor executor) : impl_(std::make_shared<Impl>(asio::make_strand(executor))) {}
Server::~Server() {
  stop();
}

void Server::route(std::string method, std::string path, Handler handler) {
  impl_->routes[{std::move(method), std::move(path)}] = {std::move(handler), {}, {}};
}

void Server::route_stream(std::string method, std::string path, StreamLimits limits, StreamHandler handler) {
  impl_->routes[{std::move(method), std::move(path)}] = {{}, std::move(handler), limits};
}

void Server::start(int listen_fd) {
  fcntl(listen_fd, F_SETFL, fcntl(listen_fd, F_GETFL) | O_NONBLOCK);
  impl_->accepting = true;
  asio::post(impl_->executor, [impl = impl_, listen_fd] {
    impl->acceptor.assign(tcp::v4(), listen_fd);
    asio::co_spawn(impl->executor, Impl::accept_all(impl), asio::detached);
  });
}

void Server::pause() {
  impl_->accepting = false;
  asio::post(impl_->executor, [impl = impl_] {
    boost::system::error_code ignored;
    impl->acceptor.close(ignored);
  });
}

void Server::stop() {
  if (impl_->stopped.exchange(true)) return;
  pause();
}

}  // namespace outlast::http
