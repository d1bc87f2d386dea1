#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ingest/input/framing.h"
#include "ingest/input/limits.h"
#include "ingest/input/socket.h"
#include "ingest/input/stats.h"
#include "ingest/intake.h"

namespace outlast::ingest {

/// What every input needs to know. Sizes in bytes, 0 means no limit where that is said.
struct InputOptions {
  std::string name;  ///< For messages.
  std::string tag;
  Ack ack{Ack::kReceived};
  ListenAddress listen;
  int socket{-1};  ///< Bound (and listening) already, given by a supervisor; `listen` is not used then. Taken over.
  std::size_t message_size_max{64 << 10};
  AllowList allow;
  double rate_max{0};    ///< Records per second, 0: no limit. UDP drops and counts, TCP waits, HTTP answers 429.
  Instant read_since{};  ///< StopReport::read_until of the reader before, so that the gap between the two counts.
  RecordBatch held;      ///< StopReport::held of the reader before: goes before all that is read. Not for HTTP.
  bool closed{false};    ///< Begins as after close().
  Duration close_wait{std::chrono::seconds(10)};  ///< So long connections may say something after close().

  // UDP.
  Duration pause{std::chrono::milliseconds(500)};  ///< How long nobody may read without a drop: a restart's switch.
  std::uint64_t receive_buffer_min{16 << 20};
  std::uint64_t receive_buffer_max{256 << 20};

  // TCP.
  Framing framing{Framing::kNewline};
  std::size_t connections_max{20'000};
  Duration idle_max{0};  ///< A connection that says nothing for so long is closed; 0: never.
  Duration record_time_max{std::chrono::minutes(10)};  ///< So long a record may take to arrive; 0: for ever.

  // HTTP.
  std::size_t body_max{16 << 20};
  std::size_t unpacked_max{64 << 20};
  Duration request_time_max{std::chrono::seconds(60)};  ///< So long a request may take to arrive.
  Duration keep_alive_max{std::chrono::seconds(75)};    ///< So long a connection may say nothing between two.
  Duration room_wait{std::chrono::seconds(5)};          ///< After so long without room the answer is 429.
  Duration ack_wait{std::chrono::seconds(60)};          ///< After so long without the Ack the answer is 503.
  Duration stop_wait{std::chrono::seconds(10)};         ///< So long stop() waits for requests under way.
};

/// A connection on its way to a successor: nothing of it is lost, nothing is read twice.
struct MovedConnection {
  Fd fd;
  std::string peer;
  FramingState state;  ///< For HTTP: only `unfinished`, the bytes of a request that has begun.
};

/// How an input ended.
struct StopReport {
  std::uint64_t records{0};       ///< As the counter.
  std::uint64_t kernel_drops{0};  ///< Since the start.
  Instant read_until{};           ///< When it last read, or saw that nothing was there.
  RecordBatch held;               ///< Read, but the intake had no room: the caller's to keep.
};

/// A reader of one socket, with a thread of its own.
/// Thread-safety: all from any thread, one call at a time; counters(), is_closed(), close() and reopen() at any time.
class Input {
 public:
  virtual ~Input() = default;
  virtual Result<void> start() = 0;
  /// When it returns, the thread has ended, what was read is put or in the report, and nothing more will be read. The
  /// socket is closed here and not shut down: whoever else holds it goes on. Again: the same report, nothing held.
  virtual StopReport stop() = 0;
  /// Senders are refused from now on, and those with a connection are told: TCP ends its direction and reads until they
  /// end theirs, HTTP answers what is under way with `Connection: close`. What the kernel has is read and put, however
  /// long there is no room; is_closed() says when that is done. Again: nothing.
  virtual void close() = 0;
  virtual bool is_closed() const = 0;
  /// Takes close() back; who was told stays told.
  virtual void reopen() = 0;
  using Later = std::function<void(MovedConnection)>;
  /// Stops taking connections and gives away those that there are, with what has come of their next record; what was
  /// read is put. Those that wait for an answer follow through `later` behind it, on any thread, until stop() returns;
  /// without it they are closed then. Only stop() may follow.
  virtual std::vector<MovedConnection> release_connections(Later later = nullptr) {
    (void)later;
    return {};
  }
  /// Goes on with a connection of a predecessor. Precondition: start() was called.
  virtual void adopt(MovedConnection connection) { (void)connection; }
  virtual InputCounters counters() const = 0;
  /// Of the socket; 0 after stop().
  virtual std::uint16_t port() const = 0;
  /// What the operator should change, one sentence; empty when nothing.
  virtual std::string warning() const { return {}; }
};

enum class InputType : std::uint8_t { kUdp, kTcp, kHttp };
/// Syslog is kUdp, or kTcp with Framing::kAuto: here only frames matter. The intake outlives the input.
std::unique_ptr<Input> make_input(InputType type, InputOptions options, Intake& intake);

}  // namespace outlast::ingest
