#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace outlast::sql::pgwire {

// What a client may say, protocol v3. Parsing is pure: bytes in, a message or an error out, and never a read past the
// end. Text fields are owned: a message outlives the buffer that it came from. Thread-safety: any thread.

inline constexpr std::uint32_t kProtocol3 = 3u << 16;
inline constexpr std::size_t kStartupBytesMax = 10'000;  ///< As PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
inline constexpr std::size_t kCancelKeyBytesMax = 256;   ///< Protocol 3.2's limit; 3.0 uses 4.

// The first packet of a connection has no type byte.
struct SslRequest {};
struct GssEncRequest {};
struct CancelRequest {
  std::int32_t pid{0};
  std::string key;
};
struct StartupMessage {
  std::uint16_t major{3}, minor{0};
  std::vector<std::pair<std::string, std::string>> parameters;
  /// The last value wins, as in PostgreSQL; nullopt when absent.
  std::optional<std::string> parameter(std::string_view name) const;
};
using StartupPacket = std::variant<SslRequest, GssEncRequest, CancelRequest, StartupMessage>;

/// The length that the first four bytes announce (itself included), or nullopt for one that no PostgreSQL client sends:
/// an HTTP request, a TLS hello or noise, to be closed without an answer. Precondition: at least 4 bytes.
std::optional<std::size_t> startup_length(std::string_view first_bytes);
/// `body` is the packet after its length word. Errors: kProtocolViolation. A StartupMessage of another major version is
/// returned with its version and without parameters: the session answers it.
Result<StartupPacket> parse_startup(std::string_view body);

struct Query {
  std::string text;
};
struct Parse {
  std::string name, text;
  std::vector<std::uint32_t> parameter_types;
};
struct Bind {
  std::string portal, statement;
  std::vector<std::int16_t> parameter_formats;
  std::vector<std::optional<std::string>> parameters;
  std::vector<std::int16_t> result_formats;
};
/// Describe and Close: 'S' names a prepared statement, 'P' a portal.
struct Describe {
  char kind{'S'};
  std::string name;
};
struct Close {
  char kind{'S'};
  std::string name;
};
struct Execute {
  std::string portal;
  std::uint32_t max_rows{0};  ///< 0 = all; a negative number on the wire means the same.
};
struct Flush {};
struct Sync {};
struct Terminate {};
struct CopyData {
  std::string bytes;
};
struct CopyDone {};
struct CopyFail {
  std::string reason;
};
/// Password, SASL and GSS answers share one type byte; authentication decides which it is.
struct PasswordMessage {
  std::string bytes;
};
struct FunctionCall {};
using Message = std::variant<Query, Parse, Bind, Describe, Close, Execute, Flush, Sync, Terminate, CopyData, CopyDone,
                             CopyFail, PasswordMessage, FunctionCall>;

/// One framed message: type byte and body, pointing into the reader's buffer.
struct Frame {
  char type{0};
  std::string_view body;
};

/// True for the type bytes that a client may send.
bool is_frontend_type(char type);
/// Messages of the extended protocol: after an error in one, everything up to Sync is skipped.
bool is_extended_type(char type);
/// Errors: kProtocolViolation; the frame was consumed whole, so the conversation may go on.
Result<Message> parse_message(const Frame& frame);

/// Finds frames in a stream of bytes. Holds only what has arrived: a frame that announces 200 MiB costs memory as its
/// bytes come in, not before. Thread-safety: none.
class FrameReader {
 public:
  explicit FrameReader(std::size_t message_bytes_max) : max_(message_bytes_max) {}
  /// Room for up to `n` more bytes at the end; follow with commit(). Invalidates frames.
  char* prepare(std::size_t n);
  void commit(std::size_t n);
  void append(std::string_view bytes);
  /// The next whole frame, which stays valid until prepare(), append() or consume(); nullopt: more bytes are needed.
  /// Errors: kProtocolViolation for an unknown type or a length below 4 or above the limit; the stream is lost then.
  Result<std::optional<Frame>> peek() const;
  /// Drops the frame that peek() returned.
  void consume();
  /// The type byte of the frame after the current one, 0 when it has not arrived. Precondition: as consume().
  char type_after_current() const;
  std::string_view buffered() const { return std::string_view(bytes_).substr(begin_, end_ - begin_); }
  /// Drops `n` bytes from the front: start-up packets, which are not frames.
  void skip(std::size_t n);

 private:
  std::size_t max_;
  std::string bytes_;
  std::size_t begin_{0}, end_{0};  ///< Invariant: begin_ <= end_ <= bytes_.size().
};

/// True when `text` is well-formed UTF-8 without NUL.
bool is_valid_text(std::string_view text);

}  // namespace outlast::sql::pgwire
