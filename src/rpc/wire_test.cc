#include "rpc/wire.h"

#include <gtest/gtest.h>

#include <cstring>

#include "rpc/piece_frame.h"

namespace outlast::rpc {
namespace {

proto::WireWelcome message(std::size_t bytes, char fill) {
  proto::WireWelcome out;
  out.set_message(std::string(bytes, fill));
  return out;
}

/// Feeds `bytes` in pieces of `piece`, and hands on each frame that comes out.
template <class Take>
void feed(FrameCutter cutter, const std::string& bytes, std::size_t piece, Take take) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::span<char> space = cutter.space();
    const std::size_t n = std::min({piece, space.size(), bytes.size() - at});
    std::memcpy(space.data(), bytes.data() + at, n);
    cutter.filled(n);
    at += n;
    for (;;) {
      auto frame = cutter.next();
      ASSERT_TRUE(frame.ok());
      if (!*frame) break;
      take(**frame);
    }
  }
}

std::vector<std::string> cut(const std::string& bytes, std::size_t piece) {
  std::vector<std::string> out;
  feed(FrameCutter(16), bytes, piece, [&out](const Frame& frame) {
    proto::WireWelcome read;
    EXPECT_TRUE(read.ParseFromArray(frame.bytes.data(), static_cast<int>(frame.bytes.size())));
    out.push_back(read.message());
  });
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

proto::RangeMessage piece(std::size_t bytes) {
  proto::RangeMessage out;
  out.set_range(7);
  auto& chunk = *out.mutable_snapshot_chunk();
  chunk.set_offset(3 * bytes);
  chunk.set_holds_lsn(12);
  chunk.set_config(std::string(300, 'c'));
  for (std::size_t i = 0; i < bytes; ++i) *chunk.mutable_data() += static_cast<char>(i * 7 + i / 251);
  return out;
}

std::string bytes_of(const PieceFrame& frame) {
  return frame.head + frame.data;
}

TEST(PieceFrameTest, IsAnOrdinaryMessageForWhoKnowsNothingOfIt) {
  for (const std::size_t size : {0U, 1U, 127U, 128U, 1U << 20}) {
    const std::string bytes = bytes_of(frame_of_piece(piece(size)));
    FrameCutter cutter(bytes.size());
    std::memcpy(cutter.space().data(), bytes.data(), bytes.size());
    cutter.filled(bytes.size());
    const auto frame = cutter.next();
    ASSERT_TRUE(frame.ok() && *frame) << size;
    proto::RangeMessage read;
    ASSERT_TRUE(read.ParseFromArray((*frame)->bytes.data(), static_cast<int>((*frame)->bytes.size())));
    EXPECT_EQ(read.SerializeAsString(), piece(size).SerializeAsString()) << size;
  }
}

TEST(PieceFrameTest, IsReadWhereItsDataStaysHoweverTheBytesArrive) {
  std::string bytes;
  const std::vector<std::size_t> sizes{1U << 20, 10U, 300'000U, 1U << 20};
  for (const std::size_t size : sizes) bytes += bytes_of(frame_of_piece(piece(size)));
  append_frame(bytes, piece(400'000));  // of a program that does not put it last
  for (const std::size_t step : {std::size_t{1}, std::size_t{300}, std::size_t{64} << 10, bytes.size()}) {
    std::vector<std::size_t> aside, all;
    feed(FrameCutter(64 << 10, true), bytes, step, [&](Frame& frame) {
      proto::RangeMessage read;
      ASSERT_TRUE(read.ParseFromArray(frame.bytes.data(), static_cast<int>(frame.bytes.size())));
      auto& chunk = *read.mutable_snapshot_chunk();
      if (!frame.data.empty()) {
        aside.push_back(frame.data.size());
        EXPECT_TRUE(chunk.data().empty());
        chunk.set_data(std::move(frame.data));
      }
      all.push_back(chunk.data().size());
      EXPECT_EQ(read.SerializeAsString(), piece(chunk.data().size()).SerializeAsString());
    });
    EXPECT_EQ(all, (std::vector<std::size_t>{1U << 20, 10U, 300'000U, 1U << 20, 400'000U})) << step;
    EXPECT_EQ(aside, (std::vector<std::size_t>{1U << 20, 300'000U, 1U << 20})) << step;
  }
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
