#include "http/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
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
    server_.start(listener_);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~HttpServerTest() override {
    server_.stop();
    context_.stop();
    thread_.join();
  }
  std::string talk(const std::string& request) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string answer;
    char chunk[4096];
    for (ssize_t n = 0; (n = recv(fd, chunk, sizeof chunk, 0)) > 0;) answer.append(chunk, static_cast<std::size_t>(n));
    close(fd);
    return answer;
  }
  int listener_{-1};
  sockaddr_in address_{};
  asio::io_context context_;
  Server server_{context_.get_executor()};
  std::thread thread_;
};

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
TEST_F(HttpServerTest, ClosesOnGarbageAndOnOversizedHeads) {
  EXPECT_EQ(talk("\x16\x03\x01 not http\r\n\r\n").find("200"), std::string::npos);
  EXPECT_EQ(talk("GET /echo HTTP/1.1\r\nHost: a\r\nX: " + std::string(64 << 10, 'x') + "\r\n\r\n").find("200"),
            std::string::npos);
  EXPECT_NE(talk("HEAD /echo HTTP/1.0\r\n\r\n").find("200 OK"), std::string::npos);
}

}  // namespace
}  // namespace outlast::http
