#include "liveness/params.h"

#include "base/parse.h"

namespace outlast::liveness {

Result<void> Params::validate() const {
  using std::chrono::milliseconds;
  if (renew < milliseconds(10))
    return Error(Errc::kInvalidArgument, "liveness.renew is " + format_duration(renew) + "; it must be at least 10ms");
  if (renew > ttl / 4)
    return Error(Errc::kInvalidArgument, "liveness.renew (" + format_duration(renew) +
                                             ") must not be longer than a quarter of liveness.ttl (" +
                                             format_duration(ttl) + "), so that lost renewals fence nobody");
  if (!(drift >= 0.0 && drift <= 0.2))  // also refuses NaN
    return Error(Errc::kInvalidArgument, "liveness.drift must lie between 0 and 0.2");
  if (follower_wait < Duration{0}) return Error(Errc::kInvalidArgument, "the followers' wait must not be negative");
  return {};
}

Duration Params::lease() const {
  const double usable = static_cast<double>(ttl.count()) * (1.0 - 2.0 * drift);
  return Duration(static_cast<Duration::rep>(usable));
}

}  // namespace outlast::liveness
