#include "liveness/renewer.h"

#include <algorithm>

namespace outlast::liveness {
namespace {
Duration scaled(Duration d, double factor) {
  return Duration(static_cast<Duration::rep>(static_cast<double>(d.count()) * factor));
}
}  // namespace

std::uint64_t Renewer::send(Instant now) {
  OUTLAST_ASSERT(!fenced_ && !sent_at_, "one renewal at a time, none after the fence");
  sent_at_ = now;
  lease_sent_ = params_.lease();
  deadline_ = std::min(deadline_, now + lease_sent_);
  return ++sequence_;
}

void Renewer::confirm(Instant now, double jitter) {
  OUTLAST_ASSERT(sent_at_.has_value(), "no renewal is under way");
  const Instant sent = *sent_at_;
  sent_at_.reset();
  if (fenced_) return;
  deadline_ = (bugs_.deadline_from_answer ? now : sent) + lease_sent_;  // never earlier than before: send() cut it
  // Counted from the send, so that slow answers do not stretch the rhythm; never in the past of `now`.
  next_at_ = std::max(now, sent + scaled(params_.renew, 0.9 + 0.1 * jitter));
}

void Renewer::fail(Instant now, double jitter) {
  OUTLAST_ASSERT(sent_at_.has_value(), "no renewal is under way");
  sent_at_.reset();
  // A quarter to a whole `renew`: soon, yet spread when a whole cluster gets its metadata back at once.
  next_at_ = now + scaled(params_.renew, 0.25 + 0.75 * jitter);
}

void Renewer::fence() {
  fenced_ = true;
  deadline_ = Instant{};
}

}  // namespace outlast::liveness
