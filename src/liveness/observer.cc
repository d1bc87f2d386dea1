#include "liveness/observer.h"

#include <algorithm>

namespace outlast::liveness {

const char* to_string(State state) {
  switch (state) {
    case State::kUnknown:
      return "unknown";
    case State::kLive:
      return "live";
    case State::kSuspect:
      return "suspect";
    case State::kFenced:
      return "fenced";
  }
  return "unknown";
}

void Observer::on_record(Peer peer, Revision mod_revision, Duration promised_ttl, Instant now) {
  Seen& seen = peers_[peer];
  if (seen.mod_revision == mod_revision) return;
  seen.mod_revision = mod_revision;
  seen.changed_at = now;
  seen.promised_ttl = promised_ttl;
}

void Observer::on_removed(Peer peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  if (it->second.fenced)
    it->second.mod_revision = Revision{};  // the fence goes on to say that it is finished
  else
    peers_.erase(it);
}

void Observer::on_fence(Peer peer) {
  peers_[peer].fenced = true;
}

void Observer::on_connection(bool connected, Instant now) {
  if (bugs_.timer_kept && session_since_) return;
  if (!connected)
    session_since_.reset();
  else if (!session_since_)
    session_since_ = now;
}

void Observer::tick(Instant now) {
  const bool paused = last_tick_ && now - *last_tick_ > params_.renew;
  if (paused && session_since_ && !bugs_.timer_kept) session_since_ = now;
  last_tick_ = now;
}

State Observer::state(Peer peer, Instant now) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return State::kUnknown;
  const Seen& seen = it->second;
  if (seen.fenced) return State::kFenced;
  const Instant heard = session_since_ ? std::max(seen.changed_at, *session_since_) : seen.changed_at;
  return now - heard >= params_.suspect_after() ? State::kSuspect : State::kLive;
}

std::vector<Observer::Fence> Observer::may_fence(Instant now, bool is_leader_frontend) const {
  std::vector<Fence> silent;
  if (!session_since_) return silent;
  const Duration extra = is_leader_frontend ? Duration{0} : params_.follower_wait;
  for (const auto& [peer, seen] : peers_) {
    if (seen.fenced || !seen.mod_revision || peer == self_) continue;
    const Duration wait = std::max(params_.ttl, seen.promised_ttl) + extra;
    if (now - std::max(seen.changed_at, *session_since_) >= wait) silent.push_back({peer, seen.mod_revision});
  }
  return silent;
}

std::vector<Observer::Fence> Observer::unfenced() const {
  std::vector<Fence> all;
  for (const auto& [peer, seen] : peers_)
    if (!seen.fenced && seen.mod_revision && peer != self_) all.push_back({peer, seen.mod_revision});
  return all;
}

}  // namespace outlast::liveness
