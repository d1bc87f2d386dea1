#pragma once
#include "placement/range_config.h"
#include "proto/range.pb.h"
#include "storage/log_entry.h"

namespace outlast::replication {

storage::LogPosition position_of(const proto::Position& position);
void set_position(proto::Position& out, const storage::LogPosition& position);
void set_entry(proto::LogEntry& out, const storage::LogEntry& entry);
/// The entry as received; kCorrupt when its checksum does not cover its bytes.
Result<storage::LogEntryPtr> entry_from(proto::LogEntry&& in);
proto::Activate activate_of(const placement::RangeConfig& config, const storage::LogPosition& end, Lsn durable);
storage::LogPosition end_of(const proto::Activate& activate);

}  // namespace outlast::replication
