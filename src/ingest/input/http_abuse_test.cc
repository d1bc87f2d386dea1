// What an HttpInput makes of clients that are slow, broken or hostile: it tells them, forgets them, and serves the
// others.
#include <poll.h>
#include <sys/resource.h>

#include <tuple>

#include "ingest/input/body.h"
#include "ingest/input/http.h"
#include "ingest/input/test_http.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

class HttpAbuseTest : public HttpInputTest {
 protected:
  int status_of(const std::string& request) { return ask(request).status; }
  void expect_served() { EXPECT_EQ(status_of(post("{}")), 200); }
};

std::string head(const std::string& lines) {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n";
}

TEST_F(HttpAbuseTest, AHeaderThatComesAByteAtATimeIsCutOff) {
  options_.request_time_max = 300ms;
  start();
  TestClient slow(SOCK_STREAM, input_->port());
  const std::string request = post("1");
  std::size_t sent = 0;
  pollfd answer{slow.fd(), POLLIN, 0};
  while (poll(&answer, 1, 20) == 0 && sent < 60) slow.send(request.substr(sent++, 1));
  EXPECT_LT(sent, 60U);
  EXPECT_EQ(slow.receive(), "");
  EXPECT_EQ(input_->counters().connections_timed_out, 1U);
  expect_served();
}

TEST_F(HttpAbuseTest, AConnectionThatSaysNothingIsClosed) {
  options_.keep_alive_max = 50ms;
  start();
  TestClient silent(SOCK_STREAM, input_->port());
  EXPECT_EQ(silent.receive(), "");
  expect_served();
}

TEST_F(HttpAbuseTest, ChunksThatAreNone) {
  start();
  const std::string chunked = head("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(status_of(chunked + "rubbish\r\n"), 400);
  EXPECT_EQ(status_of(chunked + "-1\r\n"), 400);
  EXPECT_EQ(status_of(chunked + "3\r\n[1,2,3]\r\n"), 400) << "more than was said";
  EXPECT_EQ(status_of(chunked + "ffffffffffffffffff\r\n"), 400);
  EXPECT_EQ(status_of(chunked + "7fffffffffffffff\r\n"), 413);
  EXPECT_EQ(status_of(chunked + "3\r\n[1]\r\nfffff\r\n"), 413) << "too large together";
  EXPECT_EQ(status_of(chunked + "3;" + std::string(40'000, 'x')), 431);
  EXPECT_EQ(status_of(chunked + "3\r\n[1]\r\n0\r\nX: " + std::string(40'000, 'x')), 431);
  EXPECT_EQ(intake_.count(), 0U);
  expect_served();
}

TEST_F(HttpAbuseTest, HeadsThatLie) {
  start();
  EXPECT_EQ(status_of(head("Content-Length: 99999999999\r\n")), 413) << "before a byte of it has come";
  EXPECT_EQ(status_of(head("Content-Length: -1\r\n")), 400);
  EXPECT_EQ(status_of(head("Content-Length: 99999999999999999999999\r\n")), 400);
  EXPECT_EQ(status_of(head("Content-Length: 2\r\nContent-Length: 3\r\n") + "[1]"), 400);
  EXPECT_EQ(status_of(head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "3\r\n[1]\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15)), 400) << "TLS";
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "X-" + std::to_string(i) + ": 1\r\n";
  EXPECT_EQ(status_of(head(many)), 431);
  EXPECT_EQ(status_of("POST /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n"), 431);
  EXPECT_EQ(intake_.count(), 0U);
  expect_served();
}

TEST_F(HttpAbuseTest, BombsAndTornPacks) {
  start();
  const std::string zeros(100 << 20, '0');
  std::string numbers;
  for (int i = 0; i < 1000; ++i) numbers += std::to_string(i) + "\n";
  for (const auto& [name, bomb, whole] :
       {std::tuple("gzip", gzip(zeros), gzip(numbers)), std::tuple("zstd", zstd(zeros), zstd(numbers))}) {
    const std::string encoding = std::string("Content-Encoding: ") + name + "\r\n";
    EXPECT_LT(bomb.size(), options_.body_max);
    EXPECT_EQ(status_of(post(bomb, "text/plain", encoding)), 413) << name;
    EXPECT_EQ(status_of(post(whole.substr(0, whole.size() - 1), "text/plain", encoding)), 400) << name;
    EXPECT_EQ(status_of(post(whole.substr(0, whole.size() / 2), "text/plain", encoding)), 400) << name;
    EXPECT_EQ(status_of(post(whole + "x", "text/plain", encoding)), 400) << name;
    EXPECT_EQ(intake_.count(), 0U);
  }
  EXPECT_EQ(input_->counters().malformed, 8U);
  expect_served();
}

TEST_F(HttpAbuseTest, ClientsThatLeaveInTheMiddle) {
  start();
  const std::string request = post("[1,2,3]", "application/json");
  for (const std::size_t cut : {std::size_t{1}, std::size_t{20}, request.size() - 1}) {
    TestClient polite(SOCK_STREAM, input_->port());
    polite.send(request.substr(0, cut));
    polite.end();
    EXPECT_EQ(polite.receive(), "") << cut;
    TestClient rude(SOCK_STREAM, input_->port());
    rude.send(request.substr(0, cut));
    const linger reset{1, 0};
    setsockopt(rude.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    rude.close();
  }
  EXPECT_EQ(intake_.count(), 0U);
  TestClient half_open(SOCK_STREAM, input_->port());
  half_open.send(request);
  half_open.end();
  std::string rest;
  EXPECT_EQ(next_reply(half_open, rest).status, 200) << "who only listens is answered";
  EXPECT_EQ(half_open.receive(), "");
}

TEST_F(HttpAbuseTest, AThousandSilentConnectionsAndAnyNumberTooMany) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  constexpr std::size_t kSilent = 1000;
  options_.connections_max = kSilent + 1;
  start();
  std::vector<std::unique_ptr<TestClient>> silent;
  for (std::size_t i = 0; i < kSilent; ++i) silent.push_back(std::make_unique<TestClient>(SOCK_STREAM, input_->port()));
  TestClient busy(SOCK_STREAM, input_->port());
  std::string rest;
  for (int i = 0; i < 100; ++i) {
    busy.send(post("1"));
    ASSERT_EQ(next_reply(busy, rest).status, 200);
  }
  TestClient refused(SOCK_STREAM, input_->port());
  EXPECT_EQ(refused.receive(), "");
  EXPECT_EQ(input_->counters().connections_refused, 1U);
  for (const auto& one : silent) {
    one->send(post("2"));
    ASSERT_EQ(next_reply(*one, rest).status, 200);
  }
}

TEST_F(HttpAbuseTest, IdsAndTagsThatAreNone) {
  start();
  const std::string id = "Outlast-Chunk-Id: 00000000000000a7-0000000000000001\r\n";
  EXPECT_EQ(status_of(post("{}", "application/json", id)), 200);
  for (const std::string& wrong : {std::string(""), std::string("1-1"), std::string("00000000000000a7"),
                                   std::string("0x000000000000a7-0000000000000001"),
                                   std::string("00000000000000a7-0000000000000001x"), std::string(8'000, '0')})
    EXPECT_EQ(status_of(post("{}", "application/json", "Outlast-Chunk-Id: " + wrong + "\r\n")), 400) << wrong;
  EXPECT_EQ(status_of(post("{}", "application/json", id + id)), 400);
  RecordBatch batch;
  batch.append({7, "web1", "{\"a\":1}"});
  const std::string forwarded(kRecordsType);
  EXPECT_EQ(status_of(post(batch.data(), forwarded, id + "Outlast-Tag: app.web\r\n")), 200);
  EXPECT_EQ(status_of(post("{}", "application/json", id + "Outlast-Tag: app.web\r\n")), 200);
  for (const std::string& wrong :
       {std::string(""), std::string("a..b"), std::string("a b"), std::string("*"), std::string(300, 'a')})
    EXPECT_EQ(status_of(post(batch.data(), forwarded, id + "Outlast-Tag: " + wrong + "\r\n")), 400) << wrong;
  const auto named = intake_.named();
  ASSERT_EQ(named.size(), 3U);
  EXPECT_EQ(named[0].id, (ChunkId{0xa7, 1}));
  EXPECT_EQ(named[0].tag, "app.http");
  EXPECT_EQ(named[0].form, RecordForm::kAsCame);
  EXPECT_EQ(named[1].tag, "app.web");
  EXPECT_EQ(named[1].form, RecordForm::kParsed);
  EXPECT_EQ(named[2].tag, "app.http") << "only another Outlast's records have a tag of their own";
}

}  // namespace
}  // namespace outlast::ingest
