#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace outlast::handover {

/// How far a handover is (protocol A8). kStorageReleased is the point of no return: before it any failure leaves the
/// old worker as it was, after it only a new worker can go on.
enum class HandoverState : std::uint8_t {
  kIdle,
  kTrial,            ///< The new binary is tried: `outlast start --check`.
  kStandby,          ///< The new worker starts, routes, owns nothing.
  kSessions,         ///< Sessions and leases leave the old worker; the new one serves what it got.
  kStorageReleased,  ///< The old worker owns nothing any more, the new one opens the store.
  kOwned,            ///< The new worker owns the store.
  kDone,             ///< The old process is gone.
};
inline constexpr std::array<HandoverState, 7> kAllHandoverStates = {
    HandoverState::kIdle,     HandoverState::kTrial,           HandoverState::kStandby,
    HandoverState::kSessions, HandoverState::kStorageReleased, HandoverState::kOwned,
    HandoverState::kDone};
/// Stable words for logs, JSON and messages: "idle", "trial", "standby", "sessions", "storage_released", "owned",
/// "done".
std::string_view to_string(HandoverState state);

/// For tests that kill or stop a process in a certain state: OUTLAST_HANDOVER_HOLD is a list of
/// "<role>:<state>:<path>" with commas between. Where one names this role ("old", "new", "supervisor") and state, opens
/// the FIFO at path for reading, which waits until the test has opened it too, and returns when the test has closed it.
/// Does nothing otherwise, and where there is no such FIFO.
void hold_point(std::string_view role, HandoverState state);

}  // namespace outlast::handover
