#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "meta/mirror.h"

namespace outlast::meta {

/// /maintenance/<node>: it is expected to be away until then and is not taken for dead before. Ends by itself.
struct MaintenanceRecord {
  NodeId node;
  std::int64_t until_micros{0};  ///< Wall clock.
  std::string by;                ///< Who asked, for display.
  friend bool operator==(const MaintenanceRecord&, const MaintenanceRecord&) = default;
};
std::string encode(const MaintenanceRecord& record);
Result<MaintenanceRecord> decode_maintenance(std::string_view text);

using MaintenanceMirror = Mirror<MaintenanceRecord>;
std::unique_ptr<MaintenanceMirror> mirror_maintenance(Store& store);

// Both call back on the store's loop, may be repeated after any error, and store an event when they change something.

/// Replaces what was there. kNotFound for a node that does not exist, kInvalidState for a decommissioned one.
void begin_maintenance(Store& store, MaintenanceRecord record, std::int64_t wall_micros, Callback<void> done);
/// Success when there is none.
void end_maintenance(Store& store, NodeId node, std::string by, std::int64_t wall_micros, Callback<void> done);

}  // namespace outlast::meta
