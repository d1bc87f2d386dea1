#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handover/channel.h"
#include "handover/control.h"
#include "handover/restart_policy.h"
#include "handover/session_marks.h"
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

TEST(HandoverChannel, KeepsEachDescriptorWithItsFrameWhateverTheKernelCuts) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  HandoverChannel here(pair[0]), there(pair[1]);
  constexpr std::uint32_t kSessions = 300;
  for (std::uint32_t i = 0; i < kSessions; ++i) {
    proto::HandoverMessage message;
    message.mutable_session()->set_slot(i);
    message.mutable_session()->mutable_state()->set_input(std::string(i * 997 % 9000, 'x'));
    const bool with_fd = i % 3 != 0;
    int fd = -1;
    if (with_fd) {
      fd = memfd_create("a session", MFD_CLOEXEC);
      ASSERT_EQ(write(fd, &i, sizeof i), static_cast<ssize_t>(sizeof i));
    }
    ASSERT_TRUE(here.send(message, fd).ok());
  }
  for (std::uint32_t i = 0; i < kSessions;) {
    ASSERT_TRUE(here.flush().ok());
    auto received = there.receive();
    ASSERT_TRUE(received.ok()) << received.error().message;
    if (!received->has_value()) continue;
    const HandoverChannel::Received& one = **received;
    ASSERT_EQ(one.message.session().slot(), i);
    ASSERT_EQ(one.fd >= 0, i % 3 != 0) << i;
    if (one.fd >= 0) {
      std::uint32_t in_it = 0;
      ASSERT_EQ(pread(one.fd, &in_it, sizeof in_it, 0), static_cast<ssize_t>(sizeof in_it));
      EXPECT_EQ(in_it, i);
      close(one.fd);
    }
    ++i;
  }
  EXPECT_FALSE(here.wants_write());
}

TEST(HandoverChannel, TellsWhatWasSaidBeforeTheOtherSideDied) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  HandoverChannel there(pair[1]);
  {
    HandoverChannel here(pair[0]);
    proto::HandoverMessage message;
    message.mutable_gone()->set_slot(7);
    ASSERT_TRUE(here.send(message).ok());
  }
  EXPECT_EQ(there.receive().value()->message.gone().slot(), 7U);
  EXPECT_EQ(there.receive().error().code, Errc::kUnavailable);
}

TEST(HandoverChannel, RefusesAFrameThatNobodyWouldSend) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  HandoverChannel there(pair[1]);
  ASSERT_EQ(write(pair[0], "\xff\xff\xff\x7f", 4), 4);
  EXPECT_EQ(there.receive().error().code, Errc::kProtocolViolation);
  close(pair[0]);
}

TEST(SessionMarks, AreSharedWithWhoeverMapsThem) {
  auto ours = SessionMarks::create().value();
  auto theirs = SessionMarks::open(dup(ours->fd())).value();
  EXPECT_EQ(theirs->get(5), SessionMark::kWaiting);
  ours->set(5, SessionMark::kAnswering);
  EXPECT_EQ(theirs->get(5), SessionMark::kAnswering);
  EXPECT_EQ(SessionMarks::open(memfd_create("empty", MFD_CLOEXEC)).error().code, Errc::kInvalidArgument);
}

TEST(Control, PassesADescriptorAlong) {
  int pair[2], pipe_ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  ASSERT_TRUE(
      send_control(
          pair[0],
          {.kind = ControlMessage::Kind::kListener, .node = {}, .incarnation = {}, .text = "sql", .fd = pipe_ends[1]})
          .ok());
  const ControlMessage heard = receive_control(pair[1]).value().value();
  EXPECT_EQ(heard.text, "sql");
  ASSERT_GE(heard.fd, 0);
  EXPECT_EQ(write(heard.fd, "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(pipe_ends[0], &byte, 1), 1);
  for (const int fd : {pair[0], pair[1], pipe_ends[0], pipe_ends[1], heard.fd}) close(fd);
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
