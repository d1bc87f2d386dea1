#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/ids.h"
#include "base/result.h"
#include "handover/control.h"
#include "handover/sockets.h"

namespace outlast::server {

/// A worker, as the next supervisor has to know it.
struct Introduction {
  NodeId node;
  Incarnation incarnation;
  handover::Listeners sockets;  ///< Not owned.
  bool source_only{false};
};

/// A worker's way to its supervisor. When the supervisor dies the worker serves on, and the next one adopts it: it
/// connects to STORE/worker.sock, and that connection becomes the control channel (the same descriptor number).
/// Thread-safety: any thread; events run on a thread of the link's own, one after another.
class SupervisorLink {
 public:
  struct Events {
    std::function<void(handover::ControlMessage)> message;  ///< A descriptor that came along is the receiver's.
    std::function<void()> lost;                             ///< Nobody supervises now. SIGTERM asks for a stop then.
    std::function<void()> stop;                             ///< SIGTERM while nobody supervises.
    std::function<void(int pid)> adopted;
  };
  /// Reads handover::kControlFd from now on.
  explicit SupervisorLink(Events events);
  ~SupervisorLink();
  SupervisorLink(const SupervisorLink&) = delete;
  SupervisorLink& operator=(const SupervisorLink&) = delete;

  /// Sent in order, as soon as the channel takes it; dropped when nobody supervises.
  void tell(handover::ControlMessage message);
  /// Lets the next supervisor find this worker.
  Result<void> allow_adoption(const std::string& store, Introduction introduction);
  /// To be called in the event that says so: no supervisor hears the contrary afterwards.
  void end_source_only();
  /// Another worker owns the store now.
  void end_adoption();
  bool connected() const { return connected_; }

 private:
  void run();
  void read_channel();
  void write_channel();
  void channel_lost();
  void adopt();
  void wake();
  bool trusted(int connection, int& pid) const;

  const Events events_;
  int wake_fd_{-1};
  std::atomic<bool> connected_{true}, over_{false};
  std::mutex mutex_;
  std::deque<handover::ControlMessage> out_;  // under mutex_
  int listen_fd_{-1};                         // under mutex_
  Introduction introduction_;                 // under mutex_
  std::thread thread_;
};

}  // namespace outlast::server
