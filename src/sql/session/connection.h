#pragma once
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>

#include "base/loop.h"
#include "sql/pgwire/backend_writer.h"
#include "sql/pgwire/messages.h"
#include "sql/session/session_host.h"
#include "sql/session/session_teller.h"
#include "sql/session/stream.h"

namespace outlast::sql {

/// What a session is doing, for the watchdog and for stopping.
enum class Phase : std::uint8_t {
  kStartup,        ///< Until the first ReadyForQuery.
  kIdle,           ///< Waits for the client, outside a transaction.
  kInTransaction,  ///< Waits for the client, inside one.
  kBusy,           ///< Runs a statement, or waits for COPY data.
  kWriting,        ///< Waits until the client has read.
};

/// Frames in and messages out over one stream, with bounded memory both ways. `out` collects messages; they leave with
/// flush(), or with flush_if_full() once SessionOptions::output_bytes are waiting.
/// Thread-safety: the session's strand, except phase() and since() (any thread).
class Connection {
 public:
  Connection(SessionHost& host, std::unique_ptr<Stream> stream)
      : host_(host), stream_(std::move(stream)), in_(host.options.message_bytes_max) {
    enter(Phase::kStartup);
  }
  pgwire::BackendWriter out;
  SessionTeller teller;  ///< Told of every read and write, before it happens.

  /// Makes at least one more byte arrive; false at the end of the stream. kCancelled after wake().
  boost::asio::awaitable<Result<bool>> fill();
  /// The next frame, valid until the next call; nullopt when the client is gone. Errors: kProtocolViolation when the
  /// stream cannot be followed any more, kUnavailable, kCancelled (wake()).
  boost::asio::awaitable<Result<std::optional<pgwire::Frame>>> next_frame();
  boost::asio::awaitable<Result<void>> flush() { return write_out(false); }
  /// flush() of an answer behind which nothing but waiting comes: kCancelled after cut_answer(), the rest is in `out`.
  boost::asio::awaitable<Result<void>> flush_answer() { return write_out(true); }
  /// What the kernel takes now; the rest stays in `out`.
  Result<void> flush_now();
  bool full() const { return out.size() >= host_.options.output_bytes; }

  /// Type byte of the frame that waits behind the current one, 0 when unknown.
  char next_type() const;
  /// A whole frame, or what is none, is here already: the next next_frame() reads nothing.
  bool frame_waits() const;
  /// Drops the frame that next_frame() returned last: nobody looks at it any more.
  void drop_taken();
  bool input_empty() const { return in_.buffered().size() == taken_bytes(); }
  pgwire::FrameReader& input() { return in_; }
  const pgwire::FrameReader& input() const { return in_; }
  Stream& stream() { return *stream_; }

  /// Ends the present wait for the client, and every one until unwake().
  void wake() {
    woken_ = true;
    if (reading_) stream_->cancel_read();  // never a write: half a message on the wire ends the conversation
  }
  void unwake() { woken_ = false; }
  /// Ends flush_answer(), if that is what waits.
  void cut_answer() {
    if (answering_) stream_->cancel_write();
  }
  bool reading() const { return reading_; }
  bool answering() const { return answering_; }

  void enter(Phase phase);
  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  Instant since() const { return Instant(Duration(since_.load(std::memory_order_acquire))); }

 private:
  boost::asio::awaitable<Result<void>> write_out(bool may_cut);
  std::size_t taken_bytes() const { return taken_ ? taken_->body.size() + 5 : 0; }
  SessionHost& host_;
  std::unique_ptr<Stream> stream_;
  pgwire::FrameReader in_;
  std::size_t read_bytes_{1024};  ///< Room for the next read: little, while that is enough. Idle clients are many.
  std::optional<pgwire::Frame> taken_;  ///< Handed out, dropped with the next next_frame().
  bool woken_{false};
  bool reading_{false};
  bool answering_{false};  ///< flush_answer() runs.
  std::atomic<Phase> phase_{Phase::kStartup};
  std::atomic<std::int64_t> since_{0};
};

}  // namespace outlast::sql
