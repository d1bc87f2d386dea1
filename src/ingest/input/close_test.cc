// Inputs that close while senders send, and open again.
#include <fcntl.h>

#include <thread>

#include "ingest/input/http.h"
#include "ingest/input/tcp.h"
#include "ingest/input/test_http.h"
#include "ingest/input/udp.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
using Texts = std::vector<std::string>;
using Taken = Intake::Taken;

InputOptions options(const std::string& scheme) {
  InputOptions out;
  out.name = "test";
  out.tag = "app";
  out.listen = {scheme, "127.0.0.1", 0};
  out.close_wait = 30s;
  return out;
}

bool closes(const Input& input) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!input.is_closed() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return input.is_closed();
}

/// What the kernel says to a connection attempt; 0: somebody listens.
int connection_error(std::uint16_t port) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

/// A datagram, and what the kernel has heard of those before it.
int send_datagram(const TestClient& client, std::string_view bytes) {
  return send(client.fd(), bytes.data(), bytes.size(), 0) < 0 ? errno : 0;
}

TEST(Closing, UdpReadsWhatTheKernelHoldsAndSendersHearOfIt) {
  for (const char* host : {"127.0.0.1", "0.0.0.0", "::"}) {
    TestIntake intake;
    intake.say(Taken::kWait);
    InputOptions o = options("udp");
    o.listen.host = host;
    UdpInput input(o, intake);
    ASSERT_TRUE(input.start().ok()) << host;
    const std::uint16_t port = input.port();
    TestClient client(SOCK_DGRAM, port);
    client.send("first");
    ASSERT_TRUE(intake.wait_until_held());
    for (int i = 0; i < 500; ++i) client.send("n=" + std::to_string(i));
    input.close();
    input.close();
    int told = 0;
    for (int i = 0; told == 0 && i < 10'000; ++i) {
      told = send_datagram(client, "late");
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(told, ECONNREFUSED) << host << ": refused at once, though there is no room";
    EXPECT_FALSE(input.is_closed());
    intake.say(Taken::kYes);
    ASSERT_TRUE(closes(input)) << host;
    Texts texts = intake.texts();
    std::erase(texts, "late");
    ASSERT_EQ(texts.size(), 501U) << host;
    EXPECT_EQ(texts.back(), "n=499");

    input.reopen();
    EXPECT_FALSE(input.is_closed());
    EXPECT_EQ(input.port(), port);
    const std::size_t before = intake.count();
    for (int i = 0; intake.count() == before && i < 10'000; ++i) {
      (void)send_datagram(client, "again");
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(intake.texts().back(), "again") << host;
    EXPECT_TRUE(input.stop().held.empty());
  }
}

TEST(Closing, UdpCanBeStoppedWhileThereIsNoRoom) {
  TestIntake intake;
  intake.say(Taken::kWait);
  UdpInput input(options("udp"), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("held");
  ASSERT_TRUE(intake.wait_until_held());
  input.close();
  EXPECT_EQ(input.stop().held.records(), 1U);
}

TEST(Closing, TcpTellsItsConnectionsAndReadsUntilTheyEnd) {
  TestIntake intake;
  TcpInput input(options("tcp"), intake);
  ASSERT_TRUE(input.start().ok());
  const std::uint16_t port = input.port();
  TestClient client(SOCK_STREAM, port), fresh(SOCK_STREAM, port);
  client.send("one\n");
  ASSERT_TRUE(intake.wait_for(1));
  fresh.send("just connected\n");
  input.close();
  EXPECT_EQ(client.receive(), "") << "told";
  EXPECT_EQ(connection_error(port), ECONNREFUSED);
  client.send("two\nno end");
  EXPECT_FALSE(input.is_closed()) << "it may say what it has";
  client.end();
  EXPECT_EQ(fresh.receive(), "");
  fresh.end();
  ASSERT_TRUE(closes(input));
  EXPECT_EQ(intake.by_peer().at(client.name()), (Texts{"one", "two", "no end"}));
  EXPECT_EQ(intake.by_peer().at(fresh.name()), Texts{"just connected"});

  input.reopen();
  for (int i = 0; connection_error(port) != 0 && i < 10'000; ++i) std::this_thread::sleep_for(1ms);
  TestClient next(SOCK_STREAM, port);
  next.send("three\n");
  EXPECT_TRUE(intake.wait_for(5));
  EXPECT_EQ(input.stop().records, 5U);
}

TEST(Closing, TcpWaitsForRoomNotForSendersThatDoNotLook) {
  TestIntake intake;
  InputOptions o = options("tcp");
  o.close_wait = 20ms;
  TcpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_STREAM, input.port());
  client.send("one\n");
  ASSERT_TRUE(intake.wait_for(1));
  intake.say(Taken::kWait);
  client.send("two\n");
  ASSERT_TRUE(intake.wait_until_held());
  client.send("three\n");
  input.close();
  EXPECT_EQ(client.receive(), "");
  std::this_thread::sleep_for(60ms);  // longer than close_wait
  EXPECT_FALSE(input.is_closed());
  intake.say(Taken::kYes);
  ASSERT_TRUE(closes(input)) << "it never ends its direction, and is cut off";
  EXPECT_EQ(intake.texts(), (Texts{"one", "two", "three"}));
}

TEST(Closing, AnInputMayBeginClosedAndTakeConnectionsOfItsPredecessor) {
  TestIntake intake;
  const Fd socket = std::move(open_socket({"tcp", "127.0.0.1", 0}, false).value());
  InputOptions o = options("tcp");
  o.socket = fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
  TcpInput before(o, intake);
  ASSERT_TRUE(before.start().ok());
  TestClient client(SOCK_STREAM, before.port());
  client.send("one\ntw");
  ASSERT_TRUE(intake.wait_for(1));
  before.close();
  EXPECT_EQ(client.receive(), "");
  std::vector<MovedConnection> moved = before.release_connections();
  ASSERT_EQ(moved.size(), 1U);
  before.stop();

  o.socket = fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
  o.closed = true;
  TcpInput after(o, intake);
  ASSERT_TRUE(after.start().ok());
  EXPECT_EQ(connection_error(bound_port(socket.get())), ECONNREFUSED);
  after.adopt(std::move(moved.front()));
  client.send("o\n");
  client.end();
  ASSERT_TRUE(intake.wait_for(2));
  EXPECT_TRUE(closes(after));
  EXPECT_EQ(intake.texts(), (Texts{"one", "two"}));
  after.stop();
  // A process that knows nothing of it opens the socket again.
  o.socket = fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
  o.closed = false;
  TcpInput next(o, intake);
  ASSERT_TRUE(next.start().ok());
  EXPECT_EQ(connection_error(bound_port(socket.get())), 0);
}

class ClosingHttp : public HttpInputTest {};

TEST_F(ClosingHttp, AnswersWhatIsUnderWayAndOneRequestMore) {
  options_.ack = Ack::kStored;
  intake_.hold_acks(true);
  start();
  const std::uint16_t port = input_->port();
  TestClient waiting(SOCK_STREAM, port), idle(SOCK_STREAM, port);
  std::string rest, idle_rest;
  idle.send(post("{\"n\":0}"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  intake_.acknowledge({});
  EXPECT_EQ(next_reply(idle, idle_rest).status, 200);
  waiting.send(post("{\"n\":1}"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  input_->close();
  for (int i = 0; connection_error(port) == 0 && i < 10'000; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(connection_error(port), ECONNREFUSED);
  idle.send(post("{\"n\":2}"));
  ASSERT_TRUE(intake_.wait_for_acks(2));
  EXPECT_FALSE(input_->is_closed());
  intake_.acknowledge({});
  for (auto& [client, left] : {std::pair(&waiting, &rest), std::pair(&idle, &idle_rest)}) {
    const Reply reply = next_reply(*client, *left);
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.headers.find("Connection: close"), std::string::npos) << reply.headers;
    EXPECT_EQ(client->receive(), "");
  }
  EXPECT_TRUE(closes(*input_));

  intake_.hold_acks(false);
  input_->reopen();
  for (int i = 0; connection_error(port) != 0 && i < 10'000; ++i) std::this_thread::sleep_for(1ms);
  const Reply again = ask(post("{\"n\":3}"));
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.headers.find("Connection: close"), std::string::npos);
  EXPECT_EQ(input_->stop().records, 4U);
}

}  // namespace
}  // namespace outlast::ingest
