#pragma once
#include <atomic>
#include <mutex>
#include <thread>

#include "ingest/input/datagrams.h"
#include "ingest/input/input.h"
#include "ingest/input/udp_pace.h"

namespace outlast::ingest {

/// Reads a UDP socket: many datagrams a call, one batch and one Intake::put a read. While the intake has no room
/// nothing is read: the kernel's queue fills, and what it drops is counted. The socket may be read by one UdpInput at a
/// time; stop() and start() of another on the same socket lose nothing and keep the order.
class UdpInput final : public Input {
 public:
  UdpInput(InputOptions options, Intake& intake);
  ~UdpInput() override;
  Result<void> start() override;
  StopReport stop() override;
  void close() override { turn_door(true); }
  void reopen() override { turn_door(false); }
  bool is_closed() const override { return closing_ && closed_; }
  InputCounters counters() const override;
  std::uint16_t port() const override;
  std::string warning() const override;

 private:
  void run();
  void read_once();
  void take(std::size_t datagrams);
  void put();
  void note_taken_over(std::size_t datagrams, std::size_t wanted);
  void wait_for(int fd, Duration longest);  ///< Not longer than until stop(), close(), reopen().
  void turn_door(bool closing);
  void follow_door();
  void note_empty();
  void look_after_buffer();
  void count_drops(std::uint32_t drops);
  Instant noted_gap();

  const InputOptions options_;
  Intake& intake_;
  Fd socket_;
  Wake told_;  ///< To stop, or to look at closing_.
  std::shared_ptr<Wake> room_;
  std::thread thread_;
  std::atomic<bool> stopping_{false}, closing_{false};
  std::atomic<bool> closed_{false};  ///< Nobody sends any more, and all that came is put.

  // The reader's own.
  Datagrams datagrams_;
  PeerCache peers_;
  UdpPace pace_;
  TokenBucket bucket_;
  RecordBatch batch_;
  std::uint64_t batch_payload_{0};
  Duration gather_{0};
  Instant last_read_{};
  bool queue_was_empty_{true};
  bool refuses_{false};
  int empty_looks_{0};       ///< Since it refuses.
  bool taking_over_{false};  ///< What is read now lay in the kernel while nobody read.
  std::uint64_t buffer_{0};
  double buffer_for_{0};  ///< The rate that the buffer was made for.

  std::shared_ptr<InputStats> stats_;
  mutable std::mutex mutex_;  ///< Guards what follows.
  std::uint32_t drops_before_{0};
  mutable std::uint32_t drops_seen_{0};
  std::string warning_;
  StopReport report_;
};

}  // namespace outlast::ingest
