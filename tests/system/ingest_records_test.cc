// What no sender should send, and RFC 5424's own examples, from the socket to a SELECT: nothing is dropped silently.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "support/http_sender.h"
#include "support/ingest_nodes.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::ElementsAre;
using testing_support::connect_to;
using Rows = std::vector<std::vector<std::string>>;

/// A connection that sends what it is told.
class Connection {
 public:
  explicit Connection(int port, const std::string& host = "127.0.0.1") : fd_(connect_to(port, host)) {}
  Connection(Connection&& from) noexcept : fd_(std::exchange(from.fd_, -1)) {}
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }
  void say(const std::string& bytes) const {
    ASSERT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

 private:
  int fd_;
};

class IngestRecords : public testing_support::IngestNodes {
 protected:
  void start() {
    const std::string size = "message_size_max = \"1KiB\"";
    start_with(input("syslog", "udp", "udp://127.0.0.1", size) + input("syslog", "tcp", "tcp://127.0.0.1", size) +
               input("syslog", "counted", "tcp://127.0.0.2", "framing = \"octet-counted\"\n" + size) +
               input("tcp", "lines", "tcp://127.0.0.3", size) +
               input("tcp", "json", "tcp://127.0.0.4", "parser = \"json\"\n" + size) + table_sink());
    auto client = connect(0);
    must(client, "CREATE TABLE logs (id bigserial, time timestamptz, host text, tag text, fields json, error text)");
  }
  Connection connection(const std::string& input) {
    const std::map<std::string, std::string> hosts = {
        {"tcp", "127.0.0.1"}, {"counted", "127.0.0.2"}, {"lines", "127.0.0.3"}, {"json", "127.0.0.4"}};
    return Connection(port(input), hosts.at(input));
  }
  void datagram(const std::string& bytes) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port("udp")));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
              static_cast<ssize_t>(bytes.size()));
    close(fd);
  }
  /// These columns of an input's records, as soon as there are so many.
  Rows select(const std::string& columns, const std::string& input, std::size_t count) {
    Rows rows;
    wait(std::to_string(count) + " records of " + input, [&] {
      rows.clear();
      const std::string query = "SELECT " + columns + " FROM logs WHERE tag = '" + input + "' ORDER BY id";
      for (const auto& row : eventually(0, "defaultdb", query).rows)
        for (auto& out = rows.emplace_back(); const auto& column : row) out.push_back(column.value_or("NULL"));
      return rows.size() >= count;
    });
    rows.resize(std::max(rows.size(), count));
    return rows;
  }
  std::int64_t counter(const std::string& input, const std::string& name) {
    return input_status(input).at(name).to_number<std::int64_t>();
  }
};

/// Section 6.5; the first two have no structured data, the others no process.
const std::string kExamples[] = {
    "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on "
    "/dev/pts/8",
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
    "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" "
    "eventSource=\"Application\" eventID=\"1011\"] \xef\xbb\xbf"
    "An application event log entry...",
    "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" "
    "eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"]"};

TEST_F(IngestRecords, TheExamplesOfRfc5424AreUnderstood) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto counted = connection("counted"), lines = connection("tcp");
  for (const std::string& example : kExamples) {
    datagram(example);
    counted.say(std::to_string(example.size()) + " " + example);
    lines.say(example + "\n");
  }
  for (const char* input : {"udp", "counted", "tcp"}) {
    const Rows rows = select(
        "time, host, fields ->> 'app_name', fields ->> 'proc_id', fields ->> 'msg_id', "
        "fields ->> 'severity', fields ->> 'message', fields -> 'structured_data', error",
        input, 4);
    const char* const machine = "mymachine.example.com";
    EXPECT_THAT(rows[0], ElementsAre("2003-10-11 22:14:15.003+00", machine, "su", "NULL", "ID47", "2",
                                     "'su root' failed for lonvick on /dev/pts/8", "NULL", "NULL"));
    EXPECT_THAT(rows[1], ElementsAre("2003-08-24 12:14:15.000003+00", "192.0.2.1", "myproc", "8710", "NULL", "5",
                                     "%% It's time to make the do-nuts.", "NULL", "NULL"));
    const std::string one = R"("exampleSDID@32473":{"iut":"3","eventSource":"Application","eventID":"1011"})";
    EXPECT_THAT(rows[2], ElementsAre("2003-10-11 22:14:15.003+00", machine, "evntslog", "NULL", "ID47", "5",
                                     "An application event log entry...", "{" + one + "}", "NULL"));
    EXPECT_THAT(rows[3], ElementsAre("2003-10-11 22:14:15.003+00", machine, "evntslog", "NULL", "ID47", "5", "",
                                     "{" + one + R"(,"examplePriority@32473":{"class":"high"}})", "NULL"));
  }
}

TEST_F(IngestRecords, WhatCannotBeReadIsKeptWholeWithItsError) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::vector<std::string> bad = {"no syslog at all", "<34>1 yesterday host app - - - x", "<999>1 - - - - - -",
                                        "<34>1 2003-10-11T22:14:15Z host app - - [broken x"};
  const auto lines = connection("tcp"), json = connection("json");
  for (const std::string& record : bad) {
    datagram(record);
    lines.say(record + "\n");
    json.say(record + "\n");
  }
  for (const char* input : {"udp", "tcp", "json"}) {
    const Rows rows = select("fields ->> 'raw', length(error) > 0, host", input, bad.size());
    for (std::size_t i = 0; i < bad.size(); ++i) EXPECT_THAT(rows[i], ElementsAre(bad[i], "t", "127.0.0.1")) << input;
  }
}

TEST_F(IngestRecords, BinaryRecordsAreKept) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string binary = "a\0b\x01\xff\xfe\xc3"s;
  datagram(binary);
  const auto lines = connection("lines"), json = connection("json");
  lines.say(binary + "\nn=1\n");
  json.say(binary + "\n{\"message\":\"n=1\"}\n");
  for (const char* input : {"udp", "json"})
    EXPECT_THAT(select("fields", input, 1)[0], ElementsAre(R"({"raw_base64":"YQBiAf/+ww=="})")) << input;
  // Without a parser nothing is wrong with it: text, with U+FFFD where it is none.
  const std::string wrong = "\xef\xbf\xbd";
  const Rows rows = select("fields, error", "lines", 2);
  EXPECT_THAT(rows[0], ElementsAre(R"({"message":"a\u0000b\u0001)" + wrong + wrong + wrong + "\"}", "NULL"));
  EXPECT_THAT(rows[1], ElementsAre(R"({"message":"n=1"})", "NULL"));
  EXPECT_THAT(select("fields ->> 'message'", "json", 2)[1], ElementsAre("n=1"));
}

TEST_F(IngestRecords, OversizedAndTruncatedRecordsAreMarkedAndCounted) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string large(100'000, 'x'), begin(1024, 'x');
  datagram(large.substr(0, 5000));
  const auto lines = connection("lines");
  lines.say(large + "\nn=1\n");
  {
    const auto counted = connection("counted");
    counted.say(std::to_string(large.size()) + " " + large + "3 n=1");
    wait("the large record", [&] { return counter("counted", "records") == 2; });
    counted.say("n=2 without a length\n4 n=3.50 <34>1 - - - - - - n=4");
  }
  for (const char* input : {"udp", "lines"})
    EXPECT_THAT(select("coalesce(fields ->> 'message', fields ->> 'raw')", input, 1)[0],
                ElementsAre(begin + " [outlast: cut]"));
  EXPECT_THAT(select("fields ->> 'message'", "lines", 2)[1], ElementsAre("n=1"));
  const Rows rows = select("fields ->> 'raw'", "counted", 4);
  EXPECT_THAT(rows[0], ElementsAre(begin + " [outlast: cut]"));
  EXPECT_THAT(rows[1], ElementsAre("n=1"));
  EXPECT_THAT(rows[2], ElementsAre("n=2 without a length [outlast: broken frame]"));
  EXPECT_THAT(rows[3], ElementsAre("n=3."));
  EXPECT_THAT(select("fields ->> 'message'", "counted", 5)[4], ElementsAre("n=4 [outlast: truncated]"));
  EXPECT_EQ(counter("udp", "cut") + counter("lines", "cut") + counter("counted", "cut"), 3);
  EXPECT_EQ(counter("counted", "malformed"), 2);
}

/// A byte now and then keeps nobody else waiting, and a restart in the middle of a record is none of its business.
TEST_F(IngestRecords, SlowSendersGetThereThroughRestarts) {
  ASSERT_NO_FATAL_FAILURE(start());
  constexpr int kSlow = 50;
  std::vector<Connection> slow;
  for (int i = 0; i < kSlow; ++i) slow.push_back(connection("tcp"));
  const auto other = connection("lines");
  const std::string record = "22 <13>1 - - - - - - s=";
  for (std::size_t at = 0; at < record.size(); ++at) {
    for (const Connection& one : slow) one.say(record.substr(at, 1));
    other.say("n=" + std::to_string(at) + "\n");
    if (at % 6 == 5) expect_completed(restart());
  }
  expect_stored("lines", static_cast<long>(record.size()));
  EXPECT_EQ(counter("tcp", "connections"), kSlow);
  for (int i = 0; i < kSlow; ++i)
    slow[static_cast<std::size_t>(i)].say(i < 10 ? std::to_string(i) + " " : std::to_string(i));
  expect_stored("tcp", kSlow, "s");
}

}  // namespace
}  // namespace outlast
