#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "placement/range_config.h"
#include "storage/log_entry.h"

namespace outlast::replication {

/// One replica of this node, as operators are shown it.
struct ReplicaState {
  enum class Role : std::uint8_t {
    kLeaseholder,
    kRecovering,  ///< Leads, and does not serve yet: its members must answer first (A4.3 v).
    kInSync,
    kLearner,
    kOpening,
    kDamaged,
    kRefusing,  ///< The metadata record is older than what the replica accepted (A1).
    kRemoved,   ///< On its way out of the store.
  };
  placement::ReplicaRef replica;
  RangeId range;
  Role role{Role::kOpening};
  std::string trouble;                               ///< One sentence, when there is something to say.
  std::optional<placement::RangeConfig> accepted{};  ///< The highest configuration in its log.
  Epoch record_epoch{};                              ///< Of the record as this node knows it; 0 = none.
  ConfigVersion record_cfg{};
  storage::LogPosition start{}, end{};  ///< What the log holds: behind start, up to end.
  Lsn synced{}, durable{}, applied{};
  std::uint64_t log_bytes{0};
  std::uint64_t file_bytes{0};         ///< The database file; of a learner also what has come of a snapshot.
  std::vector<NodeId> copies_in_line;  ///< A leaseholder's: learners whose snapshots wait until others are sent.
  bool changing{false};                ///< A change of the record is under way; its outcome may be in doubt.
  bool damaged() const { return role == Role::kDamaged; }
};
std::string_view to_string(ReplicaState::Role role);

}  // namespace outlast::replication
