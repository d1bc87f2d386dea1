#include "server/handover_in.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "handover/child.h"

namespace outlast::server {
using handover::HandoverState;
using handover::SessionMark;

namespace {
constexpr int kTakenAtOnce = 32;  ///< Sessions that the old worker is told of in one message.

/// Keeps the old worker's copy of one session true, so that it could go on with it (handover/session_marks.h).
class Watcher final : public sql::SessionObserver, public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(std::shared_ptr<HandoverWatch> watch, std::uint32_t slot) : watch_(std::move(watch)), slot_(slot) {}

  void serving() override {
    turn_.fetch_add(1);
    watch_->marks->set(slot_, SessionMark::kServing);
  }
  void answering() override { watch_->marks->set(slot_, SessionMark::kAnswering); }

  /// The mark must not say "as told" before it was told.
  void waiting(const proto::SessionState* changed) override {
    if (changed == nullptr && unsent_ == 0) return watch_->marks->set(slot_, SessionMark::kWaiting);
    proto::HandoverMessage message;
    if (changed != nullptr) {
      message.mutable_update()->set_slot(slot_);
      *message.mutable_update()->mutable_state() = *changed;
    }
    ++unsent_;
    watch_->loop.post([self = shared_from_this(), turn = turn_.load(), message = std::move(message)] {
      if (self->watch_->pump != nullptr && message.has_update()) self->watch_->pump->send(message);
      if (self->turn_ == turn) self->watch_->marks->set(self->slot_, SessionMark::kWaiting);
      --self->unsent_;
    });
  }

  void ended() override {
    watch_->marks->set(slot_, SessionMark::kEnded);
    watch_->loop.post([self = shared_from_this()] {
      if (self->watch_->pump == nullptr) return;
      proto::HandoverMessage message;
      message.mutable_gone()->set_slot(self->slot_);
      self->watch_->pump->send(message);
    });
  }
  bool interested() const override { return watch_->interested; }

 private:
  const std::shared_ptr<HandoverWatch> watch_;
  const std::uint32_t slot_;
  std::atomic<std::uint64_t> turn_{0};
  std::atomic<int> unsent_{0};
};

double milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

boost::json::object pauses_json(std::vector<Duration> pauses) {
  std::ranges::sort(pauses);
  const auto at = [&pauses](double part) {
    if (pauses.empty()) return 0.0;
    return milliseconds(pauses[static_cast<std::size_t>(part * static_cast<double>(pauses.size() - 1))]);
  };
  return {{"p50", at(0.5)}, {"p99", at(0.99)}, {"max", at(1)}};
}
}  // namespace

HandoverIn::HandoverIn(Ports ports, int fd)
    : ports_(std::move(ports)), watch_(std::make_shared<HandoverWatch>(ports_.loop)) {
  HandoverPump::Events events;
  events.message = [this](handover::HandoverChannel::Received received) { on_message(std::move(received)); };
  events.gone = [this] { on_gone(); };
  pump_ = std::make_unique<HandoverPump>(ports_.loop, fd, std::move(events));
  watch_->pump = pump_.get();
  pump_->send(handover_hello(ports_.self.node, ports_.self.incarnation));
}

HandoverIn::~HandoverIn() {
  watch_->pump = nullptr;
  watch_->interested = false;
}

void HandoverIn::ready() {
  ports_.entered(HandoverState::kStandby);
  handover::hold_point("new", HandoverState::kStandby);
  routes_ = true;
  if (watch_->marks) send_ready();
}

void HandoverIn::send_ready() {
  if (!pump_) return;
  proto::HandoverMessage message;
  message.mutable_ready();
  pump_->send(message);
}

/// What this process may not open is found out before the first session comes, while nothing is lost by giving up.
void HandoverIn::on_hello(const proto::HandoverHello& hello, int marks_fd) {
  const handover::Descriptors own = handover::count_descriptors();
  const std::size_t needed = hello.descriptors() == 0 ? 0 : hello.descriptors() + own.open;
  auto marks = handover::SessionMarks::open(marks_fd);
  if (!marks.ok()) return ports_.fail(marks.error());
  if (needed > own.allowed)
    return ports_.fail(Error(Errc::kOutOfMemory, "the new worker may have " + std::to_string(own.allowed) +
                                                     " files open and would need " + std::to_string(needed) +
                                                     ": raise the limit (ulimit -n, LimitNOFILE=), then restart"));
  watch_->marks = *std::move(marks);
  if (routes_) send_ready();
}

void HandoverIn::on_message(handover::HandoverChannel::Received received) {
  proto::HandoverMessage& message = received.message;
  if (message.has_session()) return on_session(std::move(*message.mutable_session()), received.fd);
  if (message.has_hello() && received.fd >= 0) return on_hello(message.hello(), received.fd);
  if (message.has_connection() && received.fd >= 0) return ports_.connection(message.connection(), received.fd);
  if (received.fd >= 0) close(received.fd);
  switch (message.kind_case()) {
    case proto::HandoverMessage::kBegin:
      sessions_at_ = ports_.loop.now();
      ports_.entered(HandoverState::kSessions);
      accepting_ = true;
      ports_.accept_clients();
      return handover::hold_point("new", HandoverState::kSessions);
    case proto::HandoverMessage::kInput:
      return ports_.input(message.input());
    case proto::HandoverMessage::kSessionsMoved:
      for (const proto::NotMoved& one : message.sessions_moved().not_moved()) not_moved_.push_back(one);
      return;
    case proto::HandoverMessage::kReleased:
      released_ = std::move(*message.mutable_released());
      return on_released();
    default:
      return;
  }
}

void HandoverIn::on_session(proto::HandoverSession session, int fd) {
  if (fd < 0 || ports_.sql == nullptr || !watch_->marks || session.slot() >= handover::SessionMarks::kSlots) {
    if (fd >= 0) close(fd);
    proto::NotMoved& left = not_moved_.emplace_back();
    left.set_session("session " + std::to_string(session.state().cancel_pid()));
    left.set_reason("its connection did not come along: this process may not open more files");
    spdlog::error("handover: {}: {}", left.session(), left.reason());
    return;
  }
  pauses_.push_back(ports_.loop.now() - Instant(Duration(session.paused_at_ns())));
  ++taken_;
  taken_slots_.mutable_taken()->add_slots(session.slot());
  if (taken_slots_.taken().slots_size() >= kTakenAtOnce) pump_->send(std::exchange(taken_slots_, {}));
  auto taken =
      ports_.sql->take_in(std::move(*session.mutable_state()), fd, std::make_shared<Watcher>(watch_, session.slot()));
  if (taken.ok()) return;
  proto::NotMoved& left = not_moved_.emplace_back();
  left.set_session("session " + std::to_string(session.state().cancel_pid()));
  left.set_reason(taken.error().message);
  watch_->marks->set(session.slot(), SessionMark::kEnded);
}

void HandoverIn::on_released() {
  released_at_ = ports_.loop.now();
  ports_.entered(HandoverState::kStorageReleased);
  handover::hold_point("new", HandoverState::kStorageReleased);
  take_node();
}

/// The old worker died. Its sessions died with it, and its store is free.
void HandoverIn::on_gone() {
  watch_->pump = nullptr;
  watch_->interested = false;
  ports_.loop.post([old = std::shared_ptr<HandoverPump>(std::move(pump_))] {});
  if (owning_) return;
  spdlog::warn("handover: the old worker died before it had released the node: taking over from it");
  died_ = true;
  released_at_ = ports_.loop.now();
  if (!std::exchange(accepting_, true)) ports_.accept_clients();
  take_node();
}

void HandoverIn::take_node() {
  if (std::exchange(owning_, true)) return;
  ports_.own();
}

std::string HandoverIn::owned() {
  owned_at_ = ports_.loop.now();
  if (pump_) {
    proto::HandoverMessage message;
    message.mutable_owned();
    pump_->send(message);
  }
  return receipt();
}

void HandoverIn::cancel(std::int32_t pid, const std::string& key) {
  if (!pump_) return;
  proto::HandoverMessage message;
  message.mutable_cancel()->set_pid(pid);
  message.mutable_cancel()->set_key(key);
  pump_->send(message);
}

std::string HandoverIn::receipt() const {
  boost::json::array not_moved;
  for (const proto::NotMoved& one : not_moved_)
    not_moved.push_back(boost::json::object{{"session", one.session()}, {"reason", one.reason()}});
  boost::json::object half{{"old_died", died_},
                           {"sessions",
                            {{"moved", taken_},
                             {"not_moved", std::move(not_moved)},
                             {"lost", released_.sessions_lost()},
                             {"pause_ms", pauses_json(pauses_)}}},
                           {"refused", ports_.sql == nullptr ? 0 : ports_.sql->metrics().sessions_refused.load()},
                           {"reset", released_.sessions_lost()},
                           {"held", ports_.held()},
                           {"leases", {{"moved", released_.leases_moved()}, {"kept", released_.leases_kept()}}},
                           {"duration_ms",
                            {{"closing", static_cast<double>(released_.closing_ns()) / 1e6},
                             {"opening", milliseconds(owned_at_ - released_at_)}}}};
  if (boost::json::object inputs = ports_.inputs(released_.records_kept()); !inputs.empty())
    half["inputs"] = std::move(inputs);
  return boost::json::serialize(half);
}

}  // namespace outlast::server
