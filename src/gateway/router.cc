#include "gateway/router.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace outlast::gateway {
namespace {

/// A timer that wakes early when told so. Only its executor touches the timer.
class TimerSleeper final : public RouteSleeper, public std::enable_shared_from_this<TimerSleeper> {
 public:
  explicit TimerSleeper(boost::asio::any_io_executor executor) : timer(std::move(executor)) {}
  void wake() override {
    boost::asio::post(timer.get_executor(), [self = shared_from_this()] {
      self->woken = true;
      self->timer.cancel();
    });
  }
  boost::asio::steady_timer timer;
  bool woken{false};
};

}  // namespace

RouteTable::Known RouteTable::find(RangeId range) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(range);
  return it == entries_.end() ? Known{} : it->second.known;
}

void RouteTable::update(RangeId range, std::optional<Route> route) {
  std::vector<std::weak_ptr<RouteSleeper>> sleepers;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[range];
    if (entry.known.version != 0 && entry.known.route == route) return;
    entry.known.route = route;
    ++entry.known.version;
    sleepers.swap(entry.sleepers);
  }
  for (const auto& weak : sleepers)
    if (const auto sleeper = weak.lock()) sleeper->wake();
}

std::shared_ptr<RouteSleeper> RouteTable::sleeper(boost::asio::any_io_executor executor) {
  return std::make_shared<TimerSleeper>(std::move(executor));
}

boost::asio::awaitable<void> RouteTable::wait_change(RangeId range, std::uint64_t seen, Duration at_most,
                                                     std::shared_ptr<RouteSleeper> sleeper) {
  const auto timer = std::static_pointer_cast<TimerSleeper>(sleeper);
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[range];
    if (entry.known.version != seen) co_return;
    std::erase_if(entry.sleepers, [](const auto& weak) { return weak.expired(); });
    entry.sleepers.push_back(sleeper);
  }
  if (timer->woken) co_return;
  timer->timer.expires_after(at_most);
  boost::system::error_code ignored;
  co_await timer->timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
}

}  // namespace outlast::gateway
