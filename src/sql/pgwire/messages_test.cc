#include "sql/pgwire/messages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "sql/pgwire/backend_writer.h"
#include "sql/pgwire/cursor.h"

namespace outlast::sql::pgwire {
namespace {
using namespace std::string_literals;

std::string be32(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}
std::string frame(char type, const std::string& body) {
  return type + be32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}
Result<Message> parse(char type, const std::string& body) {
  return parse_message(Frame{type, body});
}

TEST(StartupPacket, ReadsParametersAndVersion) {
  const auto packet = parse_startup(be32(kProtocol3) + "user\0ann\0database\0d\0\0"s);
  ASSERT_TRUE(packet.ok());
  const auto& startup = std::get<StartupMessage>(*packet);
  EXPECT_EQ(startup.major, 3);
  EXPECT_EQ(startup.parameter("user"), "ann");
  EXPECT_EQ(startup.parameter("database"), "d");
  EXPECT_EQ(startup.parameter("options"), std::nullopt);
}

TEST(StartupPacket, RefusesAMissingTerminatorAndAHalfPair) {
  EXPECT_EQ(parse_startup(be32(kProtocol3) + "user\0ann\0"s).error().code, Errc::kProtocolViolation);
  EXPECT_EQ(parse_startup(be32(kProtocol3) + "user\0\0"s).error().code, Errc::kProtocolViolation);
  EXPECT_EQ(parse_startup(be32(kProtocol3) + "user\0ann\0\0junk"s).error().code, Errc::kProtocolViolation);
  EXPECT_EQ(parse_startup("abc").error().code, Errc::kProtocolViolation);
}

TEST(StartupPacket, KnowsSslGssAndCancel) {
  EXPECT_TRUE(std::holds_alternative<SslRequest>(*parse_startup(be32(80877103))));
  EXPECT_TRUE(std::holds_alternative<GssEncRequest>(*parse_startup(be32(80877104))));
  const auto cancel = parse_startup(be32(80877102) + be32(77) + "wxyz");
  ASSERT_TRUE(cancel.ok());
  EXPECT_EQ(std::get<CancelRequest>(*cancel).pid, 77);
  EXPECT_EQ(std::get<CancelRequest>(*cancel).key, "wxyz");
  EXPECT_TRUE(parse_startup(be32(80877102) + be32(1) + std::string(256, 'k')).ok());
  EXPECT_FALSE(parse_startup(be32(80877102) + be32(1) + std::string(257, 'k')).ok());
  EXPECT_FALSE(parse_startup(be32(80877102) + be32(1)).ok());
}

TEST(StartupPacket, TakesNoLengthOfHttpTlsOrNoise) {
  EXPECT_EQ(startup_length("GET / HT"), std::nullopt);
  EXPECT_EQ(startup_length("\x16\x03\x01\x02"s), std::nullopt);
  EXPECT_EQ(startup_length(be32(4)), std::nullopt);
  EXPECT_EQ(startup_length(be32(10'001)), std::nullopt);
  EXPECT_EQ(startup_length(be32(10'000)), 10'000u);
  EXPECT_EQ(startup_length(be32(8)), 8u);
}

TEST(FrontendMessage, BindKeepsNullsFormatsAndBytes) {
  const std::string body = "p\0s\0"s + "\0\1\0\1"s + "\0\2"s + be32(0xffffffff) + be32(3) + "a\0b"s + "\0\2\0\0\0\1"s;
  const auto message = parse('B', body);
  ASSERT_TRUE(message.ok());
  const auto& bind = std::get<Bind>(*message);
  EXPECT_EQ(bind.portal, "p");
  EXPECT_EQ(bind.statement, "s");
  EXPECT_EQ(bind.parameter_formats, (std::vector<std::int16_t>{1}));
  ASSERT_EQ(bind.parameters.size(), 2u);
  EXPECT_EQ(bind.parameters[0], std::nullopt);
  EXPECT_EQ(bind.parameters[1], "a\0b"s);
  EXPECT_EQ(bind.result_formats, (std::vector<std::int16_t>{0, 1}));
}

TEST(FrontendMessage, RefusesBodiesThatDoNotFitTheirLength) {
  EXPECT_FALSE(parse('Q', "select 1").ok());       // no NUL
  EXPECT_FALSE(parse('Q', "select 1\0x"s).ok());   // bytes behind it
  EXPECT_FALSE(parse('P', "\0\0\xff\xff"s).ok());  // 65535 types announced, none there
  EXPECT_FALSE(parse('B', "\0\0\0\0\0\1"s + be32(5) + "abc" + "\0\0"s).ok());
  EXPECT_FALSE(parse('B', "\0\0\0\0\0\1"s + be32(0xfffffffe) + "\0\0"s).ok());
  EXPECT_FALSE(parse('S', "x").ok());
  EXPECT_FALSE(parse('D', "Zname\0"s).ok());
  EXPECT_FALSE(parse('!', "").ok());
  EXPECT_EQ(parse('E', "\0"s + be32(0xffffffff)).value().index(), Message(Execute{}).index());
  EXPECT_EQ(std::get<Execute>(*parse('E', "\0"s + be32(0xffffffff))).max_rows, 0u);
}

TEST(FrameReader, GivesFramesWhateverTheChunksAre) {
  const std::string stream = frame('Q', "select 1\0"s) + frame('S', "") + frame('d', std::string(70'000, 'x'));
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{3}, std::size_t{4096}, stream.size()}) {
    FrameReader reader(100'000);
    std::string types;
    std::size_t bytes = 0;
    for (std::size_t at = 0; at < stream.size(); at += chunk) {
      reader.append(std::string_view(stream).substr(at, chunk));
      for (;;) {
        const auto next = reader.peek();
        ASSERT_TRUE(next.ok());
        if (!*next) break;
        types += (*next)->type;
        bytes += (*next)->body.size();
        reader.consume();
      }
    }
    EXPECT_EQ(types, "QSd") << chunk;
    EXPECT_EQ(bytes, 9u + 70'000u) << chunk;
  }
}

TEST(FrameReader, RefusesUnknownTypesAndBadLengthsBeforeTheirBodyComes) {
  FrameReader unknown(1000);
  unknown.append("z");
  EXPECT_EQ(unknown.peek().error().code, Errc::kProtocolViolation);
  FrameReader shorter(1000);
  shorter.append("Q" + be32(3));
  EXPECT_EQ(shorter.peek().error().code, Errc::kProtocolViolation);
  FrameReader longer(1000);
  longer.append("Q" + be32(1005));
  EXPECT_EQ(longer.peek().error().code, Errc::kProtocolViolation);
  FrameReader fits(1000);
  fits.append("Q" + be32(1004));
  ASSERT_TRUE(fits.peek().ok());
  EXPECT_FALSE(fits.peek()->has_value());
}

TEST(FrameReader, TellsTheTypeBehindTheCurrentFrame) {
  FrameReader reader(1000);
  reader.append(frame('E', "\0\0\0\0\0"s));
  ASSERT_TRUE(*reader.peek());
  EXPECT_EQ(reader.type_after_current(), '\0');
  reader.append(frame('S', ""));
  EXPECT_EQ(reader.type_after_current(), 'S');
}

// Random bytes, seeded: OUTLAST_SEED=<n> replays one run.
TEST(FrameReader, NeverReadsPastTheEndOfNoise) {
  const char* given = std::getenv("OUTLAST_SEED");
  const unsigned long seed = given != nullptr ? std::strtoul(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("OUTLAST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string body(random() % 40, '\0');
    for (char& c : body) c = random() % 3 == 0 ? '\0' : static_cast<char>(random());
    const std::string exact(body.data(), body.size());  // its own allocation: sanitizers see one byte too far
    (void)parse_startup(exact);
    for (const char type : "QPBDCEHSXdcfpF"s) (void)parse(type, exact);
    (void)is_valid_text(exact);
  }
}

TEST(ValidText, FollowsUnicodeAndRefusesNul) {
  EXPECT_TRUE(is_valid_text("plain"));
  EXPECT_TRUE(is_valid_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x98"));
  EXPECT_FALSE(is_valid_text("a\0b"s));
  EXPECT_FALSE(is_valid_text("\xc0\xaf"));          // overlong
  EXPECT_FALSE(is_valid_text("\xe0\x80\xaf"));      // overlong
  EXPECT_FALSE(is_valid_text("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(is_valid_text("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_FALSE(is_valid_text("cut \xf0\x9f\x90"));
  for (std::size_t at = 0; at < 20; ++at) {
    std::string text(20, '\x01');
    EXPECT_TRUE(is_valid_text(text));
    text[at] = '\0';
    EXPECT_FALSE(is_valid_text(text)) << at;
    text[at] = '\x80';
    EXPECT_FALSE(is_valid_text(text)) << at;
  }
}

TEST(BackendWriter, WritesLengthsAndErrorFields) {
  BackendWriter out;
  out.ready_for_query('I');
  EXPECT_EQ(out.bytes(), "Z" + be32(5) + "I");
  out.clear();
  Error error(Errc::kSyntax, "bad");
  error.hint = "do better";
  error.position = 7;
  out.report(Severity::kError, error, "42601");
  const std::string body = "SERROR\0VERROR\0C42601\0Mbad\0Hdo better\0P7\0\0"s;
  EXPECT_EQ(out.bytes(), "E" + be32(static_cast<std::uint32_t>(body.size() + 4)) + body);
}

TEST(BackendWriter, DropsARowThatWasGivenUp) {
  BackendWriter out;
  out.parse_complete();
  out.begin_row(2);
  out.value("x");
  out.abandon_row();
  out.command_complete("SELECT 0");
  EXPECT_EQ(out.bytes(), "1" + be32(4) + "C" + be32(13) + "SELECT 0\0"s);
}
}  // namespace
}  // namespace outlast::sql::pgwire
