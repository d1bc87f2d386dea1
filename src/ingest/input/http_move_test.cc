// Connections that go from one HttpInput to the next, as in a restart.
#include <fcntl.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>

#include "ingest/input/http.h"
#include "ingest/input/test_http.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

std::string chunked(const std::string& body, std::size_t piece) {
  std::string out = "POST /c HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0; at < body.size(); at += piece) {
    char size[32];
    std::snprintf(size, sizeof size, "%zX;some=thing\r\n", std::min(piece, body.size() - at));
    out += size + body.substr(at, piece) + "\r\n";
  }
  return out + "0\r\nX-Behind: yes\r\n\r\n";
}

class HttpMoveTest : public testing::Test {
 protected:
  HttpMoveTest() : listener_(std::move(open_socket({"http", "127.0.0.1", 0}, false).value())) {
    options_.name = "test";
    options_.tag = "app.http";
    input_ = make();
    EXPECT_TRUE(input_->start().ok());
  }
  std::unique_ptr<HttpInput> make() {
    options_.socket = fcntl(listener_.get(), F_DUPFD_CLOEXEC, 0);
    return std::make_unique<HttpInput>(options_, intake_);
  }
  /// The next input goes on. `between` runs when it has what could move at once; how many that were is returned.
  std::size_t hand_over(const std::function<void()>& between = nullptr) {
    const auto old = std::exchange(input_, make());
    std::mutex mutex;
    bool started = false;
    std::vector<MovedConnection> waiting = old->release_connections([&](MovedConnection late) {
      const std::lock_guard lock(mutex);
      if (started) return input_->adopt(std::move(late));
      waiting_.push_back(std::move(late));
    });
    const std::size_t moved = waiting.size();
    {
      const std::lock_guard lock(mutex);
      EXPECT_TRUE(input_->start().ok());
      started = true;
      for (auto* some : {&waiting, &waiting_})
        for (MovedConnection& one : *some) input_->adopt(std::move(one));
      waiting_.clear();
    }
    if (between) between();
    old->stop();
    return moved;
  }
  std::uint16_t port() const { return bound_port(listener_.get()); }

  TestIntake intake_;
  InputOptions options_;
  const Fd listener_;
  std::unique_ptr<HttpInput> input_;
  std::vector<MovedConnection> waiting_;
};

TEST_F(HttpMoveTest, WhatIsUnderWayIsAnsweredFirst) {
  intake_.hold_acks(true);
  TestClient busy(SOCK_STREAM, port()), idle(SOCK_STREAM, port());
  std::string rest;
  busy.send(post("1") + post("2") + post("3").substr(0, 30));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  hand_over([&] {
    intake_.hold_acks(false);
    intake_.acknowledge({});
    const Reply reply = next_reply(busy, rest);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.headers.find("Connection: close"), std::string::npos) << reply.headers;
    EXPECT_EQ(next_reply(busy, rest).status, 200) << "it was pipelined, and moved along";
  });
  busy.send(post("3").substr(30));
  EXPECT_EQ(next_reply(busy, rest).status, 200);
  idle.send(post("4"));
  EXPECT_EQ(next_reply(idle, rest).status, 200);
  EXPECT_EQ(intake_.texts(), (Texts{"1", "2", "3", "4"}));
}

TEST_F(HttpMoveTest, WithoutASuccessorTheAnswerSaysThatItWasTheLast) {
  intake_.hold_acks(true);
  TestClient busy(SOCK_STREAM, port());
  busy.send(post("1"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  EXPECT_TRUE(input_->release_connections().empty());
  intake_.acknowledge({});
  std::string rest;
  const Reply reply = next_reply(busy, rest);
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.headers.find("Connection: close"), std::string::npos) << reply.headers;
  EXPECT_EQ(busy.receive(), "");
}

TEST_F(HttpMoveTest, ARequestThatIsCutAtAnyByteIsOneRequest) {
  const std::string body = "first line\nthe second\n" + std::string(40, 'x') + "\n";
  const std::string packed = gzip(body);
  for (const std::string& request :
       {post(body, "text/plain"), chunked(body, 17), chunked(body, 1000),
        post(packed, "text/plain", "Content-Encoding: gzip\r\nX-Twice: 1\r\nX-Twice: 2\r\n")}) {
    std::vector<std::unique_ptr<TestClient>> clients;
    for (std::size_t cut = 1; cut < request.size(); ++cut) {
      clients.push_back(std::make_unique<TestClient>(SOCK_STREAM, port()));
      clients.back()->send(request.substr(0, cut));
    }
    TestClient last(SOCK_STREAM, port());  // once it is answered, the others have been read
    std::string rest;
    last.send(post(""));
    ASSERT_EQ(next_reply(last, rest).status, 200);
    EXPECT_EQ(hand_over(), clients.size() + 1);
    EXPECT_EQ(hand_over(), clients.size() + 1) << "once more, with what the first one gave";
    const std::size_t before = intake_.count();
    for (std::size_t cut = 1; cut < request.size(); ++cut) {
      clients[cut - 1]->send(request.substr(cut));
      const Reply reply = next_reply(*clients[cut - 1], rest);
      EXPECT_EQ(reply.body, "{\"records\":3}\n") << request.substr(0, cut);
    }
    EXPECT_EQ(intake_.count(), before + 3 * clients.size());
  }
  std::set<std::string> lines;
  for (const std::string& line : intake_.texts()) lines.insert(line);
  EXPECT_EQ(lines, (std::set<std::string>{"first line", "the second", std::string(40, 'x')}));
}

TEST_F(HttpMoveTest, WhoWasToldToGoOnIsNotToldAgain) {
  TestClient client(SOCK_STREAM, port());
  std::string rest;
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  ASSERT_EQ(next_reply(client, rest).status, 100);
  client.send("[1");
  EXPECT_EQ(hand_over(), 1U);
  client.send("]");
  EXPECT_EQ(next_reply(client, rest).status, 200);
  EXPECT_EQ(intake_.texts(), Texts{"1"});
}

TEST_F(HttpMoveTest, ClientsThatPostWithoutPauseSeeNothingOfTwentyHandOvers) {
  constexpr int kClients = 4;
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  std::array<int, kClients> sent{};
  for (int number = 0; number < kClients; ++number)
    threads.emplace_back([&, number] {
      TestClient client(SOCK_STREAM, port());
      std::string rest;
      for (int& i = sent[static_cast<std::size_t>(number)]; !over; ++i) {
        const std::string body = std::to_string(number) + "." + std::to_string(i);
        const std::string request = number == 0   ? post(body, "text/plain")
                                    : number == 1 ? chunked(body, 2)
                                    : number == 2 ? post(gzip(body), "text/plain", "Content-Encoding: gzip\r\n")
                                                  : post(zstd(body), "text/plain", "Content-Encoding: zstd\r\n");
        client.send(request.substr(0, 40));
        client.send(request.substr(40));
        const Reply reply = next_reply(client, rest);
        ASSERT_EQ(reply.status, 200) << body << reply.headers;
      }
    });
  for (int i = 0; i < 20; ++i) {
    const std::size_t before = intake_.count();
    ASSERT_TRUE(intake_.wait_for(before + 20));
    hand_over();
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  std::map<std::string, int> times;
  for (const std::string& text : intake_.texts()) ++times[text];
  std::size_t all = 0;
  for (int number = 0; number < kClients; ++number)
    for (int i = 0; i < sent[static_cast<std::size_t>(number)]; ++i, ++all)
      EXPECT_EQ(times[std::to_string(number) + "." + std::to_string(i)], 1) << number << "." << i;
  EXPECT_EQ(times.size(), all);
}

}  // namespace
}  // namespace outlast::ingest
