#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace outlast::testing_support {

/// Sends numbered records "n=0", "n=1", … to a port of this machine, about 4,000 a second, for as long as it lives:
/// RFC 5424 datagrams over UDP, or lines over one TCP connection in pieces that end in the middle of a record.
class RecordSender {
 public:
  enum class Over : std::uint8_t { kUdp, kTcp };
  RecordSender(int port, Over over);
  ~RecordSender() { stop(); }
  /// How many were sent.
  long stop();
  /// How many so far.
  long sent() const { return sent_; }
  /// A send failed: the connection was reset, or nobody has the port.
  bool broken() const { return broken_; }

 private:
  void send_datagrams();
  void send_stream();
  void send_all(const std::string& bytes);

  int fd_;
  std::atomic<bool> over_{false}, broken_{false};
  std::atomic<long> sent_{0};
  std::thread thread_;
};

}  // namespace outlast::testing_support
