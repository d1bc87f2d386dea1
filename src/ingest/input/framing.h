#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace outlast::ingest {

/// How records follow one another on a connection (RFC 6587).
enum class Framing : std::uint8_t {
  kAuto,          ///< As the connection's first frame: "LENGTH SP <" is octet-counted, everything else newline.
  kNewline,       ///< Each ends with LF or CR LF.
  kOctetCounted,  ///< "LENGTH SP RECORD".
};

/// What is wrong with a record that was kept nevertheless.
enum class FrameFault : std::uint8_t {
  kNone,
  kCut,        ///< Longer than message_size_max: its beginning.
  kBroken,     ///< No length where one should be: everything up to the next LF.
  kTruncated,  ///< The connection ended before the record did.
};
/// Put behind the bytes of a faulty record, so that the fault travels with it: " [outlast: cut]".
std::string_view fault_mark(FrameFault fault);

/// Where a connection stands between two bytes: all that a successor needs to go on.
struct FramingState {
  enum class Phase : std::uint8_t { kStart, kLine, kSkipLine, kBody, kSkipBody };
  Framing framing{Framing::kNewline};  ///< kAuto: not known yet.
  Phase phase{Phase::kStart};
  bool broken{false};      ///< The line is one because a length was missing.
  std::uint64_t left{0};   ///< Bytes still to come of an octet-counted record.
  std::string unfinished;  ///< What has come of the present record, or of its length.
};

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// Lifetime: `bytes` is valid during the call.
  virtual void record(std::string_view bytes, FrameFault fault) = 0;
};

/// Cuts a byte stream into records. The records do not depend on how the bytes come in pieces. A record that lies
/// within one piece is not copied. Empty lines are no records.
/// Thread-safety: none.
class Framer {
 public:
  Framer(Framing framing, std::size_t record_max);
  /// Goes on where another stopped.
  Framer(FramingState state, std::size_t record_max);
  void feed(std::string_view bytes, FrameSink& sink);
  /// The connection has ended: what is left is a record, truncated if it had a length.
  void finish(FrameSink& sink);
  bool between_records() const { return state_.phase == Phase::kStart && state_.unfinished.empty(); }
  const FramingState& state() const { return state_; }

 private:
  using Phase = FramingState::Phase;
  void start(std::string_view& bytes);
  bool count(char c);
  void count_ended();
  void begin_line(bool broken);
  void line(std::string_view& bytes, FrameSink& sink);
  void skip_line(std::string_view& bytes);
  void body(std::string_view& bytes, FrameSink& sink);
  void end_line(std::string_view whole, FrameSink& sink);
  void end_record();

  FramingState state_;
  std::size_t record_max_;
};

}  // namespace outlast::ingest
