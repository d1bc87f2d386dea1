#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "handover/session_marks.h"
#include "handover/states.h"
#include "liveness/observer.h"
#include "server/handover_pump.h"
#include "sql/sql_server.h"

namespace outlast::server {

/// The old worker's side of a handover (protocol A8): gives its sessions to the new worker as they come to their safe
/// points, keeps a copy of each (the vault) until the new worker owns the node, lets its leases and its store go, and
/// says so. When the new worker dies before that, everything is taken back; afterwards the vault goes to the next one.
/// Thread-safety: loop only. Lifetime: what Ports refers to outlives it.
class HandoverOut {
 public:
  struct Ports {
    AsioLoop& loop;
    sql::SqlServer* sql{nullptr};  ///< Until close() is called. Null: this process has no sessions.
    liveness::Peer self;
    std::function<Duration()> transaction_wait;
    std::function<void(bool)> accept_clients;
    /// Leases away, steps out of in-sync sets; calls back when no session and nothing that others can take is left.
    std::function<void(Task)> leave;
    std::function<void()> stay;      ///< Takes leave() back.
    std::function<void()> all_left;  ///< No session is here now.
    /// Inputs: their readers end, one after the other, and what they say goes to the new worker, from any thread until
    /// close() has called back. May be null.
    using Send = std::function<void(const proto::HandoverMessage&, int fd)>;
    std::function<void(const Send&)> release_inputs;
    std::function<void()> take_inputs_back;
    /// Closes the store, fences this incarnation, drops the store's lock. No way back.
    std::function<void(Callback<proto::HandoverReleased>)> close;
    std::function<void(handover::HandoverState)> entered;  ///< kIdle: this worker goes on.
    /// No new worker needs this process any more; a supervisor that is there says when it goes.
    std::function<void()> unneeded;
  };
  explicit HandoverOut(Ports ports);
  ~HandoverOut();

  /// Hands over through this socket, which it takes over, once the new worker there is ready. Again after the last one
  /// died.
  void begin(int fd);
  /// The point of no return is behind.
  bool released() const { return closing_; }

 private:
  struct Kept {
    proto::SessionState state;
    int fd{-1};
  };
  void on_message(handover::HandoverChannel::Received received);
  void on_ready();
  void on_gone();
  void move_clients();
  void move_sessions();
  void send_input(const proto::HandoverMessage& message, int fd);
  void send_vault();
  void session_left(sql::LeavingSession session);
  void keep_and_send(sql::LeavingSession session);
  void list_left_behind();
  void left();
  void close_store();
  void closed(Result<proto::HandoverReleased> released);
  void send_end();
  void take_back();
  void purge_vault();
  void forget(std::uint32_t slot);
  void enter(handover::HandoverState state);

  const Ports ports_;
  handover::HandoverState state_{handover::HandoverState::kIdle};
  std::unique_ptr<HandoverPump> pump_;
  std::unique_ptr<handover::SessionMarks> marks_;
  std::map<std::uint32_t, Kept> vault_;
  std::uint32_t next_slot_{0};
  std::uint64_t moved_{0}, lost_{0};
  std::vector<proto::NotMoved> not_moved_;
  bool closing_{false}, closed_{false};
  std::uint64_t round_{0};  ///< Counts handovers: what belongs to an earlier one does nothing.
  Loop::TimerId wait_timer_{0};
  proto::HandoverReleased released_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
