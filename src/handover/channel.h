#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/result.h"
#include "proto/handover.pb.h"

namespace outlast::handover {

/// Version and capabilities of this program's side of a handover.
inline constexpr std::uint32_t kHandoverVersion = 1;
enum HandoverCapability : std::uint64_t {
  kCapSessions = 1,        ///< Sessions move.
  kCapSessionUpdates = 2,  ///< The new side tells what a session became and keeps the shared marks.
};
inline constexpr std::uint64_t kHandoverCapabilities = kCapSessions | kCapSessionUpdates;

/// One end of the socket pair between two workers: frames of a length (4 bytes, little-endian) and a HandoverMessage, a
/// descriptor along with the first byte of a frame that has one. Never blocks: what the kernel does not take waits
/// here. Errors: kUnavailable when the other side is gone, kProtocolViolation for what is no frame; then nothing is
/// left but to close. Thread-safety: none. Lifetime: owns its end.
class HandoverChannel {
 public:
  static constexpr std::size_t kFrameMax = 64U << 20;
  /// Takes a connected Unix stream socket over.
  explicit HandoverChannel(int fd);
  ~HandoverChannel();
  HandoverChannel(const HandoverChannel&) = delete;
  HandoverChannel& operator=(const HandoverChannel&) = delete;

  int fd() const { return fd_; }
  /// Queues and writes what the kernel takes. `passed` is taken over and closed once it is sent; -1: none.
  Result<void> send(const proto::HandoverMessage& message, int passed = -1);
  /// Writes more; wants_write() says whether something waits for POLLOUT.
  Result<void> flush();
  bool wants_write() const { return !out_.empty(); }
  struct Received {
    proto::HandoverMessage message;
    int fd{-1};  ///< The receiver's to close.
  };
  /// nullopt: no whole frame is there now. What the other side said before it died comes before kUnavailable.
  Result<std::optional<Received>> receive();

 private:
  struct Frame {
    std::string bytes;
    std::size_t sent{0};
    int fd{-1};
  };
  Result<std::optional<Received>> take_frame();

  const int fd_;
  std::deque<Frame> out_;
  std::string in_;                                 ///< A buffer: what was received is [used_, filled_).
  std::size_t used_{0};                            ///< Bytes of in_ that were handed out.
  std::size_t filled_{0};                          ///< Bytes of in_ that were received.
  std::deque<std::pair<std::uint64_t, int>> fds_;  ///< Offset in the stream of a byte of its frame.
  std::uint64_t stream_at_{0};                     ///< Offset of in_[0] in the stream.
};

}  // namespace outlast::handover
