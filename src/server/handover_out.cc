#include "server/handover_out.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handover/child.h"
#include "ingest/input/socket.h"
#include "sql/pgwire/backend_writer.h"

namespace outlast::server {
using handover::HandoverState;
using handover::SessionMark;

namespace {
/// Idle sessions under way to the new worker: enough to keep it busy, few enough that none waits long.
constexpr std::size_t kMovingAtOnce = 512;

/// Ends a session whose statement was in a process that died. Only where nothing of an answer can be on the wire.
void say_lost(int fd) {
  sql::pgwire::BackendWriter out;
  out.report(sql::pgwire::Severity::kFatal,
             Error(Errc::kGatewayLost,
                   "the process that ran your statement died; whether it was done is unknown: connect again and look"),
             "08006");
  (void)send(fd, out.bytes().data(), out.bytes().size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}
}  // namespace

HandoverOut::HandoverOut(Ports ports) : ports_(std::move(ports)) {}

HandoverOut::~HandoverOut() {
  if (wait_timer_ != 0) ports_.loop.cancel(wait_timer_);
  for (const auto& [slot, kept] : vault_) close(kept.fd);
}

void HandoverOut::enter(HandoverState state) {
  state_ = state;
  ports_.entered(state);
  handover::hold_point("old", state);
}

void HandoverOut::begin(int fd) {
  ++round_;
  pump_.reset();
  auto marks = handover::SessionMarks::create();
  if (!marks.ok()) {
    spdlog::error("handover: {}", marks.error().message);
    close(fd);
    if (!closing_) ports_.entered(HandoverState::kIdle);
    return;
  }
  marks_ = *std::move(marks);
  next_slot_ = 0;
  HandoverPump::Events events;
  events.message = [this](handover::HandoverChannel::Received received) { on_message(std::move(received)); };
  events.gone = [this] { on_gone(); };
  pump_ = std::make_unique<HandoverPump>(ports_.loop, fd, std::move(events));
  proto::HandoverMessage hello = handover_hello(ports_.self.node, ports_.self.incarnation);
  if (!closing_) hello.mutable_hello()->set_descriptors(handover::count_descriptors().open);
  pump_->send(hello, fcntl(marks_->fd(), F_DUPFD_CLOEXEC, 0));
  if (!closing_) state_ = HandoverState::kStandby;
}

void HandoverOut::on_message(handover::HandoverChannel::Received received) {
  if (received.fd >= 0) close(received.fd);  // the new worker sends none
  proto::HandoverMessage& message = received.message;
  switch (message.kind_case()) {
    case proto::HandoverMessage::kReady:
      return on_ready();
    case proto::HandoverMessage::kTaken:
      if (!closing_ && ports_.sql != nullptr)
        ports_.sql->move_on(static_cast<std::size_t>(message.taken().slots_size()));
      return;
    case proto::HandoverMessage::kUpdate:
      if (const auto it = vault_.find(message.update().slot()); it != vault_.end())
        it->second.state = std::move(*message.mutable_update()->mutable_state());
      return;
    case proto::HandoverMessage::kGone:
      return forget(message.gone().slot());
    case proto::HandoverMessage::kCancel:
      if (!closing_ && ports_.sql != nullptr) ports_.sql->cancel(message.cancel().pid(), message.cancel().key());
      return;
    case proto::HandoverMessage::kOwned:
      return ports_.unneeded();
    default:
      return;  // a hello, or what a newer version says
  }
}

void HandoverOut::on_ready() {
  if (closing_) {
    proto::HandoverMessage begin;
    begin.mutable_begin();
    pump_->send(begin);
    send_vault();
    if (closed_) send_end();
    return;
  }
  enter(HandoverState::kSessions);
  move_clients();
}

void HandoverOut::move_clients() {
  moved_ = lost_ = 0;
  not_moved_.clear();
  ports_.accept_clients(false);
  proto::HandoverMessage begin;
  begin.mutable_begin();
  pump_->send(begin);
  if (ports_.release_inputs)
    ports_.release_inputs(
        [this, alive = std::weak_ptr(alive_), &loop = ports_.loop](const proto::HandoverMessage& message, int fd) {
          if (loop.on_this_loop()) return send_input(message, fd);
          loop.post([this, alive, message, fd = std::make_shared<ingest::Fd>(fd)] {
            if (!alive.expired()) send_input(message, fd->release());
          });
        });
  if (ports_.sql != nullptr) move_sessions();
  ports_.leave([this, alive = std::weak_ptr(alive_), round = round_] {
    if (!alive.expired() && round == round_ && state_ == HandoverState::kSessions) left();
  });
}

void HandoverOut::move_sessions() {
  ports_.sql->move_out(
      [this, alive = std::weak_ptr(alive_), &loop = ports_.loop](sql::LeavingSession session) {
        loop.post([this, alive, session = std::move(session)]() mutable {
          if (alive.expired()) return void(close(session.fd));
          session_left(std::move(session));
        });
      },
      kMovingAtOnce);
  wait_timer_ = ports_.loop.after(ports_.transaction_wait(), [this] {
    wait_timer_ = 0;
    list_left_behind();
  });
}

void HandoverOut::send_input(const proto::HandoverMessage& message, int fd) {
  if (pump_) return pump_->send(message, fd);
  if (fd >= 0) close(fd);
}

void HandoverOut::session_left(sql::LeavingSession session) {
  if (state_ == HandoverState::kSessions || closing_) {
    keep_and_send(std::move(session));
    if (!closing_ && ports_.sql->metrics().sessions_open == 0) ports_.all_left();
    return;
  }
  // The new worker died while this one was on its way.
  if (auto back = ports_.sql->take_in(std::move(session.state), session.fd, nullptr); !back.ok())
    spdlog::warn("handover: a session could not be taken back: {}", back.error().message);
}

void HandoverOut::keep_and_send(sql::LeavingSession session) {
  const std::uint32_t slot = next_slot_++;
  if (slot >= handover::SessionMarks::kSlots || !pump_) return void(close(session.fd));
  ++moved_;
  proto::HandoverMessage message;
  proto::HandoverSession& out = *message.mutable_session();
  out.set_slot(slot);
  out.set_paused_at_ns(session.paused_at.time_since_epoch().count());
  *out.mutable_state() = std::move(session.state);
  pump_->send(message, fcntl(session.fd, F_DUPFD_CLOEXEC, 0));
  vault_.insert_or_assign(slot, Kept{std::move(*out.mutable_state()), session.fd});
}

/// After the last new worker died past the point of no return: what it had is given to the next one.
void HandoverOut::send_vault() {
  auto vault = std::exchange(vault_, {});
  moved_ = 0;
  for (auto& [slot, kept] : vault)
    keep_and_send({.state = std::move(kept.state), .fd = kept.fd, .paused_at = ports_.loop.now()});
}

void HandoverOut::list_left_behind() {
  for (const sql::MoveView& view : ports_.sql->move_plan()) {
    proto::NotMoved& left = not_moved_.emplace_back();
    left.set_session(view.session);
    left.set_reason(view.reason);
    spdlog::warn("handover: {} cannot move and is told to connect again: {}", view.session, view.reason);
  }
}

void HandoverOut::left() {
  if (pump_ && pump_->hung_up()) return;  // to nobody the store is not released; on_gone() comes
  if (wait_timer_ != 0) ports_.loop.cancel(std::exchange(wait_timer_, 0));
  proto::HandoverMessage message;
  message.mutable_sessions_moved()->set_moved(moved_);
  for (const proto::NotMoved& one : not_moved_) *message.mutable_sessions_moved()->add_not_moved() = one;
  if (pump_) pump_->send(message);
  close_store();
}

/// From here there is no way back, and the supervisor knows it before the store is closed: should the new worker die
/// meanwhile, another follows, and gets what is kept here.
void HandoverOut::close_store() {
  closing_ = true;
  state_ = HandoverState::kStorageReleased;
  ports_.entered(state_);
  ports_.close([this, alive = std::weak_ptr(alive_)](Result<proto::HandoverReleased> released) {
    if (!alive.expired()) closed(std::move(released));
  });
}

void HandoverOut::closed(Result<proto::HandoverReleased> released) {
  closed_ = true;
  if (released.ok()) released_ = *std::move(released);
  handover::hold_point("old", state_);
  send_end();
}

void HandoverOut::send_end() {
  if (!pump_) return;  // the next one gets it
  released_.set_sessions_lost(lost_);
  proto::HandoverMessage message;
  *message.mutable_released() = released_;
  pump_->send(message);
}

void HandoverOut::on_gone() {
  const bool moving = state_ == HandoverState::kSessions;
  ports_.loop.post([old = std::shared_ptr<HandoverPump>(std::move(pump_))] {});
  purge_vault();
  if (closing_) {
    spdlog::warn("handover: the new worker died after the store was released; keeping {} sessions for the next one",
                 vault_.size());
    return ports_.unneeded();
  }
  spdlog::warn("handover: the new worker is gone: this one goes on");
  state_ = HandoverState::kIdle;
  if (moving) take_back();
  ports_.entered(HandoverState::kIdle);
}

/// Leaves in the vault what can be gone on with: sessions that waited for their clients.
void HandoverOut::purge_vault() {
  for (auto it = vault_.begin(); it != vault_.end();) {
    const SessionMark mark = marks_->get(it->first);
    if (mark == SessionMark::kWaiting) {
      ++it;
      continue;
    }
    if (mark != SessionMark::kEnded) ++lost_;
    if (mark == SessionMark::kServing) say_lost(it->second.fd);
    shutdown(it->second.fd, SHUT_RDWR);
    close(it->second.fd);
    it = vault_.erase(it);
  }
}

void HandoverOut::take_back() {
  if (wait_timer_ != 0) ports_.loop.cancel(std::exchange(wait_timer_, 0));
  ports_.stay();
  if (ports_.take_inputs_back) ports_.take_inputs_back();
  if (ports_.sql != nullptr) ports_.sql->keep_sessions();
  for (auto& [slot, kept] : std::exchange(vault_, {}))
    if (auto back = ports_.sql->take_in(std::move(kept.state), kept.fd, nullptr); !back.ok())
      spdlog::warn("handover: a session could not be taken back: {}", back.error().message);
  ports_.accept_clients(true);
}

void HandoverOut::forget(std::uint32_t slot) {
  const auto it = vault_.find(slot);
  if (it == vault_.end()) return;
  close(it->second.fd);
  vault_.erase(it);
}

}  // namespace outlast::server
