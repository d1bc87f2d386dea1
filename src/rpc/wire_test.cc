#include "rpc/wire.h"

#include <gtest/gtest.h>

#include <cstring>

namespace outlast::rpc {
namespace {

proto::WireWelcome message(std::size_t bytes, char fill) {
  proto::WireWelcome out;
  out.set_message(std::string(bytes, fill));
  return out;
}

/// Feeds `bytes` in pieces of `piece` and returns the messages that come out.
std::vector<std::string> cut(const std::string& bytes, std::size_t piece) {
  FrameCutter cutter(16);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::span<char> space = cutter.space();
    const std::size_t n = std::min({piece, space.size(), bytes.size() - at});
    std::memcpy(space.data(), bytes.data() + at, n);
    cutter.filled(n);
    at += n;
    for (;;) {
      const auto frame = cutter.next();
      EXPECT_TRUE(frame.ok());
      if (!frame.ok() || !*frame) break;
      proto::WireWelcome read;
      EXPECT_TRUE(read.ParseFromArray((*frame)->data(), static_cast<int>((*frame)->size())));
      out.push_back(read.message());
    }
  }
  return out;
}

TEST(FrameCutterTest, CutsTheSameFramesHoweverTheBytesArrive) {
  std::string bytes;
  std::vector<std::string> wanted;
  for (const std::size_t size : {0U, 1U, 5U, 300U, 70'000U, 2U}) {
    append_frame(bytes, message(size, static_cast<char>('a' + wanted.size())));
    wanted.emplace_back(size, static_cast<char>('a' + wanted.size()));
  }
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 64U, 4096U, 1U << 20}) EXPECT_EQ(cut(bytes, piece), wanted) << piece;
}

TEST(FrameCutterTest, RefusesALengthThatNoFrameHas) {
  FrameCutter cutter;
  std::memcpy(cutter.space().data(), "\xff\xff\xff\xff", 4);
  cutter.filled(4);
  const auto frame = cutter.next();
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.error().code, Errc::kProtocolViolation);
}

TEST(SplitAddressTest, KnowsHostsAndPorts) {
  EXPECT_EQ(split_address("127.0.0.1:8").value(), std::pair(std::string("127.0.0.1"), std::string("8")));
  EXPECT_EQ(split_address("[::1]:26").value(), std::pair(std::string("::1"), std::string("26")));
  EXPECT_FALSE(split_address("localhost").ok());
  EXPECT_FALSE(split_address("localhost:").ok());
}

}  // namespace
}  // namespace outlast::rpc
