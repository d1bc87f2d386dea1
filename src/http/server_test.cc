#include "http/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <future>
#include <thread>

namespace outlast::http {
namespace {
namespace asio = boost::asio;

asio::awaitable<Response> echo(Request request) {
  co_return Response::text(request.method + " " + request.path + " " + request.query["a"] + " " + request.body);
}
asio::awaitable<Response> broken(Request) {
  throw std::runtime_error("boom");
  co_return Response{};
}

/// How many bytes came, or why no more did.
asio::awaitable<Response> count(Request, BodyStream* body, std::function<void(Errc)> ended) {
  for (std::size_t bytes = 0;;) {
    auto piece = co_await body->next();
    if (!piece.ok()) {
      ended(piece.error().code);
      co_return Response::error(piece.error());
    }
    if (piece->empty()) co_return Response::text(std::to_string(bytes) + " bytes");
    bytes += piece->size();
  }
}
asio::awaitable<Response> refuse(Request, BodyStream*) {
  co_return Response::text("not here", 503);
}

class HttpServerTest : public testing::Test {  // a real socket, a plain blocking client
 protected:
  HttpServerTest() {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address_), size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address_), &size);
    server_.route("GET", "/echo", echo);
    server_.route("POST", "/echo", echo);
    server_.route("GET", "/tree/", echo);
    server_.route("GET", "/broken", broken);
    server_.route_stream("PUT", "/count", {.body_max = 8 << 20, .silence = std::chrono::milliseconds(50)},
                         [this](Request request, BodyStream* body) {
                           return count(std::move(request), body,
                                        [this](Errc why) { ended_[failed_++].set_value(why); });
                         });
    server_.route_stream("PUT", "/refuse", {}, refuse);
    server_.start(listener_);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~HttpServerTest() override {
    server_.stop();
    context_.stop();
    thread_.join();
  }
  /// Everything that comes back; `then_close`: the client says that it sends no more.
  std::string talk(const std::string& request, bool then_close = false) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    if (then_close) shutdown(fd, SHUT_WR);
    std::string answer;
    char chunk[4096];
    for (ssize_t n = 0; (n = recv(fd, chunk, sizeof chunk, 0)) > 0;) answer.append(chunk, static_cast<std::size_t>(n));
    close(fd);
    return answer;
  }
  /// Of the next stream that could not be read to its end.
  Errc how_it_ended() { return ended_[asked_++].get_future().get(); }
  int listener_{-1};
  sockaddr_in address_{};
  std::array<std::promise<Errc>, 2> ended_;
  std::size_t failed_{0};  ///< The server's thread's.
  std::size_t asked_{0};
  asio::io_context context_;
  Server server_{context_.get_executor()};
  std::thread thread_;
};

std::string put(const std::string& path, const std::string& method, const std::string& body) {
  return method + " " + path +
         " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

TEST_F(HttpServerTest, AnswersAnOldBalancersProbe) {  // HTTP/1.0 without Host, as HAProxy sends it
  const std::string answer = talk("GET /echo?a=x%20y HTTP/1.0\r\n\r\n");
  EXPECT_NE(answer.find("200 OK"), std::string::npos) << answer;
  EXPECT_NE(answer.find("GET /echo x y "), std::string::npos) << answer;
}
TEST_F(HttpServerTest, FindsTheLongestRouteAndTellsWhatIsMissing) {
  EXPECT_NE(talk("GET /tree/7/leaf HTTP/1.0\r\n\r\n").find("/tree/7/leaf"), std::string::npos);
  EXPECT_NE(talk("GET /nothing HTTP/1.0\r\n\r\n").find("404"), std::string::npos);
  EXPECT_NE(talk("DELETE /echo HTTP/1.0\r\n\r\n").find("405"), std::string::npos);
}
TEST_F(HttpServerTest, AHandlersFailureIsA500AndTheServerGoesOn) {
  EXPECT_NE(talk("GET /broken HTTP/1.0\r\n\r\n").find("500"), std::string::npos);
  EXPECT_NE(talk("GET /echo HTTP/1.0\r\n\r\n").find("200"), std::string::npos);
}
TEST_F(HttpServerTest, ClosesOnGarbageAndTurnsOversizedRequestsAway) {
  EXPECT_EQ(talk("\x16\x03\x01 not http\r\n\r\n").find("200"), std::string::npos);
  EXPECT_NE(talk("GET /echo HTTP/1.1\r\nHost: a\r\nX: " + std::string(64 << 10, 'x') + "\r\n\r\n").find("HTTP/1.1 431"),
            std::string::npos);
  const std::string large = talk(put("/echo", "POST", std::string(2 << 20, 'x')));
  EXPECT_NE(large.find("HTTP/1.1 413"), std::string::npos) << large;
  EXPECT_NE(large.find("the body is larger than this path takes"), std::string::npos) << large;
  EXPECT_NE(talk("HEAD /echo HTTP/1.0\r\n\r\n").find("200 OK"), std::string::npos);
}
TEST_F(HttpServerTest, TakesAStreamOfAnyLengthUpToItsRoutesLimit) {
  const std::string large(3 << 20, 'x');
  EXPECT_NE(talk(put("/count", "PUT", large)).find("3145728 bytes"), std::string::npos);
  EXPECT_NE(talk(put("/count", "PUT", "")).find("0 bytes"), std::string::npos);
  const std::string chunked =
      "PUT /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_NE(talk(chunked + "300000\r\n" + large + "\r\n2\r\nyy\r\n0\r\n\r\n").find("3145730 bytes"), std::string::npos);
  EXPECT_NE(talk(chunked + "900000\r\n" + std::string(9 << 20, 'x')).find("HTTP/1.1 413"), std::string::npos);
  EXPECT_EQ(how_it_ended(), Errc::kTooLarge);
  EXPECT_NE(talk(put("/count", "PUT", std::string(9 << 20, 'x'))).find("HTTP/1.1 413"), std::string::npos);
}
TEST_F(HttpServerTest, AStreamThatEndsOrStopsInTheMiddleIsAnError) {
  const std::string half = "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly a part";
  EXPECT_NE(talk(half, true).find("went away before the end"), std::string::npos);
  EXPECT_EQ(how_it_ended(), Errc::kUnavailable);
  EXPECT_EQ(talk(half), "");
  EXPECT_EQ(how_it_ended(), Errc::kDeadline);
}
TEST_F(HttpServerTest, AsksForAStreamOnlyWhenItIsTaken) {
  const std::string head = " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_EQ(talk("PUT /refuse" + head).find("HTTP/1.1 503"), 0U);
  const std::string taken = talk("PUT /count" + head + "ab", true);
  EXPECT_EQ(taken.find("HTTP/1.1 100 Continue"), 0U) << taken;
  EXPECT_NE(taken.find("2 bytes"), std::string::npos) << taken;
}

}  // namespace
}  // namespace outlast::http
