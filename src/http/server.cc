#include "http/server.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace outlast::http {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using BeastRequest = bhttp::request<bhttp::string_body>;
using BeastResponse = bhttp::response<bhttp::string_body>;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kBodyMax = 1 << 20;
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

Request to_request(const BeastRequest& in) {
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
  out.body = in.body();
  return out;
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out.append(code);
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}
}  // namespace

Response Response::error(const Error& error) {
  return json("{\"code\":" + json_quote(facts(error.code).name) + ",\"message\":" + json_quote(error.message) + "}\n",
              facts(error.code).http);
}

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  explicit Impl(asio::any_io_executor e) : executor(std::move(e)), acceptor(executor) {}

  const Handler* find(const std::string& method, const std::string& path, bool& path_known) const {
    const Handler* best = nullptr;
    std::size_t best_length = 0;
    for (const auto& [route, handler] : routes) {
      const auto& [route_method, route_path] = route;
      const bool prefix = route_path.size() > 1 && route_path.back() == '/';
      if (prefix ? path.compare(0, route_path.size(), route_path) != 0 : path != route_path) continue;
      path_known = true;
      if (route_method != method || route_path.size() < best_length) continue;
      best = &handler;
      best_length = route_path.size();
    }
    return best;
  }

  asio::awaitable<Response> answer(Request request) {
    bool path_known = false;
    const Handler* handler = find(request.method, request.path, path_known);
    if (handler == nullptr)
      co_return path_known ? Response::text("method not allowed\n", 405)
                           : Response::error(Error(Errc::kNotFound, "there is no " + request.path + " here"));
    std::string failure;
    try {
      co_return co_await (*handler)(std::move(request));
    } catch (const std::exception& e) {
      failure = e.what();
    }
    spdlog::error("http: a handler failed: {}", failure);
    co_return Response::error(Error(Errc::kInternal, failure));
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    beast::tcp_stream stream(std::move(socket));
    beast::flat_buffer buffer;
    boost::system::error_code error;
    for (bool keep = true; keep && !stopped;) {
      bhttp::request_parser<bhttp::string_body> parser;
      parser.body_limit(kBodyMax);
      parser.header_limit(kHeaderMax);
      stream.expires_after(30s);
      co_await bhttp::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      const BeastRequest& in = parser.get();
      Response out = co_await answer(to_request(in));
      BeastResponse response(static_cast<bhttp::status>(out.status), in.version());
      response.set(bhttp::field::content_type, out.content_type);
      response.set(bhttp::field::cache_control, "no-store");
      keep = in.keep_alive() && accepting;
      response.keep_alive(keep);
      response.content_length(out.body.size());
      stream.expires_after(30s);
      if (in.method() != bhttp::verb::head) response.body() = std::move(out.body);
      bhttp::response_serializer<bhttp::string_body> serializer(response);
      if (in.method() == bhttp::verb::head)
        co_await bhttp::async_write_header(stream, serializer, asio::redirect_error(asio::use_awaitable, error));
      else
        co_await bhttp::async_write(stream, serializer, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
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
  std::map<std::pair<std::string, std::string>, Handler> routes;
  std::atomic<int> connections{0};
  std::atomic<bool> stopped{false}, accepting{false};
};

Server::Server(asio::any_io_executor executor) : impl_(std::make_shared<Impl>(asio::make_strand(executor))) {}
Server::~Server() {
  stop();
}

void Server::route(std::string method, std::string path, Handler handler) {
  impl_->routes[{std::move(method), std::move(path)}] = std::move(handler);
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
