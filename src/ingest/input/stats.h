#pragma once
#include <atomic>
#include <cstdint>
#include <string>

namespace outlast::ingest {

/// What an input has done since it started, at one moment.
struct InputCounters {
  std::uint64_t records{0};                ///< Given to the intake and taken.
  std::uint64_t bytes{0};                  ///< Of those records, without frames.
  std::uint64_t batches{0};                ///< Calls of Intake::put that took something.
  std::uint64_t refused{0};                ///< Records that the intake refused because its buffer is full.
  std::uint64_t unconfirmed{0};            ///< Records that were taken but whose Ack failed later.
  std::uint64_t limited{0};                ///< Records dropped by rate_max (UDP), or requests sent away by it (HTTP).
  std::uint64_t cut{0};                    ///< Records longer than message_size_max: kept up to it, with a mark.
  std::uint64_t malformed{0};              ///< Frames that were none, kept with a mark; requests answered 400.
  std::uint64_t disallowed{0};             ///< Datagrams and connections from outside the allowed networks.
  std::uint64_t kernel_drops{0};           ///< Datagrams that the kernel dropped because the receive buffer was full.
  std::uint64_t waits{0};                  ///< Times that the intake said kWait.
  std::uint64_t connections{0};            ///< Open now.
  std::uint64_t connections_taken{0};      ///< Accepted or adopted.
  std::uint64_t connections_refused{0};    ///< Over connections_max.
  std::uint64_t connections_timed_out{0};  ///< Idle, or too long at one record.
  std::uint64_t longest_gap_nanos{0};  ///< Longest time between two reads while there may have been something to read.
  std::uint64_t queued{0};             ///< Datagrams that lay in the kernel when this input took the socket over.
  std::uint64_t order_breaks{0};       ///< This input read before the one it took over from had ended: 0, or a bug.
  std::uint64_t receive_buffer{0};     ///< Bytes that the kernel keeps for a UDP input.
};

/// The same, being counted. One thread of the input counts, once a batch; anybody reads.
struct InputStats {
  using Counter = std::atomic<std::uint64_t>;
  Counter records, bytes, batches, refused, unconfirmed, limited, cut, malformed, disallowed, kernel_drops, waits;
  Counter connections, connections_taken, connections_refused, connections_timed_out, longest_gap_nanos, queued,
      order_breaks;
  Counter receive_buffer;

  static void add(Counter& counter, std::uint64_t n) {
    if (n > 0) counter.fetch_add(n, std::memory_order_relaxed);
  }
  static void raise(Counter& counter, std::uint64_t n) {
    if (n > counter.load(std::memory_order_relaxed)) counter.store(n, std::memory_order_relaxed);
  }
  InputCounters now() const {
    return {records,
            bytes,
            batches,
            refused,
            unconfirmed,
            limited,
            cut,
            malformed,
            disallowed,
            kernel_drops,
            waits,
            connections,
            connections_taken,
            connections_refused,
            connections_timed_out,
            longest_gap_nanos,
            queued,
            order_breaks,
            receive_buffer};
  }
};

}  // namespace outlast::ingest
