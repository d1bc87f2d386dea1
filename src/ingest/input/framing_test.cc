#include "ingest/input/framing.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/loop.h"

namespace outlast::ingest {
namespace {
using Records = std::vector<std::pair<std::string, FrameFault>>;

struct Collect : FrameSink {
  void record(std::string_view bytes, FrameFault fault) override { records.emplace_back(bytes, fault); }
  Records records;
};

Records frame(Framing framing, const std::vector<std::string_view>& pieces, std::size_t most = 20) {
  Framer framer(framing, most);
  Collect sink;
  for (const auto piece : pieces) framer.feed(piece, sink);
  framer.finish(sink);
  EXPECT_TRUE(framer.between_records());
  return sink.records;
}

// The same bytes in one piece, byte by byte, cut at every place, and moved to another framer at every place.
Records frame_every_way(Framing framing, std::string_view bytes, std::size_t most = 20) {
  const Records whole = frame(framing, {bytes}, most);
  std::vector<std::string_view> single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
  EXPECT_EQ(frame(framing, single, most), whole) << bytes;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(frame(framing, {bytes.substr(0, cut), bytes.substr(cut)}, most), whole) << bytes << " cut at " << cut;
    Collect sink;
    Framer first(framing, most);
    first.feed(bytes.substr(0, cut), sink);
    Framer second(first.state(), most);
    second.feed(bytes.substr(cut), sink);
    second.finish(sink);
    EXPECT_EQ(sink.records, whole) << bytes << " moved at " << cut;
  }
  return whole;
}

constexpr auto kNone = FrameFault::kNone, kCut = FrameFault::kCut, kBroken = FrameFault::kBroken,
               kTruncated = FrameFault::kTruncated;

TEST(Framing, Newline) {
  EXPECT_EQ(frame_every_way(Framing::kNewline, "one\ntwo\r\n\n\r\nthree"),
            (Records{{"one", kNone}, {"two", kNone}, {"three", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kNewline, std::string_view("a\0b\nc\r\rd\n\xff\xfe\n", 12)),
            (Records{{std::string("a\0b", 3), kNone}, {"c\r\rd", kNone}, {"\xff\xfe", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kNewline, "5 <13>a\n"), (Records{{"5 <13>a", kNone}}));
}

TEST(Framing, LongLinesAreCut) {
  EXPECT_EQ(frame_every_way(Framing::kNewline, "12345\n123456\n1234567890\n12345\r\n123456\r\n12345\r\r\nx\n", 5),
            (Records{{"12345", kNone},
                     {"12345", kCut},
                     {"12345", kCut},
                     {"12345", kNone},
                     {"12345", kCut},
                     {"12345", kCut},
                     {"x", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kNewline, "123456", 5), (Records{{"12345", kCut}}));
  EXPECT_EQ(frame_every_way(Framing::kNewline, "12345\r", 5), (Records{{"12345", kNone}}));
}

TEST(Framing, OctetCounted) {
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "5 hello3 a\nb\n1 x"),
            (Records{{"hello", kNone}, {"a\nb", kNone}, {"x", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted,
                            "10 0123456789"
                            "3 abc",
                            5),
            (Records{{"01234", kCut}, {"abc", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "5 hel"), (Records{{"hel", kTruncated}}));
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "5 "), Records{});
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "12"), (Records{{"12", kTruncated}}));
}

TEST(Framing, AMissingLengthCostsOneLine) {
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "<13>no count\n3 abc"),
            (Records{{"<13>no count", kBroken}, {"abc", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "012 x\n12x y\n99999999999 z\n2 ok"),
            (Records{{"012 x", kBroken}, {"12x y", kBroken}, {"99999999999 z", kBroken}, {"ok", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kOctetCounted, "no end"), (Records{{"no end", kBroken}}));
}

TEST(Framing, AutoGoesByTheFirstFrame) {
  EXPECT_EQ(frame_every_way(Framing::kAuto, "6 <1>abc5 hello"), (Records{{"<1>abc", kNone}, {"hello", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kAuto, "<1>abc\n6 <1>abc\n"), (Records{{"<1>abc", kNone}, {"6 <1>abc", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kAuto, "12 monkeys\n2026-11-26 x\n"),
            (Records{{"12 monkeys", kNone}, {"2026-11-26 x", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kAuto, "12"), (Records{{"12", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kAuto, "12 "), (Records{{"12 ", kNone}}));
  EXPECT_EQ(frame_every_way(Framing::kAuto, "\n\n3 <a>"), (Records{{"<a>", kNone}}));
}

TEST(Framing, ASuccessorWithALowerLimitFinishesTheRecord) {
  Collect sink;
  Framer first(Framing::kOctetCounted, 100);
  first.feed("30 0123456789", sink);
  Framer second(first.state(), 5);
  second.feed("012345678901234567891 z", sink);
  second.finish(sink);
  ASSERT_EQ(sink.records.size(), 2U);
  EXPECT_EQ(sink.records[0], (std::pair<std::string, FrameFault>("01234567890", kCut)));
  EXPECT_EQ(sink.records[1], (std::pair<std::string, FrameFault>("z", kNone)));
}

TEST(Framing, RandomStreamsInRandomPieces) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SeededRandom random(seed);
    const auto framing = static_cast<Framing>(random.below(3));
    std::string bytes;
    for (std::uint64_t n = random.below(60); n > 0; --n) bytes += "0123 <\n\r\nab59"[random.below(13)];
    const std::size_t most = 1 + random.below(8);
    std::vector<std::string_view> pieces;
    for (std::string_view rest = bytes; !rest.empty();) {
      pieces.push_back(rest.substr(0, 1 + random.below(7)));
      rest.remove_prefix(pieces.back().size());
    }
    ASSERT_EQ(frame(framing, pieces, most), frame(framing, {bytes}, most)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace outlast::ingest
