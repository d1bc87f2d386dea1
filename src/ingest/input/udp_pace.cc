#include "ingest/input/udp_pace.h"

#include <algorithm>

#include "ingest/input/socket.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
constexpr double kGatherAim = 128;    // datagrams a read
constexpr double kGatherRate = 1000;  // below, everyone is read at once
constexpr Duration kGatherMax = 5ms;
constexpr Duration kWindow = 100ms;
}  // namespace

Duration UdpPace::after_read(std::size_t datagrams, std::uint64_t bytes, Instant now, std::uint64_t buffer) {
  measure(datagrams, now);
  if (datagrams > 0) datagram_bytes_ = std::max(datagram_bytes_, bytes / datagrams);
  if (datagrams == batch_) {
    batch_ = std::min(batch_ * 2, kBatchMax);
    return Duration::zero();  // there is more
  }
  if (datagrams < batch_ / 4) batch_ = std::max(batch_ / 2, kBatchMin);
  if (rate_ < kGatherRate) return Duration::zero();
  const double fits = static_cast<double>(buffer) / 4 / static_cast<double>(datagram_cost(datagram_bytes_));
  const std::chrono::duration<double> gather(std::min(kGatherAim, fits) / rate_);
  return std::min(std::chrono::duration_cast<Duration>(gather), kGatherMax);
}

void UdpPace::measure(std::size_t datagrams, Instant now) {
  counted_ += datagrams;
  const Duration passed = now - counted_since_;
  if (passed < kWindow) return;
  rate_ = static_cast<double>(counted_) / std::chrono::duration<double>(passed).count();
  highest_rate_ = std::max(highest_rate_, rate_);
  counted_ = 0;
  counted_since_ = now;
}

}  // namespace outlast::ingest
