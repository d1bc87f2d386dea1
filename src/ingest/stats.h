#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace outlast::ingest {

struct Amount {
  std::uint64_t records{0}, bytes{0}, chunks{0};
  void add(std::uint64_t more_records, std::uint64_t more_bytes, std::uint64_t more_chunks = 0) {
    records += more_records;
    bytes += more_bytes;
    chunks += more_chunks;
  }
};

/// One buffer, at one instant. What was counted began with this process.
struct BufferStats {
  Amount held;                   ///< Filling, waiting and being written.
  std::uint64_t waiting{0};      ///< Chunks of these that are full or due.
  std::int64_t oldest_nanos{0};  ///< Age of the oldest chunk, by the monotonic clock since this process has it.
  Amount parked;                 ///< Taken, but the disk does not: only in memory, and not acknowledged.
  Amount taken;                  ///< Came in.
  Amount source_only;            ///< Of these: before the sinks were started. Without chunks.
  Amount source_only_replayed;   ///< Of these: the sink has them.
  Amount replayed;               ///< Left behind by a process that is gone, taken over by this one.
  Amount dropped;                ///< By drop_oldest_chunk, or lost at the end of this process.
  Amount refused;                ///< By `reject`, or larger than the whole buffer.
  std::uint64_t waits{0};        ///< How often `block` made an input wait.
  bool full{false};
  std::string trouble;  ///< Why it cannot write just now; empty: it can.
};

struct SinkStats {
  std::string name;
  BufferStats buffer;
  Amount written;
  Amount set_aside;           ///< Given up: in the secondary files.
  std::uint64_t retries{0};   ///< Writes that failed and are tried again.
  std::uint32_t failures{0};  ///< Of the outage that lasts; 0: there is none.
  std::string last_error;     ///< Of the outage that lasts, or of the last chunk set aside.
  bool looks{false};          ///< It has not seen yet what earlier processes left for it.

  std::uint64_t bytes_left() const { return buffer.held.bytes + buffer.parked.bytes; }
  /// Nothing waits for it, on disk or in memory.
  bool is_empty() const { return !looks && buffer.held.chunks == 0 && buffer.parked.records == 0; }
};

/// Chunks in a directory that an earlier configuration had for a sink which this one does not have.
struct UnclaimedBuffer {
  std::string sink, path;
  Amount held;
};

struct PipelineStats {
  std::vector<SinkStats> sinks;
  Amount unmatched;  ///< No sink matched the tag.
  std::vector<UnclaimedBuffer> unclaimed;
};

}  // namespace outlast::ingest
