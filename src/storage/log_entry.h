#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/ids.h"

namespace outlast::storage {

/// A position in a range's log with what identifies the entry there: two logs that agree on it agree on all before it.
struct LogPosition {
  Lsn lsn;
  Epoch epoch;
  std::uint32_t checksum{0};
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

/// One committed SQLite transaction: who assigned it, where it continues, and its page images.
/// `payload` holds the header fields of the commit (page size, database size in pages, request id and outcome) and the
/// pages, in storage/log_format.h's encoding. Immutable once built; shared between the log writer and the shipper.
struct LogEntry {
  LogPosition at;
  LogPosition prev;
  std::string payload;
};
using LogEntryPtr = std::shared_ptr<const LogEntry>;

/// Checksum of an entry: CRC-32C over lsn, epoch, the previous checksum and the payload, so that it covers the history.
std::uint32_t entry_checksum(Lsn lsn, Epoch epoch, const LogPosition& prev, std::string_view payload);

}  // namespace outlast::storage
