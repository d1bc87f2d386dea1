#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/buffer/chunk_buffer.h"
#include "ingest/intake.h"
#include "ingest/parse/parser.h"
#include "ingest/sink/compress.h"
#include "ingest/sink/text_writer.h"
#include "ingest/tag_pattern.h"

namespace outlast::ingest {

enum class InputKind : std::uint8_t { kUdp, kTcp, kSyslog, kHttp };
enum class FramingKind : std::uint8_t { kNewline, kOctetCounted, kAuto };

/// One [[input]].
struct InputConfig {
  InputKind kind{InputKind::kUdp};
  std::string name;     ///< Unique; the type when not given.
  bool stream{false};   ///< syslog: over TCP ("tcp://…").
  std::string address;  ///< "0.0.0.0:5140": `listen` without its scheme.
  std::string tag;      ///< {name} is put in.
  ParserOptions parser;
  std::uint64_t message_bytes_max{64U << 10};
  std::vector<std::string> allow;  ///< Networks; none: everybody.
  double rate_max{0};              ///< Records a second; 0: any.
  Ack ack{Ack::kReceived};
  FramingKind framing{FramingKind::kNewline};
};

enum class SinkKind : std::uint8_t { kFile, kStdout, kTable, kForward };

/// [sink.buffer], or [source_only_buffer], which has the first three.
struct BufferConfig {
  bool file{false};
  std::string
      path;  ///< file: the directory; of [source_only_buffer] the one above NAME/ of each sink, which may be empty.
  BufferLimits limits;
  bool flush_at_shutdown{true};  ///< Fluentd's: by default only of a memory buffer.
  std::string secondary_path;    ///< Where chunks go that were given up; empty: PATH/secondary of a file buffer.
};

/// One [[sink]].
struct SinkConfig {
  SinkKind kind{SinkKind::kFile};
  std::string name;  ///< Unique; the type when not given.
  TagPattern match;
  BufferConfig buffer;
  LineForm form{LineForm::kRaw};                ///< file, stdout: `template`
  std::string path;                             ///< file
  std::uint64_t rotate_bytes{0};                ///< file: rotate_size
  Duration rotate_time{0};                      ///< file
  Compression compression{Compression::kNone};  ///< file: compress
  std::string database, table;                  ///< table
  std::string url;                              ///< forward
};

struct IngestConfig {
  std::vector<InputConfig> inputs;
  std::vector<SinkConfig> sinks;
  std::optional<BufferConfig> source_only;
};

/// The [[input]], [[sink]] and [source_only_buffer] tables of a configuration file; other keys are not looked at.
/// Errors: kInvalidArgument names file, line and what is allowed there. Pure.
Result<IngestConfig> parse_ingest_config(std::string_view text, const std::string& file);

}  // namespace outlast::ingest
