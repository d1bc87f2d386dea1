#pragma once
#include <atomic>
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "handover/session_marks.h"
#include "handover/states.h"
#include "liveness/observer.h"
#include "server/handover_pump.h"
#include "sql/sql_server.h"

namespace outlast::server {

/// What the new worker and its observers of sessions share.
struct HandoverWatch {
  AsioLoop& loop;
  std::shared_ptr<handover::SessionMarks> marks;
  HandoverPump* pump{nullptr};  ///< Loop only; null once the old worker is gone.
  std::atomic<bool> interested{true};
};

/// The new worker's side of a handover (protocol A8): takes clients as soon as the old one lets it, goes on with its
/// sessions, and owns the node once the old one has released it or died.
/// Thread-safety: loop only, except receipt() after owned(). Lifetime: what Ports refers to outlives it.
class HandoverIn {
 public:
  struct Ports {
    AsioLoop& loop;
    sql::SqlServer* sql{nullptr};  ///< Null: this process has no sessions.
    liveness::Peer self;
    std::function<void()> accept_clients;
    std::function<void(Error)> fail;  ///< This process cannot take the node over: it ends.
    std::function<void()> own;        ///< The store is free: take it, then call owned().
    std::function<void(handover::HandoverState)> entered;
    std::function<void(const proto::HandoverInput&)> input;
    std::function<void(const proto::HandoverConnection&, int fd)> connection;  ///< Takes the descriptor over.
    /// For the receipt, given what the old worker left in its buffers; empty: there are no inputs.
    std::function<boost::json::object(std::uint64_t left_behind)> inputs;
    std::function<std::uint64_t()> held;  ///< Statements that had to wait for a leaseholder, since this process began.
  };
  /// Takes the socket to the old worker over.
  HandoverIn(Ports ports, int fd);
  ~HandoverIn();

  /// This gateway routes: sessions may come.
  void ready();
  /// Returns the workers' half of the receipt, JSON.
  std::string owned();
  /// What the old worker left to be gone on with; null: nothing.
  const proto::HandoverDrain* drain() const { return released_.has_drain() ? &released_.drain() : nullptr; }
  /// A cancel request for a session that is not here: the old worker may have it.
  void cancel(std::int32_t pid, const std::string& key);

 private:
  void on_message(handover::HandoverChannel::Received received);
  void on_hello(const proto::HandoverHello& hello, int marks_fd);
  void send_ready();
  void on_session(proto::HandoverSession session, int fd);
  void on_released();
  void on_gone();
  void take_node();
  std::string receipt() const;

  const Ports ports_;
  std::shared_ptr<HandoverWatch> watch_;
  std::unique_ptr<HandoverPump> pump_;
  std::vector<Duration> pauses_;
  std::vector<proto::NotMoved> not_moved_;
  proto::HandoverReleased released_;
  std::uint64_t taken_{0};
  proto::HandoverMessage taken_slots_;  ///< That the old worker was not told of.
  bool routes_{false}, accepting_{false}, owning_{false}, died_{false};
  Instant sessions_at_{}, released_at_{}, owned_at_{};
};

}  // namespace outlast::server
