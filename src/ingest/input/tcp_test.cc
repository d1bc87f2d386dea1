#include "ingest/input/tcp.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <cstdlib>
#include <set>
#include <thread>

#include "ingest/input/test_intake.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

InputOptions options(Framing framing = Framing::kNewline) {
  InputOptions out;
  out.name = "test";
  out.tag = "app.tcp";
  out.listen = {"tcp", "127.0.0.1", 0};
  out.framing = framing;
  return out;
}

std::string frame(Framing framing, const std::string& record) {
  return framing == Framing::kNewline ? record + "\n" : std::to_string(record.size()) + " " + record;
}

TEST(TcpInput, Framings) {
  TestIntake intake;
  TcpInput input(options(Framing::kAuto), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient lines(SOCK_STREAM, input.port()), counted(SOCK_STREAM, input.port());
  lines.send("<13>one\n<13>two\r\n<13>no end");
  counted.send("9 <13>a\nb\nc7 <13>xyz12 <13>trunc");
  lines.end();
  counted.end();
  ASSERT_TRUE(intake.wait_for(6));
  const auto by_peer = intake.by_peer();
  EXPECT_EQ(by_peer.at(lines.name()), (std::vector<std::string>{"<13>one", "<13>two", "<13>no end"}));
  EXPECT_EQ(by_peer.at(counted.name()),
            (std::vector<std::string>{"<13>a\nb\nc", "<13>xyz", "<13>trunc [outlast: truncated]"}));
  EXPECT_EQ(lines.receive_all(), "");  // closed, nothing said
  EXPECT_EQ(input.stop().records, 6U);
  EXPECT_EQ(input.counters().malformed, 1U);
  EXPECT_EQ(input.counters().connections_taken, 2U);
  EXPECT_EQ(input.counters().connections, 0U);
}

TEST(TcpInput, BinaryAndOversized) {
  TestIntake intake;
  InputOptions o = options();
  o.message_size_max = 1000;
  TcpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_STREAM, input.port());
  client.send(std::string_view("a\0b\xff\n", 5));
  client.send(std::string(1 << 20, 'x') + "\nafter\n");
  ASSERT_TRUE(intake.wait_for(3));
  EXPECT_EQ(intake.texts(), (std::vector<std::string>{std::string("a\0b\xff", 4),
                                                      std::string(1000, 'x') + " [outlast: cut]", "after"}));
  EXPECT_EQ(input.stop().records, 3U);
  EXPECT_EQ(input.counters().cut, 1U);
}

TEST(TcpInput, ManyRecordsInFewBatches) {
  TestIntake intake;
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(std::make_unique<TestClient>(SOCK_STREAM, input.port()));
  for (int i = 0; i < 20'000; ++i)
    clients[static_cast<std::size_t>(i) % 8]->send("record " + std::to_string(i / 8) + "\n");
  ASSERT_TRUE(intake.wait_for(20'000));
  for (const auto& [peer, records] : intake.by_peer())
    for (std::size_t i = 0; i < records.size(); ++i) ASSERT_EQ(records[i], "record " + std::to_string(i));
  EXPECT_LT(intake.puts(), 5'000U);
  EXPECT_EQ(input.stop().records, 20'000U);
}

TEST(TcpInput, TenThousandConnections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit wanted{24'000, std::max<rlim_t>(limit.rlim_max, 24'000)};
  if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  getrlimit(RLIMIT_NOFILE, &limit);
  const auto count = std::min<std::size_t>(10'000, (limit.rlim_cur - 200) / 2);  // both ends are ours
  RecordProperty("connections", static_cast<int>(count));
  TestIntake intake;
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  std::vector<std::unique_ptr<TestClient>> clients;
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<TestClient>(SOCK_STREAM, input.port()));
    clients.back()->send("hello from " + std::to_string(i) + "\nhalf ");
  }
  ASSERT_TRUE(intake.wait_for(count));
  EXPECT_EQ(input.counters().connections, count);
  auto moved = input.release_connections();
  EXPECT_EQ(moved.size(), count);
  EXPECT_EQ(input.stop().records, count);
  TcpInput next(options(), intake);
  ASSERT_TRUE(next.start().ok());
  for (auto& connection : moved) next.adopt(std::move(connection));
  for (std::size_t i = 0; i < count; ++i) clients[i]->send("a record of " + std::to_string(i) + "\n");
  ASSERT_TRUE(intake.wait_for(2 * count));
  std::set<std::string> seen;
  for (const std::string& text : intake.texts()) seen.insert(text);
  EXPECT_EQ(seen.size(), 2 * count);
  for (std::size_t i = 0; i < count; i += 97) EXPECT_TRUE(seen.contains("half a record of " + std::to_string(i)));
  EXPECT_EQ(next.counters().connections, count);
  EXPECT_EQ(next.stop().records, count);
}

// Connections move under load, many times: nothing is lost, read twice, or reordered, and no sender notices.
void move_under_load(Framing framing) {
  TestIntake intake;
  const Fd listener = std::move(open_socket({"tcp", "127.0.0.1", 0}, false).value());
  const auto reader_on = [&] {
    InputOptions o = options(framing);
    o.socket = fcntl(listener.get(), F_DUPFD_CLOEXEC, 0);
    auto reader = std::make_unique<TcpInput>(o, intake);
    EXPECT_TRUE(reader->start().ok());
    return reader;
  };
  auto reader = reader_on();
  constexpr int kClients = 5;
  constexpr std::size_t kEach = 20'000;
  std::vector<std::thread> senders;
  for (int c = 0; c < kClients; ++c)
    senders.emplace_back([&, c] {
      TestClient client(SOCK_STREAM, bound_port(listener.get()));
      std::string bytes;
      for (std::size_t i = 0; i < kEach; ++i)
        bytes += frame(framing, "record " + std::to_string(i) + (i % 50 == 0 ? std::string(3000, 'x') : ""));
      for (std::string_view rest = bytes; !rest.empty();) {
        client.send(rest.substr(0, 3001 + static_cast<std::size_t>(c)));
        rest.remove_prefix(std::min<std::size_t>(rest.size(), 3001 + static_cast<std::size_t>(c)));
      }
      client.end();
      EXPECT_EQ(client.receive_all(), "");
    });
  std::uint64_t records = 0, with_half = 0;
  for (std::size_t move = 1; move <= 20; ++move) {
    ASSERT_TRUE(intake.wait_for(move * kClients * kEach / 25));
    auto moved = reader->release_connections();
    records += reader->stop().records;
    auto next = reader_on();
    for (auto& connection : moved) {
      with_half += connection.state.unfinished.empty() ? 0 : 1;
      next->adopt(std::move(connection));
    }
    reader = std::move(next);
  }
  for (auto& sender : senders) sender.join();
  ASSERT_TRUE(intake.wait_for(kClients * kEach));
  records += reader->stop().records;
  EXPECT_EQ(records, kClients * kEach);
  EXPECT_GT(with_half, 0U);
  const auto by_peer = intake.by_peer();
  EXPECT_EQ(by_peer.size(), static_cast<std::size_t>(kClients));
  for (const auto& [peer, got] : by_peer) {
    ASSERT_EQ(got.size(), kEach);
    for (std::size_t i = 0; i < kEach; ++i)
      ASSERT_EQ(got[i].substr(0, got[i].find('x')), "record " + std::to_string(i));
  }
}
TEST(TcpInput, MovesUnderLoadNewline) {
  move_under_load(Framing::kNewline);
}
TEST(TcpInput, MovesUnderLoadOctetCounted) {
  move_under_load(Framing::kOctetCounted);
}

TEST(TcpInput, WithoutRoomNobodyIsReadAndNothingIsLost) {
  TestIntake intake;
  intake.say(Intake::Taken::kWait);
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  constexpr std::size_t kEach = 100'000;  // more than the sockets' buffers hold
  std::vector<std::thread> senders;
  for (int c = 0; c < 3; ++c)
    senders.emplace_back([port = input.port()] {
      TestClient client(SOCK_STREAM, port);
      std::string bytes;
      for (std::size_t i = 0; i < kEach; ++i) bytes += std::to_string(i) + std::string(90, '.') + "\n";
      client.send(bytes);
      client.end();
      client.receive_all();
    });
  ASSERT_TRUE(intake.wait_until_held());
  EXPECT_EQ(intake.count(), 0U);
  intake.say(Intake::Taken::kYes);
  ASSERT_TRUE(intake.wait_for(kEach / 2));
  intake.say(Intake::Taken::kWait);
  ASSERT_TRUE(intake.wait_until_held());
  intake.say(Intake::Taken::kYes);
  for (auto& sender : senders) sender.join();
  ASSERT_TRUE(intake.wait_for(3 * kEach));
  for (const auto& [peer, got] : intake.by_peer()) {
    ASSERT_EQ(got.size(), kEach);
    for (std::size_t i = 0; i < kEach; ++i) ASSERT_EQ(got[i].substr(0, got[i].find('.')), std::to_string(i));
  }
  EXPECT_GE(input.counters().waits, 2U);
  EXPECT_EQ(input.stop().records, 3 * kEach);
}

TEST(TcpInput, WhatTheIntakeHasNoRoomForIsTheNextOnesToPutFirst) {
  TestIntake intake;
  intake.say(Intake::Taken::kWait);
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_STREAM, input.port());
  client.send("one\ntwo\nhal");
  ASSERT_TRUE(intake.wait_until_held());
  auto moved = input.release_connections();
  ASSERT_EQ(moved.size(), 1U);
  EXPECT_EQ(moved[0].state.unfinished, "hal");
  EXPECT_EQ(moved[0].peer, client.name());
  const StopReport report = input.stop();
  EXPECT_EQ(report.records, 0U);
  EXPECT_EQ(report.held.records(), 2U);
  InputOptions o = options();
  o.held = report.held;
  TcpInput next(o, intake);
  ASSERT_TRUE(next.start().ok());
  next.adopt(std::move(moved[0]));
  client.send("f\n");
  intake.say(Intake::Taken::kYes);
  ASSERT_TRUE(intake.wait_for(3));
  EXPECT_EQ(intake.texts(), (std::vector<std::string>{"one", "two", "half"}));
}

TEST(TcpInput, StopTakesWhatHasCome) {
  TestIntake intake;
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient first(SOCK_STREAM, input.port()), second(SOCK_STREAM, input.port());
  first.send("a\n");
  second.send("b\n");
  ASSERT_TRUE(intake.wait_for(2));
  first.send("c\nd");
  const StopReport report = input.stop();
  EXPECT_EQ(report.records, 4U);
  EXPECT_EQ(intake.texts().back(), "d");
  EXPECT_EQ(second.receive_all(), "");
}

TEST(TcpInput, SlowAndIdleConnectionsAreClosedAndTheirBytesKept) {
  TestIntake intake;
  InputOptions o = options(Framing::kOctetCounted);
  o.record_time_max = 50ms;
  TcpInput slow(o, intake);
  ASSERT_TRUE(slow.start().ok());
  TestClient loris(SOCK_STREAM, slow.port()), quiet(SOCK_STREAM, slow.port());
  loris.send("100 slow");
  EXPECT_EQ(loris.receive_all(), "");
  ASSERT_TRUE(intake.wait_for(1));
  EXPECT_EQ(intake.texts(), std::vector<std::string>{"slow [outlast: truncated]"});
  EXPECT_EQ(slow.counters().connections, 1U);  // the quiet one is between records
  EXPECT_EQ(slow.counters().connections_timed_out, 1U);
  o.record_time_max = 0s;
  o.idle_max = 50ms;
  TcpInput idle(o, intake);
  ASSERT_TRUE(idle.start().ok());
  TestClient client(SOCK_STREAM, idle.port());
  EXPECT_EQ(client.receive_all(), "");
  EXPECT_EQ(idle.counters().connections_timed_out, 1U);
}

TEST(TcpInput, OneByteAtATimeForEverIsSlowToo) {
  TestIntake intake;
  InputOptions o = options();
  o.record_time_max = 100ms;
  TcpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient loris(SOCK_STREAM, input.port());
  while (::send(loris.fd(), "x", 1, MSG_NOSIGNAL) == 1) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(input.counters().connections_timed_out, 1U);
  EXPECT_EQ(intake.count(), 1U);
}

TEST(TcpInput, LimitsOfWhoAndHowMany) {
  TestIntake intake;
  InputOptions o = options();
  o.connections_max = 1;
  TcpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient first(SOCK_STREAM, input.port());
  first.send("a\n");
  ASSERT_TRUE(intake.wait_for(1));
  TestClient second(SOCK_STREAM, input.port());
  EXPECT_EQ(second.receive_all(), "");
  EXPECT_EQ(input.counters().connections_refused, 1U);
  o.allow = *AllowList::parse({"10.0.0.0/8"});
  TcpInput closed(o, intake);
  ASSERT_TRUE(closed.start().ok());
  TestClient stranger(SOCK_STREAM, closed.port());
  EXPECT_EQ(stranger.receive_all(), "");
  EXPECT_EQ(closed.counters().disallowed, 1U);
}

TEST(TcpInput, TheRateMakesSendersWait) {
  TestIntake intake;
  InputOptions o = options();
  o.rate_max = 1000;  // and 100 at once
  TcpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  const Instant began = boot_now();
  TestClient client(SOCK_STREAM, input.port());
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 200; ++j) client.send("x\n");
    ASSERT_TRUE(intake.wait_for(static_cast<std::size_t>(i + 1) * 200));
  }
  EXPECT_GE(boot_now() - began, 250ms);  // the last 200 waited for the first 400
  EXPECT_EQ(input.stop().records, 600U);
  EXPECT_EQ(input.counters().limited, 0U);
}

TEST(TcpInput, AResetKeepsWhatCameBefore) {
  TestIntake intake;
  TcpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_STREAM, input.port());
  client.send("whole\nhalf");
  ASSERT_TRUE(intake.wait_for(1));
  const linger now{1, 0};
  setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  client.close();
  ASSERT_TRUE(intake.wait_for(2));
  EXPECT_EQ(intake.texts(), (std::vector<std::string>{"whole", "half"}));
}

bool installed(const char* program) {
  return std::system((std::string("command -v ") + program + " > /dev/null 2>&1").c_str()) == 0;
}

TEST(RealSenders, Logger) {
  if (!installed("logger")) GTEST_SKIP() << "logger is not installed";
  TestIntake intake;
  TcpInput tcp(options(Framing::kAuto), intake);
  ASSERT_TRUE(tcp.start().ok());
  InputOptions o = options();
  const auto udp = make_input(InputType::kUdp, o, intake);
  ASSERT_TRUE(udp->start().ok());
  const std::string to_tcp = "logger -n 127.0.0.1 -T -P " + std::to_string(tcp.port());
  EXPECT_EQ(std::system((to_tcp + " 'over lines'").c_str()), 0);
  EXPECT_EQ(std::system((to_tcp + " --octet-count 'counted'").c_str()), 0);
  EXPECT_EQ(std::system(("logger -n 127.0.0.1 -d -P " + std::to_string(udp->port()) + " 'a datagram'").c_str()), 0);
  ASSERT_TRUE(intake.wait_for(3));
  std::string all;
  for (const std::string& text : intake.texts()) {
    EXPECT_TRUE(text.starts_with("<13>1 ")) << text;
    all += text.substr(text.rfind(']') + 1) + ";";
  }
  EXPECT_NE(all.find("over lines;"), std::string::npos) << all;
  EXPECT_NE(all.find("counted;"), std::string::npos) << all;
  EXPECT_NE(all.find("a datagram;"), std::string::npos) << all;
}

TEST(RealSenders, Netcat) {
  if (!installed("nc")) GTEST_SKIP() << "nc is not installed";
  TestIntake intake;
  TcpInput tcp(options(), intake);
  ASSERT_TRUE(tcp.start().ok());
  InputOptions o = options();
  const auto udp = make_input(InputType::kUdp, o, intake);
  ASSERT_TRUE(udp->start().ok());
  EXPECT_EQ(std::system(("printf 'one\\ntwo' | nc -N 127.0.0.1 " + std::to_string(tcp.port())).c_str()), 0);
  EXPECT_EQ(std::system(("echo three | nc -u -w1 127.0.0.1 " + std::to_string(udp->port())).c_str()), 0);
  ASSERT_TRUE(intake.wait_for(3));
  EXPECT_EQ(intake.texts(), (std::vector<std::string>{"one", "two", "three"}));
}

}  // namespace
}  // namespace outlast::ingest
