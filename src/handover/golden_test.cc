// Bytes that the first version of a handover sent. They must be understood for ever: the worker that hands over may be
// older or newer than the one that takes over. A new field gets a new test; these stay as they are.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handover/channel.h"

namespace outlast::handover {
namespace {

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

/// What comes out of a channel into which `body` was written as a frame.
proto::HandoverMessage through_channel(const std::string& body) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return {};
  HandoverChannel there(pair[1]);
  std::string frame;
  for (std::size_t i = 0; i < 4; ++i) frame.push_back(static_cast<char>(body.size() >> (8 * i)));
  frame += body;
  EXPECT_EQ(send(pair[0], frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  auto received = there.receive();
  close(pair[0]);
  return received.ok() && received->has_value() ? (*received)->message : proto::HandoverMessage();
}

TEST(GoldenHandover, ASessionOfVersion1) {
  const proto::HandoverMessage message = through_channel(from_hex(
      "1a8301080710959aef3a1a7a12036170701a0964656661756c7464622092212a04010203043203510000422a0a106170706c696361"
      "74696f6e5f6e616d6512047073716c1a0762696c6c696e67220762696c6c696e674a260a06696e736572741219494e5345525420"
      "494e544f20742056414c55455320282431291a01145206080310021863"));
  ASSERT_TRUE(message.has_session());
  const proto::HandoverSession& session = message.session();
  EXPECT_EQ(session.slot(), 7U);
  EXPECT_EQ(session.paused_at_ns(), 123456789);
  const proto::SessionState& state = session.state();
  EXPECT_EQ(state.user() + " " + state.database(), "app defaultdb");
  EXPECT_EQ(state.cancel_pid(), 4242);
  EXPECT_EQ(state.cancel_key(), "\x01\x02\x03\x04");
  EXPECT_EQ(state.input(), std::string("Q\0\0", 3));
  ASSERT_EQ(state.variables_size(), 1);
  EXPECT_EQ(state.variables(0).value(), "billing");
  ASSERT_EQ(state.prepared_size(), 1);
  EXPECT_EQ(state.prepared(0).text(), "INSERT INTO t VALUES ($1)");
  EXPECT_EQ(state.prepared(0).parameter_types(0), 20U);
  EXPECT_EQ(state.seen().lsn(), 99U);
}

TEST(GoldenHandover, AReleaseOfVersion1) {
  const proto::HandoverMessage message = through_channel(from_hex("4a0a08041002180120052806"));
  ASSERT_TRUE(message.has_released());
  EXPECT_EQ(message.released().last_incarnation(), 4U);
  EXPECT_EQ(message.released().leases_kept(), 1U);
}

TEST(GoldenHandover, WhatANewerVersionSaysIsKeptAndHandedOn) {
  // Field 99 of a message is unknown here: as a kind it is skipped, in a session it is kept.
  const std::string unknown = from_hex("9a0603666f6f");
  EXPECT_EQ(through_channel(unknown).kind_case(), proto::HandoverMessage::KIND_NOT_SET);
  proto::SessionState state;
  ASSERT_TRUE(state.ParseFromString(from_hex("12036170709a0603666f6f")));
  EXPECT_EQ(state.user(), "app");
  EXPECT_NE(state.SerializeAsString().find(unknown), std::string::npos);
}

}  // namespace
}  // namespace outlast::handover
