#include "ingest/config.h"

#include <gtest/gtest.h>

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;

IngestConfig parse(const std::string& text) {
  auto config = parse_ingest_config(text, "f.toml");
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? std::move(config).value() : IngestConfig{};
}

std::string mistake(const std::string& text) {
  const auto config = parse_ingest_config(text, "f.toml");
  EXPECT_FALSE(config.ok()) << text;
  return config.ok() ? "" : config.error().message;
}

const std::string kSink = "[[sink]]\ntype = \"stdout\"\n";
const std::string kInput = "[[input]]\ntype = \"tcp\"\nlisten = \"tcp://0.0.0.0:5000\"\n";

TEST(IngestConfig, ReadsAWholeOne) {
  const IngestConfig config = parse(R"(
sql-addr = "127.0.0.1:26257"   # an option of the node: somebody else's

[[input]]
type = "syslog"
name = "net"
listen = "udp://0.0.0.0:5140"
tag = "app.{name}"
timezone = "+02:00"
allow = ["10.0.0.0/8"]
message_size_max = "8KiB"
rate_max = 5000

[[input]]
type = "http"
listen = "http://[::1]:9880"
ack = "stored"

[[sink]]
type = "file"
match = "app.**"
path = "/var/log/app.log"
rotate_size = "1GiB"
rotate_time = "1d"
compress = "zstd"
template = "json"
  [sink.buffer]
  type = "file"
  path = "/var/lib/outlast/buffer"
  chunk_limit_size = "16MiB"
  flush_interval = 5
  flush_thread_count = 4
  overflow_action = "drop_oldest_chunk"
  fsync = "always"
  retry_max_interval = "1m"
  retry_forever = true

[[sink]]
type = "forward"
url = "http://10.0.0.5:9880/app"

[source_only_buffer]
total_limit_size = "1GiB"
)");
  ASSERT_EQ(config.inputs.size(), 2U);
  const InputConfig& syslog = config.inputs[0];
  EXPECT_EQ(syslog.tag, "app.net");
  EXPECT_EQ(syslog.address, "0.0.0.0:5140");
  EXPECT_FALSE(syslog.stream);
  EXPECT_EQ(syslog.parser.kind, ParserKind::kSyslog);
  EXPECT_EQ(syslog.parser.utc_offset, 7'200);
  EXPECT_EQ(syslog.message_bytes_max, 8'192U);
  EXPECT_EQ(syslog.rate_max, 5'000);
  EXPECT_EQ(syslog.ack, Ack::kReceived);
  EXPECT_EQ(config.inputs[1].ack, Ack::kStored);
  EXPECT_EQ(config.inputs[1].tag, "http");
  EXPECT_EQ(config.inputs[1].parser.kind, ParserKind::kJson);
  ASSERT_EQ(config.sinks.size(), 2U);
  const SinkConfig& file = config.sinks[0];
  EXPECT_TRUE(file.match.matches("app.net"));
  EXPECT_EQ(file.rotate_bytes, 1U << 30);
  EXPECT_EQ(file.rotate_time, 24h);
  EXPECT_EQ(file.compression, Compression::kZstd);
  EXPECT_EQ(file.form, LineForm::kJson);
  EXPECT_EQ(file.buffer.limits.chunk_bytes, 16U << 20);
  EXPECT_EQ(file.buffer.limits.flush_interval, 5s);
  EXPECT_EQ(file.buffer.limits.flush_threads, 4U);
  EXPECT_EQ(file.buffer.limits.overflow, Overflow::kDropOldestChunk);
  EXPECT_EQ(file.buffer.limits.sync, SyncPolicy::kAlways);
  EXPECT_EQ(file.buffer.limits.retry.max_interval, 1min);
  EXPECT_TRUE(file.buffer.limits.retry.forever);
  ASSERT_TRUE(config.source_only);
  EXPECT_EQ(config.source_only->limits.overflow, Overflow::kDropOldestChunk);
  EXPECT_EQ(config.source_only->limits.total_bytes, 1U << 30);
}

TEST(IngestConfig, HasFluentdsDefaults) {
  const IngestConfig config = parse(
      kInput + kSink + "[[sink]]\ntype = \"stdout\"\nname = \"b\"\n[sink.buffer]\ntype = \"file\"\npath = \"/b\"\n" +
      "[[sink]]\ntype = \"table\"\ntable = \"logs\"\n[sink.buffer]\ntype = \"file\"\npath = \"/c\"\n");
  const BufferConfig& memory = config.sinks[0].buffer;
  EXPECT_EQ(memory.limits.chunk_bytes, 8U << 20);
  EXPECT_EQ(memory.limits.total_bytes, 512U << 20);
  EXPECT_EQ(memory.limits.flush_interval, 60s);
  EXPECT_EQ(memory.limits.retry.wait, 1s);
  EXPECT_EQ(memory.limits.retry.base, 2);
  EXPECT_EQ(memory.limits.retry.timeout, 72h);
  EXPECT_TRUE(memory.flush_at_shutdown);
  EXPECT_EQ(memory.limits.flush_threads, 1U);
  const BufferConfig& file = config.sinks[1].buffer;
  EXPECT_EQ(file.limits.chunk_bytes, 256U << 20);
  EXPECT_EQ(file.limits.total_bytes, 64ULL << 30);
  EXPECT_FALSE(file.flush_at_shutdown);
  EXPECT_EQ(config.sinks[2].buffer.limits.chunk_bytes, 8U << 20) << "each is a transaction";
  EXPECT_TRUE(config.sinks[0].match.matches("any.thing"));
  EXPECT_EQ(config.inputs[0].framing, FramingKind::kNewline);
}

TEST(IngestConfig, NamesFileLineAndWhatIsAllowed) {
  EXPECT_EQ(mistake("[[input]]\ntype = \"carrier\"\n"),
            "f.toml:2: type: there is no \"carrier\"; there are \"http\", \"syslog\", \"tcp\", \"udp\"");
  EXPECT_EQ(mistake("[[input]]\ntype = \"tcp\"\n"),
            "f.toml:1: [[input]]: it needs listen, such as listen = \"udp://0.0.0.0:5140\"");
  EXPECT_EQ(mistake("[[input]]\ntype = \"tcp\"\nlisten = \"udp://h:1\"\n"),
            "f.toml:3: listen: an input of this type does not listen on \"udp\"");
  EXPECT_EQ(mistake(kSink + "mach = \"a\"\n"),
            "f.toml:3: there is no \"mach\" in [[sink]]; there are buffer, match, name, template, type");
  EXPECT_EQ(mistake(kSink + "[sink.buffer]\nchunk_limit_size = \"a lot\"\n"),
            "f.toml:4: chunk_limit_size: this is a size, such as \"64MiB\" or a number of bytes");
  EXPECT_EQ(mistake("[sink]\ntype = \"stdout\"\n"), "f.toml:1: write each one as [[sink]], with two brackets");
  EXPECT_EQ(mistake("a = \n").substr(0, 9), "f.toml:1:");
}

TEST(IngestConfig, RefusesWhatCannotWork) {
  EXPECT_NE(mistake(kInput).find("no [[sink]]"), std::string::npos);
  EXPECT_NE(mistake(kInput + "ack = \"stored\"\n" + kSink).find("told nothing"), std::string::npos);
  EXPECT_NE(mistake(kInput + kInput + kSink).find("two inputs are called \"tcp\""), std::string::npos);
  EXPECT_NE(mistake(kInput + "tag = \"a\"\nname = \"x\"\n" + kInput + "tag = \"a\"\nparser = \"json\"\n" + kSink)
                .find("one tag and two parsers"),
            std::string::npos);
  EXPECT_NE(mistake(kSink + kSink).find("two sinks are called"), std::string::npos);
  const std::string buffer = "[sink.buffer]\ntype = \"file\"\npath = \"/b\"\n";
  EXPECT_NE(mistake(kSink + buffer + kSink + "name = \"x\"\n" + buffer).find("one buffer path"), std::string::npos);
  EXPECT_NE(mistake(kSink + "[sink.buffer]\ntype = \"file\"\n").find("it needs path"), std::string::npos);
  EXPECT_NE(mistake(kSink + "[sink.buffer]\ntotal_limit_size = \"1MiB\"\n").find("larger than the whole buffer"),
            std::string::npos);
  EXPECT_NE(mistake(kSink + "match = \"a..b\"\n").find("no tag pattern"), std::string::npos);
  EXPECT_NE(mistake(kSink + "name = \"../x\"\n").find("a name is not empty"), std::string::npos);
  EXPECT_NE(mistake(kInput + "tag = \"a b\"\n" + kSink).find("no tag"), std::string::npos);
  EXPECT_NE(mistake(kInput + "parser = \"regexp\"\nexpression = \"(\"\n" + kSink).find("RE2"), std::string::npos);
  EXPECT_NE(mistake(kInput + "expression = \"x\"\n" + kSink).find("only parser"), std::string::npos);
  EXPECT_NE(mistake("[[sink]]\ntype = \"forward\"\nurl = \"https://x\"\n").find("no address to forward to"),
            std::string::npos);
  for (const char* listen : {"tcp://", "tcp://x", "tcp://x:y", "tcp://x:70000", "x:1"})
    EXPECT_NE(mistake("[[input]]\ntype = \"tcp\"\nlisten = \"" + std::string(listen) + "\"\n" + kSink), "");
}

TEST(IngestConfig, SourceOnlyHasFluentdsDefaultsToo) {
  const BufferConfig file = *parse("[source_only_buffer]\n").source_only;
  EXPECT_TRUE(file.file);
  EXPECT_TRUE(file.path.empty()) << "in the store";
  EXPECT_EQ(file.limits.chunk_bytes, 256U << 20);
  EXPECT_EQ(file.limits.total_bytes, 64ULL << 30);
  EXPECT_EQ(file.limits.flush_interval, 10s);
  EXPECT_EQ(file.limits.flush_threads, 1U);
  EXPECT_EQ(file.limits.overflow, Overflow::kDropOldestChunk);
  const BufferConfig memory = *parse("[source_only_buffer]\ntype = \"memory\"\n").source_only;
  EXPECT_FALSE(memory.file);
  EXPECT_EQ(memory.limits.total_bytes, 512U << 20);
  EXPECT_NE(mistake("[source_only_buffer]\nretry_wait = 1\n").find("there is no \"retry_wait\""), std::string::npos)
      << "retries are the sink's";
  EXPECT_NE(mistake("[source_only_buffer]\ntype = \"memory\"\npath = \"/x\"\n").find("path"), std::string::npos);
  EXPECT_EQ(
      mistake(kSink + "name = \"a\"\n[sink.buffer]\ntype = \"file\"\npath = \"/b/a\"\n" +
              "[source_only_buffer]\npath = \"/b\"\n"),
      "f.toml:7: source_only_buffer and the buffer of the sink \"a\" have one directory, /b/a; give each one of its "
      "own");
}

TEST(IngestConfig, NothingIsNoMistake) {
  const IngestConfig config = parse("store = \"/data\"\n");
  EXPECT_TRUE(config.inputs.empty());
  EXPECT_FALSE(config.source_only);
}

}  // namespace
}  // namespace outlast::ingest
