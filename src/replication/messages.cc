#include "replication/messages.h"

namespace outlast::replication {

using storage::LogPosition;

LogPosition position_of(const proto::Position& p) {
  return {Lsn(p.lsn()), Epoch(p.epoch()), p.checksum()};
}

void set_position(proto::Position& out, const LogPosition& position) {
  out.set_lsn(position.lsn.value);
  out.set_epoch(position.epoch.value);
  out.set_checksum(position.checksum);
}

void set_entry(proto::LogEntry& out, const storage::LogEntry& entry) {
  out.set_lsn(entry.at.lsn.value);
  out.set_epoch(entry.at.epoch.value);
  out.set_checksum(entry.at.checksum);
  out.set_prev_checksum(entry.prev.checksum);
  out.set_prev_epoch(entry.prev.epoch.value);
  out.set_payload(entry.payload);
}

Result<storage::LogEntryPtr> entry_from(proto::LogEntry&& in) {
  auto entry = std::make_shared<storage::LogEntry>();
  if (in.lsn() == 0) return Error(Errc::kCorrupt, "a log entry without a position was received");
  entry->at = {Lsn(in.lsn()), Epoch(in.epoch()), in.checksum()};
  entry->prev = {Lsn(in.lsn() - 1), Epoch(in.prev_epoch()), in.prev_checksum()};
  entry->payload = std::move(*in.mutable_payload());
  if (storage::entry_checksum(entry->at.lsn, entry->at.epoch, entry->prev, entry->payload) != entry->at.checksum)
    return Error(Errc::kCorrupt, "log entry " + entry->at.lsn.to_string() + " was damaged on its way");
  return storage::LogEntryPtr(std::move(entry));
}

proto::Activate activate_of(const placement::RangeConfig& config, const LogPosition& end, Lsn durable) {
  proto::Activate out;
  out.set_config(placement::encode(config));
  out.set_end_lsn(end.lsn.value);
  out.set_end_epoch(end.epoch.value);
  out.set_end_checksum(end.checksum);
  out.set_durable_lsn(durable.value);
  return out;
}

LogPosition end_of(const proto::Activate& a) {
  return {Lsn(a.end_lsn()), Epoch(a.end_epoch()), a.end_checksum()};
}

}  // namespace outlast::replication
