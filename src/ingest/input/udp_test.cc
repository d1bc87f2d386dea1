#include "ingest/input/udp.h"

#include <fcntl.h>
#include <linux/sock_diag.h>

#include <atomic>
#include <thread>

#include "ingest/input/test_intake.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

InputOptions options(int socket = -1) {
  InputOptions out;
  out.name = "test";
  out.tag = "app.udp";
  out.listen = {"udp", "127.0.0.1", 0};
  out.socket = socket;
  return out;
}

Fd bound() {
  return std::move(open_socket({"udp", "127.0.0.1", 0}, true).value());
}

int copy_of(const Fd& fd) {
  return fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
}

TEST(UdpInput, WhatArrivedIsWhatIsKept) {
  TestIntake intake;
  InputOptions o = options();
  o.message_size_max = 10;
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("plain");
  client.send(std::string_view("a\0b\n\xff", 5));
  client.send("line\n");
  client.send("line\r\n");
  client.send("two\n\n");
  client.send("");
  client.send("\n");
  client.send("0123456789");
  client.send("0123456789\r\n");
  client.send("0123456789A");
  client.send(std::string(60'000, 'x'));
  ASSERT_TRUE(intake.wait_for(9));
  EXPECT_EQ(intake.texts(),
            (std::vector<std::string>{"plain", std::string("a\0b\n\xff", 5), "line", "line", "two\n", "0123456789",
                                      "0123456789", "0123456789 [outlast: cut]", "xxxxxxxxxx [outlast: cut]"}));
  EXPECT_EQ(intake.kept().front().peer, client.name());
  EXPECT_EQ(intake.tag(), "app.udp");
  const StopReport report = input.stop();
  EXPECT_EQ(report.records, 9U);
  EXPECT_EQ(report.kernel_drops, 0U);
  EXPECT_TRUE(report.held.empty());
  EXPECT_EQ(input.counters().cut, 2U);
  EXPECT_EQ(input.counters().bytes, 5U + 5 + 4 + 4 + 4 + 40);
}

TEST(UdpInput, OnlyAllowedNetworks) {
  TestIntake intake;
  InputOptions o = options();
  o.allow = *AllowList::parse({"10.0.0.0/8"});
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  for (int i = 0; i < 100; ++i) client.send("no");
  while (input.counters().disallowed < 100) std::this_thread::yield();
  EXPECT_EQ(input.stop().records, 0U);
  EXPECT_EQ(intake.puts(), 0U);
}

TEST(UdpInput, OverTheRateIsDroppedAndCounted) {
  TestIntake intake;
  InputOptions o = options();
  o.rate_max = 0.001;  // one, then nothing for a quarter of an hour
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  for (int i = 0; i < 50; ++i) client.send("x");
  while (input.counters().limited < 49) std::this_thread::yield();
  EXPECT_EQ(input.stop().records, 1U);
}

// Numbered datagrams of several senders, never more on their way than the receive buffer holds.
class Senders {
 public:
  Senders(TestIntake& intake, std::uint16_t port, int senders, int each, std::uint64_t buffer)
      : intake_(intake), window_(buffer / datagram_cost(100) / 2), each_(each) {
    for (int i = 0; i < senders; ++i) clients_.push_back(std::make_unique<TestClient>(SOCK_DGRAM, port));
    thread_ = std::thread([this] { run(); });
  }
  void join() { thread_.join(); }
  std::uint64_t sent() const { return sent_; }
  bool done() const { return sent_ == static_cast<std::uint64_t>(each_) * clients_.size(); }
  void expect_all_in_order() {
    const auto all = intake_.by_peer();
    ASSERT_EQ(all.size(), clients_.size());
    for (const auto& client : clients_) {
      const auto& got = all.at(client->name());
      ASSERT_EQ(got.size(), static_cast<std::size_t>(each_));
      for (int i = 0; i < each_; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], "record " + std::to_string(i));
    }
  }

 private:
  void run() {
    for (int i = 0; i < each_; ++i) {
      const std::string text = "record " + std::to_string(i);
      for (const auto& client : clients_) {
        if (sent_ >= window_ && !intake_.wait_for(sent_ + 1 - window_)) return;
        client->send(text);
        ++sent_;
      }
    }
  }
  TestIntake& intake_;
  std::uint64_t window_;
  int each_;
  std::vector<std::unique_ptr<TestClient>> clients_;
  std::atomic<std::uint64_t> sent_{0};
  std::thread thread_;
};

TEST(UdpInput, EveryDatagramInOrder) {
  TestIntake intake;
  UdpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  Senders senders(intake, input.port(), 4, 10'000, input.counters().receive_buffer);
  senders.join();
  ASSERT_TRUE(intake.wait_for(40'000));
  senders.expect_all_in_order();
  const StopReport report = input.stop();
  EXPECT_EQ(report.records, 40'000U);
  EXPECT_EQ(report.kernel_drops, 0U);
  EXPECT_LT(intake.puts(), 20'000U);
  EXPECT_EQ(input.stop().records, 40'000U);
}

TEST(UdpInput, HandOffsLoseAndReorderNothing) {
  TestIntake intake;
  const Fd socket = bound();
  InputOptions o = options(copy_of(socket));
  auto reader = std::make_unique<UdpInput>(o, intake);
  ASSERT_TRUE(reader->start().ok());
  Senders senders(intake, reader->port(), 4, 20'000, reader->counters().receive_buffer);
  std::uint64_t records = 0, hand_offs = 0;
  for (; !senders.done(); ++hand_offs) {
    ASSERT_TRUE(intake.wait_for(std::min<std::uint64_t>((hand_offs + 1) * 1000, 80'000)));
    const StopReport report = reader->stop();
    records += report.records;
    EXPECT_EQ(report.kernel_drops, 0U);
    EXPECT_TRUE(report.held.empty());
    o.socket = copy_of(socket);
    o.read_since = report.read_until;
    reader = std::make_unique<UdpInput>(o, intake);
    ASSERT_TRUE(reader->start().ok());
  }
  senders.join();
  ASSERT_TRUE(intake.wait_for(80'000));
  senders.expect_all_in_order();
  EXPECT_EQ(records + reader->stop().records, 80'000U);
  EXPECT_EQ(intake.count(), 80'000U);
  EXPECT_GE(hand_offs, 20U);
}

TEST(UdpInput, TheGapBetweenTwoReadersCounts) {
  TestIntake intake;
  const Fd socket = bound();
  InputOptions o = options(copy_of(socket));
  o.read_since = boot_now() - 7s;
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("x");
  ASSERT_TRUE(intake.wait_for(1));
  input.stop();
  EXPECT_GE(input.counters().longest_gap_nanos, 7'000'000'000U);
  EXPECT_LT(input.counters().longest_gap_nanos, 60'000'000'000U);
}

TEST(UdpInput, WhatLayInTheKernelAtTheSwitchIsCounted) {
  TestIntake intake;
  const Fd socket = bound();
  InputOptions o = options(copy_of(socket));
  TestClient client(SOCK_DGRAM, bound_port(socket.get()));
  for (int i = 0; i < 100; ++i) client.send("queued");
  o.read_since = boot_now();
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  ASSERT_TRUE(intake.wait_for(100));
  client.send("later");
  ASSERT_TRUE(intake.wait_for(101));
  EXPECT_EQ(input.counters().order_breaks, 0U);
  EXPECT_GE(input.counters().queued, 100U);
  EXPECT_LE(input.counters().queued, 101U);
}

TEST(UdpInput, WhatTheReaderBeforeHeldGoesFirst) {
  TestIntake intake;
  intake.say(Intake::Taken::kWait);
  InputOptions o = options();
  o.held.append({1, "127.0.0.1:9", "held"});
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  ASSERT_TRUE(intake.wait_until_held());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("later");
  intake.say(Intake::Taken::kYes);
  ASSERT_TRUE(intake.wait_for(2));
  EXPECT_EQ(intake.texts(), (std::vector<std::string>{"held", "later"}));
}

TEST(UdpInput, AReaderThatBeganTooEarlyIsAnOrderBreak) {
  TestIntake intake;
  InputOptions o = options();
  o.read_since = boot_now() + 1h;
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("x");
  ASSERT_TRUE(intake.wait_for(1));
  EXPECT_EQ(input.counters().order_breaks, 1U);
}

TEST(UdpInput, DropsOfTheKernelAreCountedExactly) {
  TestIntake intake;
  intake.say(Intake::Taken::kWait);
  InputOptions o = options();
  o.receive_buffer_min = 0;  // the system's default, so that it overflows soon
  UdpInput input(o, intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  client.send("first");
  ASSERT_TRUE(intake.wait_until_held());
  constexpr std::uint64_t kSent = 5'000;  // the kernel takes or drops each before send() returns
  for (std::uint64_t i = 1; i < kSent; ++i) client.send("record " + std::to_string(i));
  const std::uint64_t dropped = input.counters().kernel_drops;
  EXPECT_GT(dropped, 100U);
  intake.say(Intake::Taken::kYes);
  ASSERT_TRUE(intake.wait_for(kSent - dropped));
  client.send("last");
  ASSERT_TRUE(intake.wait_for(kSent - dropped + 1));
  const StopReport report = input.stop();
  EXPECT_EQ(report.kernel_drops, dropped);
  EXPECT_EQ(report.records + report.kernel_drops, kSent + 1);
  EXPECT_EQ(intake.texts().back(), "last");
  EXPECT_GT(input.counters().longest_gap_nanos, 0U);
}

TEST(UdpInput, ANewReaderCountsOnlyItsOwnDrops) {
  const Fd socket = bound();
  TestIntake intake;
  {
    TestClient client(SOCK_DGRAM, bound_port(socket.get()));
    for (int i = 0; i < 2000; ++i) client.send("nobody reads");
  }
  EXPECT_GT(kernel_drops(socket.get()), 0U);
  UdpInput input(options(copy_of(socket)), intake);
  ASSERT_TRUE(input.start().ok());
  ASSERT_TRUE(intake.wait_for(2000 - kernel_drops(socket.get())));
  TestClient client(SOCK_DGRAM, input.port());
  client.send("after the drops");  // brings the kernel's count with it
  ASSERT_TRUE(intake.wait([](TestIntake&) { return true; }));
  while (intake.texts().back() != "after the drops") std::this_thread::yield();
  EXPECT_EQ(input.stop().kernel_drops, 0U);
}

TEST(UdpInput, WhatTheIntakeHasNoRoomForIsInTheReport) {
  TestIntake intake;
  intake.say(Intake::Taken::kWait);
  const Fd socket = bound();
  TestClient client(SOCK_DGRAM, bound_port(socket.get()));
  for (int i = 0; i < 100; ++i) client.send("record " + std::to_string(i));
  UdpInput input(options(copy_of(socket)), intake);
  ASSERT_TRUE(input.start().ok());
  ASSERT_TRUE(intake.wait_until_held());
  StopReport report = input.stop();
  EXPECT_EQ(report.records, 0U);
  EXPECT_GT(report.held.records(), 0U);
  const std::size_t held = report.held.records();
  intake.say(Intake::Taken::kYes);
  ASSERT_EQ(intake.put("", report.held, Ack::kReceived, [](Result<void>) {}), Intake::Taken::kYes);
  UdpInput next(options(copy_of(socket)), intake);
  ASSERT_TRUE(next.start().ok());
  ASSERT_TRUE(intake.wait_for(100));
  EXPECT_EQ(next.stop().records, 100 - held);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(intake.texts()[i], "record " + std::to_string(i));
}

TEST(UdpInput, RefusedIsCountedAndReadingGoesOn) {
  TestIntake intake;
  intake.say(Intake::Taken::kRefused);
  UdpInput input(options(), intake);
  ASSERT_TRUE(input.start().ok());
  TestClient client(SOCK_DGRAM, input.port());
  for (int i = 0; i < 100; ++i) client.send("x");
  while (input.counters().refused < 100) std::this_thread::yield();
  EXPECT_EQ(input.stop().records, 0U);
}

TEST(UdpInput, TheCostOfADatagramIsAtLeastWhatTheKernelCharges) {
  const Fd socket = bound();
  TestClient client(SOCK_DGRAM, bound_port(socket.get()));
  for (const std::size_t bytes : {1, 100, 200, 500, 700, 1000, 1400, 3000, 8000}) {
    const auto charged = [&] {
      std::uint32_t info[SK_MEMINFO_VARS] = {};
      socklen_t size = sizeof info;
      getsockopt(socket.get(), SOL_SOCKET, SO_MEMINFO, info, &size);
      return info[SK_MEMINFO_RMEM_ALLOC];
    };
    const std::uint32_t before = charged();
    client.send(std::string(bytes, 'x'));
    EXPECT_LE(charged() - before, datagram_cost(bytes)) << bytes;
    EXPECT_GE(charged() - before, datagram_cost(bytes) / 4) << bytes;
  }
}

TEST(UdpInput, ABufferThatIsTooSmallIsNamedWithItsCure) {
  const Fd socket = bound();
  std::string warning;
  const std::uint64_t granted = grow_receive_buffer(socket.get(), 8 << 20, warning);
  if (granted >= 8 << 20)
    EXPECT_EQ(warning, "");
  else
    EXPECT_NE(warning.find("sysctl -w net.core.rmem_max=4194304"), std::string::npos) << warning;
}

}  // namespace
}  // namespace outlast::ingest
