#include "ingest/sink/http_post.h"

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <optional>

namespace outlast::ingest {
namespace {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
constexpr std::uint64_t kAnswerMax = 1U << 20;
}  // namespace

Result<HttpTarget> HttpTarget::parse(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const Error wrong(Errc::kInvalidArgument,
                    "\"" + url + "\" is no address to forward to; write one such as http://10.0.0.5:9880/app");
  if (!url.starts_with(kScheme)) return wrong;
  const std::string rest = url.substr(kScheme.size());
  const auto slash = rest.find('/');
  const std::string address = rest.substr(0, slash);
  HttpTarget target{.port = "80", .path = slash == std::string::npos ? "/" : rest.substr(slash)};
  const auto bracket = address.rfind(']');
  const auto colon = address.rfind(':');
  const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (has_port) target.port = address.substr(colon + 1);
  target.host = address.substr(0, has_port ? colon : address.size());
  if (target.host.starts_with('[') && target.host.ends_with(']'))
    target.host = target.host.substr(1, target.host.size() - 2);
  const bool digits = target.port.find_first_not_of("0123456789") == std::string::npos;
  if (target.host.empty() || target.port.empty() || target.port.size() > 5 || !digits) return wrong;
  if (target.path.find_first_of(" \r\n") != std::string::npos) return wrong;
  return target;
}

struct HttpPoster::Connection {
  Connection(HttpTarget to, Duration wait) : target(std::move(to)), timeout(wait) {}
  HttpTarget target;
  Duration timeout;
  asio::io_context io{1};
  std::optional<beast::tcp_stream> stream;
  std::atomic<bool> stopped{false};

  /// Runs one asynchronous step to its end.
  template <class Start>
  boost::system::error_code run(Start start) {
    boost::system::error_code result = asio::error::operation_aborted;
    stream->expires_after(timeout);
    start([&result](boost::system::error_code error, auto&&...) { result = error; });
    io.restart();
    if (!stopped) io.run();
    return result;
  }

  boost::system::error_code connect() {
    stream.emplace(io);
    boost::system::error_code error;
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(target.host, target.port, error);
    if (error) return error;
    error = run([&](auto done) { stream->async_connect(found, std::move(done)); });
    if (!error) stream->socket().set_option(tcp::no_delay(true), error);
    return error;
  }

  boost::system::error_code exchange(const http::request<http::string_body>& request,
                                     http::response_parser<http::string_body>& answer) {
    auto error = run([&](auto done) { http::async_write(*stream, request, std::move(done)); });
    if (error) return error;
    beast::flat_buffer buffer;
    answer.body_limit(kAnswerMax);
    return run([&](auto done) { http::async_read(*stream, buffer, answer, std::move(done)); });
  }

  void drop() {
    stream.reset();
    io.restart();
    if (!stopped) io.poll();  // handlers of what was cancelled
  }
};

HttpPoster::HttpPoster(HttpTarget target, Duration timeout)
    : connection_(std::make_shared<Connection>(std::move(target), timeout)) {}

HttpPoster::~HttpPoster() = default;

void HttpPoster::stop() {
  connection_->stopped = true;
  connection_->io.stop();
}

Result<HttpPoster::Answer> HttpPoster::post(const Headers& headers, std::string body) {
  Connection& connection = *connection_;
  const HttpTarget& target = connection.target;
  http::request<http::string_body> request(http::verb::post, target.path, 11);
  request.set(http::field::host, target.host + ":" + target.port);
  for (const auto& [name, value] : headers) request.set(name, value);
  request.body() = std::move(body);
  request.prepare_payload();
  boost::system::error_code error;
  // A kept connection may have been closed by the other side: then once more, on a new one.
  for (const bool kept = connection.stream.has_value(); const bool fresh : {false, true}) {
    if (connection.stopped) break;
    if (!fresh && !kept) continue;
    if (fresh) error = connection.connect();
    http::response_parser<http::string_body> parser;
    if (!error) error = connection.exchange(request, parser);
    if (!error) {
      Answer answer{parser.get().result_int(), std::move(parser.get().body())};
      if (!parser.get().keep_alive()) connection.drop();
      return answer;
    }
    connection.drop();
    error = fresh ? error : boost::system::error_code();
  }
  if (connection.stopped) return Error(Errc::kShuttingDown, "stopped before the answer came");
  return Error(Errc::kUnavailable, target.host + ":" + target.port + " does not answer: " + error.message());
}

}  // namespace outlast::ingest
