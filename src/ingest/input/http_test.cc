#include "ingest/input/http.h"

#include <fcntl.h>

#include "ingest/input/body.h"
#include "ingest/input/test_http.h"
#include "ingest/input/unpack.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

// ---- bodies

std::vector<std::string> split(BodyFormat format, std::string_view body) {
  RecordBatch batch;
  const auto done = split_body(format, body, 100, 0, "peer", batch);
  if (!done.ok()) return {"error: " + done.error().message};
  std::vector<std::string> out;
  RawRecord record;
  for (auto reader = batch.read(); reader.next(record);) out.emplace_back(record.bytes);
  return out;
}
using Texts = std::vector<std::string>;

TEST(Body, Arrays) {
  EXPECT_EQ(split(BodyFormat::kJson, R"( [ {"a" : [1, "]"]} , 2,"x,\"y" ,null,[ ] ,-1.5e3 ] )"),
            (Texts{R"({"a" : [1, "]"]})", "2", R"("x,\"y")", "null", "[ ]", "-1.5e3"}));
  EXPECT_EQ(split(BodyFormat::kJson, "[]"), Texts{});
  EXPECT_EQ(split(BodyFormat::kJson, "[ \n]\n"), Texts{});
  EXPECT_EQ(split(BodyFormat::kJson, "{\"a\":1}\n{\"a\":2}"), (Texts{"{\"a\":1}", "{\"a\":2}"}));
  EXPECT_EQ(split(BodyFormat::kJson, ""), Texts{});
}

TEST(Body, TheBadRecordIsNamed) {
  for (const auto& [body, index] : std::vector<std::pair<std::string, int>>{{"[1,]", 1},
                                                                            {"[1 2]", 0},
                                                                            {"[1,2", 1},
                                                                            {"[", 0},
                                                                            {"[,1]", 0},
                                                                            {"[1,{\"a\":},3]", 1},
                                                                            {"[1,2,\"\xff\"]", 2},
                                                                            {"[1]x", 1},
                                                                            {"[1,2][3]", 2},
                                                                            {"[1,tru]", 1},
                                                                            {"{\"a\":1}\n\n{\"a\"", 1},
                                                                            {"1\n2\n3 4\n", 2},
                                                                            {"{}{}\n", 0}}) {
    const auto out = split(BodyFormat::kJson, body);
    ASSERT_EQ(out.size(), 1U) << body;
    EXPECT_TRUE(out[0].starts_with("error: record " + std::to_string(index) + " ")) << body << ": " << out[0];
  }
  EXPECT_NE(split(BodyFormat::kJson, "[" + std::string(1000, '[') + std::string(1000, ']') + "]")[0].find("error"),
            0U + 1);
  EXPECT_EQ(split(BodyFormat::kText, "ok\n" + std::string(101, 'x')),
            Texts{"error: record 1 is longer than message_size_max (100 B)"});
}

TEST(Body, TextAndRecords) {
  EXPECT_EQ(split(BodyFormat::kText, std::string_view("a b \n\r\nc\0d\r\n", 12)),
            (Texts{"a b ", std::string("c\0d", 3)}));
  RecordBatch batch, out;
  batch.append({7, "other:1", std::string_view("a\0\n", 3)});
  ASSERT_TRUE(split_body(BodyFormat::kRecords, batch.data(), 100, 0, "peer", out).ok());
  EXPECT_EQ(out.data(), batch.data());
  EXPECT_FALSE(split_body(BodyFormat::kRecords, batch.data().substr(1), 100, 0, "peer", out).ok());
  EXPECT_EQ(body_format("Application/JSON; charset=utf-8"), BodyFormat::kJson);
  EXPECT_EQ(body_format("image/png"), std::nullopt);
}

TEST(Unpack, PiecesLimitsAndRubbish) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i);
  for (const auto& [packing, packed] :
       std::vector<std::pair<Packing, std::string>>{{Packing::kGzip, gzip(text)}, {Packing::kZstd, zstd(text)}}) {
    EXPECT_EQ(*unpack(packing, packed, text.size()), text);
    EXPECT_EQ(*unpack(packing, packed + packed, 2 * text.size()), text + text);
    EXPECT_EQ(unpack(packing, packed, text.size() - 1).error().code, Errc::kTooLarge);
    EXPECT_EQ(unpack(packing, packed.substr(0, packed.size() / 2), text.size()).error().code, Errc::kInvalidArgument);
    EXPECT_EQ(unpack(packing, packed.substr(0, packed.size() - 1), text.size()).error().code, Errc::kInvalidArgument);
    EXPECT_EQ(unpack(packing, "rubbish", 100).error().code, Errc::kInvalidArgument);
    EXPECT_EQ(unpack(packing, "", 100).error().code, Errc::kInvalidArgument);
  }
  const std::string bomb = gzip(std::string(200 << 20, '\0'));
  EXPECT_LT(bomb.size(), 300U << 10);
  EXPECT_EQ(unpack(Packing::kGzip, bomb, 1 << 20).error().code, Errc::kTooLarge);
}

// ---- the input

TEST_F(HttpInputTest, Bodies) {
  start();
  EXPECT_EQ(ask(post("{\"a\":1}\n{\"a\":2}\n")).body, "{\"records\":2}\n");
  EXPECT_EQ(ask(post("[{\"a\":3},4]", "application/json")).status, 200);
  EXPECT_EQ(ask(post(gzip("{\"a\":5}"), "application/x-ndjson", "Content-Encoding: gzip\r\n")).status, 200);
  EXPECT_EQ(ask(post(zstd("{\"a\":6}"), "application/x-ndjson", "Content-Encoding: zstd\r\n")).status, 200);
  EXPECT_EQ(ask(post("plain text", "text/plain")).status, 200);
  EXPECT_EQ(ask(post("")).body, "{\"records\":0}\n");
  EXPECT_EQ(intake_.texts(),
            (Texts{"{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "4", "{\"a\":5}", "{\"a\":6}", "plain text"}));
  EXPECT_TRUE(intake_.kept()[0].peer.starts_with("127.0.0.1:"));
  EXPECT_EQ(input_->stop().records, 7U);
}

TEST_F(HttpInputTest, WhatIsRefused) {
  options_.message_size_max = 1000;
  start();
  const Reply bad = ask(post("{\"a\":1}\n{\"a\":\n"));
  EXPECT_EQ(bad.status, 400);
  EXPECT_NE(bad.body.find("record 1 is not JSON"), std::string::npos) << bad.body;
  EXPECT_EQ(ask(post("1\n" + std::string(1001, '1'))).status, 413);
  EXPECT_EQ(ask(post("{}", "image/png")).status, 415);
  EXPECT_EQ(ask(post("{}", "application/json", "Content-Encoding: br\r\n")).status, 415);
  EXPECT_EQ(ask(post("{}", "application/json", "Content-Encoding: gzip\r\n")).status, 400);
  EXPECT_EQ(ask(post(std::string((1 << 20) + 1, ' '))).status, 413);
  EXPECT_EQ(ask(post(gzip(std::string(50 << 20, ' ')), "application/json", "Content-Encoding: gzip\r\n")).status, 413);
  EXPECT_EQ(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
  EXPECT_EQ(ask("rubbish\r\n\r\n").status, 400);
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n").status, 431);
  EXPECT_EQ(intake_.count(), 0U);
  EXPECT_EQ(ask(post("{}")).status, 200);
}

TEST_F(HttpInputTest, KeepAliveAndPipelining) {
  start();
  TestClient client(SOCK_STREAM, input_->port());
  std::string all, rest;
  for (int i = 0; i < 50; ++i) all += post(std::to_string(i));
  client.send(all);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(next_reply(client, rest).status, 200);
  client.send(post("50", "application/json", "Connection: close\r\n"));
  EXPECT_EQ(next_reply(client, rest).status, 200);
  EXPECT_EQ(client.receive(), "");
  for (int i = 0; i <= 50; ++i) EXPECT_EQ(intake_.texts()[static_cast<std::size_t>(i)], std::to_string(i));
  EXPECT_EQ(input_->counters().connections_taken, 1U);
}

TEST_F(HttpInputTest, ChunkedAndExpect) {
  start();
  EXPECT_EQ(
      ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n").status,
      200);
  TestClient client(SOCK_STREAM, input_->port());
  std::string rest;
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(next_reply(client, rest).status, 100);
  client.send("[3]");
  EXPECT_EQ(next_reply(client, rest).status, 200);
  EXPECT_EQ(intake_.texts(), (Texts{"1", "2", "3"}));
}

TEST_F(HttpInputTest, TheAnswerWaitsForTheAck) {
  intake_.hold_acks(true);
  start();
  TestClient good(SOCK_STREAM, input_->port()), bad(SOCK_STREAM, input_->port());
  std::string rest;
  good.send(post("1"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  char byte;
  EXPECT_EQ(recv(good.fd(), &byte, 1, MSG_DONTWAIT), -1);
  intake_.acknowledge({});
  EXPECT_EQ(next_reply(good, rest).status, 200);
  bad.send(post("2"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  intake_.acknowledge(Error(Errc::kDiskFull, "the disk is full"));
  const Reply reply = next_reply(bad, rest);
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.body.find("the disk is full"), std::string::npos);
  EXPECT_EQ(input_->counters().unconfirmed, 1U);
}

TEST_F(HttpInputTest, AnAckThatNeverComes) {
  intake_.hold_acks(true);
  options_.ack_wait = 50ms;
  start();
  EXPECT_EQ(ask(post("1")).status, 503);
  input_.reset();
  intake_.acknowledge({});  // late, to nobody
}

TEST_F(HttpInputTest, RoomOrTooManyRequests) {
  intake_.say(Intake::Taken::kRefused);
  options_.room_wait = 50ms;
  start();
  const Reply refused = ask(post("1"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(refused.headers.find("Retry-After: 1"), std::string::npos);
  intake_.say(Intake::Taken::kWait);
  EXPECT_EQ(ask(post("1\n2")).status, 429);
  EXPECT_EQ(input_->counters().refused, 3U);
  options_.room_wait = 20s;
  start();
  TestClient client(SOCK_STREAM, input_->port());
  std::string rest;
  client.send(post("3"));
  ASSERT_TRUE(intake_.wait_until_held());
  intake_.say(Intake::Taken::kYes);
  EXPECT_EQ(next_reply(client, rest).status, 200);
}

TEST_F(HttpInputTest, OverTheRateIsTooMany) {
  options_.rate_max = 0.5;
  start();
  EXPECT_EQ(ask(post("1\n2\n3")).status, 200);
  const Reply reply = ask(post("4"));
  EXPECT_EQ(reply.status, 429);
  EXPECT_NE(reply.headers.find("Retry-After: "), std::string::npos);
  EXPECT_EQ(input_->counters().limited, 1U);
}

TEST_F(HttpInputTest, StopAnswersWhatIsUnderWay) {
  intake_.hold_acks(true);
  start();
  TestClient busy(SOCK_STREAM, input_->port()), idle(SOCK_STREAM, input_->port());
  busy.send(post("1"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  std::thread stopping([&] { EXPECT_EQ(input_->stop().records, 1U); });
  EXPECT_EQ(idle.receive(), "");  // stop() has begun
  intake_.acknowledge({});
  std::string rest;
  const Reply reply = next_reply(busy, rest);
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.headers.find("Connection: close"), std::string::npos) << reply.headers;
  stopping.join();
}

TEST_F(HttpInputTest, StopDoesNotWaitForEver) {
  intake_.hold_acks(true);
  options_.stop_wait = 50ms;
  start();
  TestClient busy(SOCK_STREAM, input_->port()), half(SOCK_STREAM, input_->port());
  half.send("POST / HT");
  busy.send(post("1"));
  ASSERT_TRUE(intake_.wait_for_acks(1));
  input_->stop();
  std::string rest;
  for (TestClient* client : {&busy, &half}) {
    const Reply reply = next_reply(*client, rest);
    EXPECT_EQ(reply.status, 503);
    EXPECT_NE(reply.headers.find("Connection: close"), std::string::npos) << reply.headers;
    EXPECT_EQ(client->receive(), "");
  }
}

TEST_F(HttpInputTest, IdleConnectionsMove) {
  const Fd listener = std::move(open_socket({"http", "127.0.0.1", 0}, false).value());
  options_.socket = fcntl(listener.get(), F_DUPFD_CLOEXEC, 0);
  start();
  TestClient client(SOCK_STREAM, input_->port());
  std::string rest;
  for (int i = 0; i < 20; ++i) {
    client.send(post(std::to_string(i)));
    ASSERT_EQ(next_reply(client, rest).status, 200);
    auto moved = input_->release_connections();
    ASSERT_EQ(moved.size(), 1U);
    EXPECT_EQ(input_->stop().records, 1U);
    options_.socket = fcntl(listener.get(), F_DUPFD_CLOEXEC, 0);
    start();
    for (auto& connection : moved) input_->adopt(std::move(connection));
  }
  EXPECT_EQ(intake_.count(), 20U);
}

}  // namespace
}  // namespace outlast::ingest
