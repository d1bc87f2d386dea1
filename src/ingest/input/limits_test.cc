#include "ingest/input/limits.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "ingest/input/socket.h"
#include "ingest/input/udp_pace.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

bool allows(const std::vector<std::string>& networks, std::string_view address) {
  const auto list = AllowList::parse(networks);
  EXPECT_TRUE(list.ok()) << list.error().message;
  return list->allows(*IpAddress::parse(address));
}

TEST(AllowList, Networks) {
  EXPECT_TRUE(allows({}, "203.0.113.9"));
  EXPECT_TRUE(allows({"10.0.0.0/8"}, "10.255.1.2"));
  EXPECT_FALSE(allows({"10.0.0.0/8"}, "11.0.0.0"));
  EXPECT_TRUE(allows({"192.0.2.8/29", "::1"}, "192.0.2.15"));
  EXPECT_FALSE(allows({"192.0.2.8/29", "::1"}, "192.0.2.16"));
  EXPECT_TRUE(allows({"192.0.2.8/29", "::1"}, "::1"));
  EXPECT_TRUE(allows({"2001:db8::/33"}, "2001:db8:7fff::"));
  EXPECT_FALSE(allows({"2001:db8::/33"}, "2001:db8:8000::"));
  EXPECT_TRUE(allows({"0.0.0.0/0"}, "8.8.8.8"));
  EXPECT_FALSE(allows({"0.0.0.0/0"}, "2001:db8::1"));
  EXPECT_TRUE(allows({"::/0"}, "8.8.8.8"));
  EXPECT_TRUE(allows({"192.0.2.7"}, "::ffff:192.0.2.7"));
}

TEST(AllowList, SlipsOfThePenAreRefused) {
  for (const char* text : {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "host", "", "2001:db8::1/64"})
    EXPECT_FALSE(AllowList::parse({text}).ok()) << text;
}

TEST(PeerText, BothFamilies) {
  sockaddr_storage address{};
  auto& six = reinterpret_cast<sockaddr_in6&>(address);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(514);
  inet_pton(AF_INET6, "::ffff:192.0.2.7", &six.sin6_addr);
  EXPECT_EQ(peer_text(address), "192.0.2.7:514");
  inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr);
  EXPECT_EQ(peer_text(address), "[2001:db8::1]:514");
  EXPECT_EQ(peer_text({}), "");
}

TEST(TokenBucket, TakesWhatIsThere) {
  Instant now(1h);
  TokenBucket bucket(100, 10);
  EXPECT_EQ(bucket.take(25, now), 10U);
  EXPECT_EQ(bucket.take(25, now), 0U);
  EXPECT_EQ(bucket.take(25, now += 50ms), 5U);
  EXPECT_EQ(bucket.take(25, now += 1h), 10U);
  EXPECT_EQ(TokenBucket().take(1'000'000, now), 1'000'000U);
}

TEST(TokenBucket, DebtIsPaidInTime) {
  Instant now(1h);
  TokenBucket bucket(100, 10);
  EXPECT_EQ(bucket.borrow(10, now), 0ms);
  EXPECT_EQ(bucket.borrow(50, now), 500ms);
  EXPECT_EQ(bucket.borrow(0, now += 200ms), 300ms);
  EXPECT_EQ(bucket.borrow(0, now += 300ms), 0ms);
  EXPECT_EQ(TokenBucket().borrow(1'000'000, now), 0ms);
}

TEST(ListenAddress, Forms) {
  const auto udp = ListenAddress::parse("udp://0.0.0.0:5140");
  ASSERT_TRUE(udp.ok());
  EXPECT_EQ(udp->scheme, "udp");
  EXPECT_EQ(udp->host, "0.0.0.0");
  EXPECT_EQ(udp->port, 5140);
  EXPECT_EQ(ListenAddress::parse("tcp://[::1]:0")->host, "::1");
  EXPECT_EQ(ListenAddress::parse("*:514")->host, "::");
  for (const char* text : {"", "udp://host", "tcp://1.2.3.4:70000", "tcp://1.2.3.4:x"})
    EXPECT_FALSE(ListenAddress::parse(text).ok()) << text;
  const auto taken = open_socket(*ListenAddress::parse("127.0.0.1:0"), true);
  ASSERT_TRUE(taken.ok());
  const auto again = open_socket({"", "127.0.0.1", bound_port(taken->get())}, true);
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message.find("another program has this port"), std::string::npos);
}

TEST(UdpPace, ReadsAtOnceWhenSlowAndGathersWhenFast) {
  Instant now(1h);
  UdpPace slow;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(slow.after_read(1, 200, now += 10ms, 4 << 20), 0ms);
  UdpPace fast;
  Duration pause{};
  for (int i = 0; i < 1000; ++i) pause = fast.after_read(50, 50 * 200, now += 1ms, 4 << 20);  // 50,000/s
  EXPECT_GT(pause, 2ms);
  EXPECT_LT(pause, 3ms);
  EXPECT_NEAR(fast.rate(), 50'000, 1000);
  for (int i = 0; i < 1000; ++i) pause = fast.after_read(50, 50 * 200, now += 1ms, 64 << 10);  // a small buffer
  EXPECT_LT(pause, 300us);
}

TEST(UdpPace, TheBatchGrowsWithWhatIsThere) {
  Instant now(1h);
  UdpPace pace;
  EXPECT_EQ(pace.batch(), 64U);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pace.after_read(pace.batch(), 1000, now, 4 << 20), 0ms);
  EXPECT_EQ(pace.batch(), 1024U);
  for (int i = 0; i < 10; ++i) pace.after_read(3, 300, now, 4 << 20);
  EXPECT_EQ(pace.batch(), 64U);
}

}  // namespace
}  // namespace outlast::ingest
