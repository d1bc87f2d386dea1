#include "sql/session/session_teller.h"

#include <utility>

namespace outlast::sql {

void SessionTeller::begin(std::shared_ptr<SessionObserver> observer, const proto::SessionState& told) {
  observer_ = std::move(observer);
  told_ = Told::kWaiting;
  state_ = observer_ ? told.SerializeAsString() : std::string();
}

bool SessionTeller::listens() {
  if (!observer_) return false;
  if (observer_->interested()) return true;
  observer_.reset();
  state_ = std::string();
  return false;
}

void SessionTeller::serving() {
  if (told_ != Told::kWaiting || !listens()) return;
  told_ = Told::kServing;
  observer_->serving();
}

void SessionTeller::answering() {
  if (told_ == Told::kAnswering || !listens()) return;
  told_ = Told::kAnswering;
  observer_->answering();
}

void SessionTeller::waiting(const proto::SessionState& now) {
  if (!listens()) return;
  std::string state = now.SerializeAsString();
  const bool changed = state != state_;
  if (told_ == Told::kWaiting && !changed) return;
  told_ = Told::kWaiting;
  state_ = std::move(state);
  observer_->waiting(changed ? &now : nullptr);
}

void SessionTeller::ended() {
  if (listens()) observer_->ended();
  observer_.reset();
}

}  // namespace outlast::sql
