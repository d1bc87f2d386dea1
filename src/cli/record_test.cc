// Numbered records: what senders do, and how they are found again.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "cli/demo/records.h"
#include "cli/record_check.h"
#include "cli/record_http.h"
#include "cli/record_report.h"
#include "cli/record_senders.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

RecordCheck check_of(const std::vector<RecordId>& stored) {
  RecordCheck check;
  for (const RecordId& id : stored) check.saw(framed(RecordKind::kTcp, id));
  return check;
}

TEST(Record, IsFoundInWhateverItWasFramedAs) {
  for (const RecordKind kind : kRecordKinds)
    EXPECT_EQ(find_record(framed(kind, {12, 345})), (RecordId{12, 345})) << to_string(kind);
  const std::string syslog = framed(RecordKind::kSyslogTcp, {1, 2});
  EXPECT_EQ(syslog, std::to_string(syslog.size() - 3) + " " + framed(RecordKind::kSyslogUdp, {1, 2}));
}

TEST(Record, HalfOfOneIsNone) {
  for (const char* text : {"", "record=", "record=1", "record=1/", "record=1/2", "record=x/2;", "record=1/x;",
                           "record=-1/2;", "record=1/99999999999999999999;", "1/2;"})
    EXPECT_FALSE(find_record(text)) << text;
}

TEST(RecordCheck, CountsWhatIsLostDoubledAndOutOfOrderForEachSender) {
  const RecordCheck check = check_of({{0, 0}, {1, 0}, {0, 1}, {0, 3}, {1, 1}, {0, 2}, {0, 3}, {0, 5}});
  const StoredRecords first = check.of(0, {.sent = 7});
  EXPECT_EQ(first.lost, 2U) << "4 and 6";
  EXPECT_EQ(first.order_breaks, 1U) << "2 behind 3";
  EXPECT_EQ(first.duplicated, 1U) << "3, whose second copy breaks no order";
  EXPECT_EQ(first.unreadable, 0U);
  EXPECT_FALSE(check.complete(0, {.sent = 7}));
  EXPECT_TRUE(check.complete(1, {.sent = 2}));
  EXPECT_EQ(check.of(1, {.sent = 2}).order_breaks, 0U) << "two senders may come in any order";
  EXPECT_EQ(check.of(2, {.sent = 9}).lost, 9U);
  EXPECT_EQ(check.seen(), 8U);
}

TEST(RecordCheck, KnowsWhatNobodySent) {
  RecordCheck check = check_of({{0, 0}, {0, 1}, {0, 2}});
  for (const char* text : {"", "half a rec", "record=0/99999999999;"}) check.saw(text);
  EXPECT_EQ(check.unreadable(), 3U);
  EXPECT_EQ(check.of(0, {.sent = 1}).unreadable, 2U);
  EXPECT_EQ(check.of(0, {.sent = 1, .begun = 3}).unreadable, 0U) << "a request without an answer may have been stored";
}

TEST(RecordsDue, KeepsThePaceFromTheBeginning) {
  EXPECT_EQ(records_due(0s, 100), 0U);
  EXPECT_EQ(records_due(20ms, 100), 2U);
  EXPECT_EQ(records_due(90s, 100), 9000U);
  EXPECT_EQ(records_due(29ms, 0.5), 0U);
}

TEST(PostAnswer, IsReadOnlyWhenItIsWhole) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n";
  EXPECT_FALSE(read_post_answer(""));
  EXPECT_FALSE(read_post_answer(head));
  EXPECT_FALSE(read_post_answer(head + "\r\n{"));
  const auto whole = read_post_answer(head + "\r\n{}");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->status, 200);
  EXPECT_FALSE(whole->close);
  EXPECT_TRUE(read_post_answer(head + "Connection: close\r\n\r\n{}")->close);
  EXPECT_EQ(read_post_answer("SSH-2.0\r\n\r\n")->status, 0);
}

TEST(DropsOfSocket, AreThoseOfItsAddressAndPort) {
  const std::string table =
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
      "drops\n"
      "  101: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5 2 "
      "0000000000000000 3\n"
      "  102: 0200007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6 2 "
      "0000000000000000 44\n";
  EXPECT_EQ(drops_of_socket(table, "127.0.0.1", 8080), 3U);
  EXPECT_EQ(drops_of_socket(table, "127.0.0.2", 8080), 44U);
  EXPECT_FALSE(drops_of_socket(table, "127.0.0.1", 8081));
}

/// A server of one socket on loopback, as far as a test wants it to go.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    ::bind(fd_, reinterpret_cast<sockaddr*>(&at), size);
    ::listen(fd_, 8);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
  }
  ~Listener() {
    drop();
    ::close(fd_);
  }
  SenderPlan plan(RecordKind kind) const { return {.kind = kind, .id = 7, .host = "127.0.0.1", .port = port_}; }
  void take() { connection_ = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }
  /// What has come, or comes until there is `enough`.
  std::string read(const std::string& enough = "") const {
    std::string all;
    char buffer[4096];
    do {
      const auto n = ::recv(connection_, buffer, sizeof buffer, enough.empty() ? MSG_DONTWAIT : 0);
      if (n <= 0) break;
      all.append(buffer, static_cast<std::size_t>(n));
    } while (enough.empty() || !all.contains(enough));
    return all;
  }
  void answer(const std::string& text) const { ::send(connection_, text.data(), text.size(), MSG_NOSIGNAL); }
  void drop() {
    if (connection_ >= 0) ::close(std::exchange(connection_, -1));
  }

 private:
  int fd_, connection_{-1};
  std::uint16_t port_{0};
};

std::string records_of(RecordKind kind, std::uint64_t from, std::uint64_t to) {
  std::string all;
  for (; from < to; ++from) all += framed(kind, {7, from});
  return all;
}

TEST(StreamSender, SendsPiecesThatEndInTheMiddleOfARecord) {
  for (const RecordKind kind : {RecordKind::kTcp, RecordKind::kSyslogTcp}) {
    Listener server;
    const auto sender = RecordSender::make(server.plan(kind));
    std::string come;
    for (std::uint64_t due = 3; due <= 30; due += 3) {
      sender->send_until(due);
      if (due == 3) server.take();
      come += server.read();
      EXPECT_EQ(sender->counts().sent, due - 1);
      EXPECT_GT(come.size(), records_of(kind, 0, due - 1).size());
      EXPECT_LT(come.size(), records_of(kind, 0, due).size());
    }
    sender->finish(31, Steady::now() + 10s);
    EXPECT_EQ(come + server.read(), records_of(kind, 0, 31));
    EXPECT_EQ(sender->counts().sent, 31U);
    EXPECT_EQ(sender->counts().resets + sender->counts().send_errors, 0U);
  }
}

TEST(StreamSender, SendsTheHalfRecordOfALostConnectionAgainAsAWhole) {
  Listener server;
  const auto sender = RecordSender::make(server.plan(RecordKind::kTcp));
  sender->send_until(5);
  server.take();
  server.drop();
  sender->finish(8, Steady::now() + 10s);
  server.take();
  EXPECT_EQ(server.read(), records_of(RecordKind::kTcp, 4, 8)) << "0 to 3 were given to the kernel";
  EXPECT_EQ(sender->counts().resets, 1U);
  EXPECT_EQ(sender->counts().sent, 8U);
}

TEST(HttpSender, SendsARequestAgainOnlyWhenNoAnswerCame) {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const auto line = [](std::uint64_t number) { return framed(RecordKind::kHttp, {7, number}); };
  Listener server;
  const auto sender = RecordSender::make(server.plan(RecordKind::kHttp));
  {
    std::jthread client([&] { sender->send_until(10); });
    server.take();
    EXPECT_TRUE(server.read(line(9)).contains(line(0)));
    server.drop();
  }
  EXPECT_EQ(sender->counts().sent, 0U);
  EXPECT_EQ(sender->counts().resets, 1U);
  {
    std::jthread client([&] { sender->send_until(21); });
    server.take();
    EXPECT_TRUE(server.read(line(20)).contains(line(0)));
    server.answer(ok);
  }
  {
    std::jthread client([&] { sender->send_until(22); });
    EXPECT_FALSE(server.read(line(21)).contains(line(20))) << "over the same connection, and answered before";
    server.answer(ok);
  }
  EXPECT_EQ(sender->counts().sent, 22U);
  EXPECT_EQ(sender->counts().retried, 10U);
  EXPECT_EQ(sender->counts().resets, 1U);
}

}  // namespace
}  // namespace outlast::cli
