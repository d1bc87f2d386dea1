#pragma once
#include <cstdint>

#include "base/loop.h"

namespace outlast::ingest {

/// How a UDP reader spends as little as possible per datagram: at a high rate it lets some gather in the kernel instead
/// of being woken for each, for at most 5 ms and a quarter of the receive buffer. Pure.
/// Thread-safety: none.
class UdpPace {
 public:
  static constexpr std::size_t kBatchMin = 64, kBatchMax = 1024;

  /// How many datagrams to ask for in the next read.
  std::size_t batch() const { return batch_; }
  /// After a read of `datagrams` datagrams with `bytes` bytes: how long to wait before the next. `buffer` is the
  /// receive buffer as the kernel counts.
  Duration after_read(std::size_t datagrams, std::uint64_t bytes, Instant now, std::uint64_t buffer);
  /// Per second, over the last tenth of a second that was measured.
  double rate() const { return rate_; }
  double highest_rate() const { return highest_rate_; }
  /// The largest average size of a read.
  std::uint64_t datagram_bytes() const { return datagram_bytes_; }

 private:
  void measure(std::size_t datagrams, Instant now);

  std::size_t batch_{kBatchMin};
  double rate_{0}, highest_rate_{0};
  std::uint64_t datagram_bytes_{0}, counted_{0};
  Instant counted_since_{};
};

}  // namespace outlast::ingest
