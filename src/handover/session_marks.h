#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace outlast::handover {

/// What the new worker does with a session that it was given, as the old worker reads it if the new one dies before the
/// point of no return: only a session that waits for its client, in the state last told, can be taken back.
enum class SessionMark : std::uint8_t {
  kWaiting,    ///< As last told (HandoverSession, HandoverUpdate); nothing was read since.
  kServing,    ///< Bytes were read, nothing of an answer was written: the client can be told 08006.
  kAnswering,  ///< Part of an answer may be on the wire: only closing is left.
  kEnded,
};

/// One mark for each session of a handover, in memory that both workers share: it outlives the one that dies.
/// Thread-safety: any thread. Lifetime: fd() may be passed on; the other side maps it with open().
class SessionMarks {
 public:
  static constexpr std::uint32_t kSlots = 1U << 17;
  static Result<std::unique_ptr<SessionMarks>> create();
  /// Takes the descriptor over. kInvalidArgument when it is not such memory.
  static Result<std::unique_ptr<SessionMarks>> open(int fd);
  ~SessionMarks();
  SessionMarks(const SessionMarks&) = delete;
  SessionMarks& operator=(const SessionMarks&) = delete;

  int fd() const { return fd_; }
  void set(std::uint32_t slot, SessionMark mark) { at(slot).store(mark, std::memory_order_release); }
  SessionMark get(std::uint32_t slot) const { return at(slot).load(std::memory_order_acquire); }

 private:
  SessionMarks(int fd, std::atomic<SessionMark>* marks) : fd_(fd), marks_(marks) {}
  std::atomic<SessionMark>& at(std::uint32_t slot) const {
    OUTLAST_ASSERT(slot < kSlots, "a session's slot is out of range");
    return marks_[slot];
  }
  const int fd_;
  std::atomic<SessionMark>* const marks_;
};

}  // namespace outlast::handover
