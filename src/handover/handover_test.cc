#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handover/control.h"
#include "handover/restart_policy.h"
#include "handover/supervisor.h"

namespace outlast::handover {
namespace {
using namespace std::chrono_literals;

TEST(Control, CarriesAMessageWholeAndIgnoresWhatItDoesNotKnow) {
  const ControlMessage said{ControlMessage::Kind::kFatal, NodeId(3), Incarnation(9), "the store is another cluster's"};
  const ControlMessage heard = decode_control(encode(said));
  EXPECT_EQ(heard.kind, said.kind);
  EXPECT_EQ(heard.node, said.node);
  EXPECT_EQ(heard.incarnation, said.incarnation);
  EXPECT_EQ(heard.text, said.text);
  EXPECT_EQ(decode_control("incarnation colour=red incarnation=7").incarnation, Incarnation(7));
  EXPECT_EQ(decode_control("from-the-future").kind, ControlMessage::Kind::kUnknown);
  EXPECT_EQ(decode_control("").kind, ControlMessage::Kind::kUnknown);
}

TEST(Control, TellsAnEmptyChannelFromOneWhoseOtherSideIsGone) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  EXPECT_FALSE(receive_control(pair[0]).value().has_value());
  ASSERT_TRUE(send_control(pair[1], {ControlMessage::Kind::kReady, {}, {}, {}}).ok());
  close(pair[1]);
  EXPECT_EQ(receive_control(pair[0]).value()->kind, ControlMessage::Kind::kReady);  // said before it died
  EXPECT_EQ(receive_control(pair[0]).error().code, Errc::kUnavailable);
  EXPECT_EQ(send_control(pair[0], {}).error().code, Errc::kUnavailable);
  close(pair[0]);
}

TEST(RestartPolicy, RestartsAtOnceThenSlowerWhileLivesStayShort) {
  RestartPolicy policy;
  Instant now{1h};
  const auto life = [&](Duration length) { return policy.on_exit(now, now + length); };
  EXPECT_EQ(life(1s), 0s);
  EXPECT_EQ(life(1s), 100ms);
  EXPECT_EQ(life(1s), 200ms);
  for (int i = 0; i < 20; ++i) EXPECT_LE(life(1s), 5s);
  EXPECT_TRUE(policy.crash_loop());
  EXPECT_EQ(life(11s), 0s);
  EXPECT_FALSE(policy.crash_loop());
  EXPECT_EQ(life(1s), 0s);
}

TEST(ListenOn, NamesTheAddressThatItCannotHave) {
  const int fd = listen_on("127.0.0.1:0").value();
  const std::string address = address_of(fd);
  EXPECT_EQ(address.find("127.0.0.1:"), 0U);
  const auto second = listen_on(address);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find(address), std::string::npos);
  EXPECT_EQ(listen_on("nonsense").error().code, Errc::kInvalidArgument);
  close(fd);
}

}  // namespace
}  // namespace outlast::handover
