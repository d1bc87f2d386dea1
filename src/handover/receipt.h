#pragma once
#include <string>

#include "handover/restart_machine.h"

namespace outlast::handover {

/// What a receipt holds besides the machine's record.
struct ReceiptFacts {
  std::string from_version, to_version;
  std::string workers_half;  ///< JSON of the new worker's `owned`; empty: it never came.
  std::int64_t started_at_micros{0};
};
/// The receipt of one restart, JSON (docs/restart.md). What the workers did not say is unknown, not 0: null.
std::string compose_receipt(const RestartRecord& record, const ReceiptFacts& facts);

/// What the supervisor is doing, for GET /api/processes.zeroDowntimeRestart and the command line.
struct StatusFacts {
  HandoverState state{HandoverState::kIdle};
  std::uint64_t id{0};
  bool queued{false};
  int worker_pid{0};
  bool crash_loop{false};
  std::string version;
  std::string receipt;  ///< JSON of the last one, or empty.
};
std::string compose_status(const StatusFacts& facts);

/// One value of a JSON object as text; empty when there is none.
std::string json_text(const std::string& object, std::string_view key);

}  // namespace outlast::handover
