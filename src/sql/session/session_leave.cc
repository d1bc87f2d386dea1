// How a session leaves for another worker, and when it cannot.
#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "sql/session/client_session.h"

namespace outlast::sql {
namespace asio = boost::asio;
namespace {
// What is under way, either way, and moves along; a longer message is received first.
constexpr std::size_t kMovableBytes = 16u << 20;
// What a session is, all in all: handover/channel.h carries 64 MiB.
constexpr std::size_t kStateBytes = 48u << 20;

std::string for_seconds(std::string_view what, Duration age) {
  return fmt::format("{} for {:.1f} s", what, std::chrono::duration<double>(age).count());
}
}  // namespace

bool ClientSession::at_safe_point() const {
  // After an error nothing but Sync can reach what portals are left.
  return state_.gateway && io_.phase() == Phase::kIdle && !stop_now_ && !state_.in_transaction() &&
         (state_.portals.empty() || skip_to_sync_) && io_.input().buffered().size() + io_.out.size() <= kMovableBytes;
}

void ClientSession::leave() {
  asio::post(strand_, [self = shared_from_this()] {
    self->state_.leaving = true;
    if (self->io_.phase() == Phase::kStartup || self->at_safe_point()) return self->io_.wake();
    self->io_.cut_answer();
  });
}

void ClientSession::keep() {
  asio::post(strand_, [self = shared_from_this()] { self->state_.leaving = false; });
}

bool ClientSession::leave_now() {
  LeavingSession left;
  left.paused_at = host_.clock.now();
  if (!io_.flush_now().ok()) return true;  // the connection broke: it ends here
  left.state = exported();
  too_large_ = left.state.ByteSizeLong() > kStateBytes;
  if (too_large_) return false;
  left.fd = io_.stream().release();
  if (left.fd >= 0) left_ = std::move(left);
  return true;
}

void ClientSession::finish_leaving() {
  io_.out.clear();
  state_.connection.end(lifecycle::Outcome::kDone);
  if (key_.pid != 0) host_.cancels.remove(key_);
  key_ = {};
}

void ClientSession::look(std::function<void(MoveView)> done) {
  asio::post(strand_, [self = shared_from_this(), done = std::move(done)] {
    MoveView seen;
    seen.session = self->state_.gateway ? self->view().name() : "a session that starts up";
    seen.reason = self->move_obstacle();
    const bool never = self->stop_now_ || self->too_large_;
    if (!seen.reason.empty()) seen.when = never ? MoveView::When::kNever : MoveView::When::kLater;
    done(std::move(seen));
  });
}

std::string ClientSession::move_obstacle() const {
  if (stop_now_) return "it was told to go";
  if (too_large_) return "its prepared statements are too large to move";
  if (io_.phase() == Phase::kStartup) return io_.reading() ? "" : "it starts up";
  if (!state_.gateway || at_safe_point() || (io_.answering() && !state_.in_transaction())) return "";
  const Instant now = host_.clock.now();
  const Prepared* running = state_.running.get();
  const bool waits = io_.phase() == Phase::kIdle || io_.phase() == Phase::kInTransaction || io_.answering();
  if (!waits && running != nullptr) {
    const StatementKind kind = running->statement.kind;
    if (kind == StatementKind::kCopyFrom || kind == StatementKind::kCopyTo)
      return for_seconds("COPY", now - state_.running_since);
    if (!state_.in_block()) return for_seconds("statement", now - state_.running_since) + statement_for_people(running);
  }
  if (state_.in_block()) return for_seconds("open transaction", now - state_.transaction_since);
  if (state_.implicit) return for_seconds("open portal", now - state_.transaction_since) + ": its Sync has not come";
  if (!state_.portals.empty()) return "open portal: its Sync has not come";
  return waits ? "a long message is under way" : "statement";
}

}  // namespace outlast::sql
