#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"

namespace outlast::gateway {

/// Who leads a range, as far as this node knows.
struct Route {
  NodeId node;
  Incarnation incarnation;
  Epoch epoch;
  friend bool operator==(const Route&, const Route&) = default;
};

/// One sleeper of a RouteTable. wake() from any thread, before, during or after the sleep.
class RouteSleeper {
 public:
  virtual ~RouteSleeper() = default;
  virtual void wake() = 0;
};

/// The leaseholders of all ranges, fed from the range records, and those who wait for one to change. A route may be out
/// of date: the addressed node then refuses, and the caller waits for the next change. Thread-safety: any thread.
/// Lifetime: outlives its sleepers' coroutines.
class RouteTable {
 public:
  struct Known {
    std::optional<Route> route;  ///< None: nobody leads it, or the range is not known here.
    std::uint64_t version{0};    ///< Grows with every change of this range.
  };
  Known find(RangeId range) const;
  /// nullopt: released, or the record is gone.
  void update(RangeId range, std::optional<Route> route);

  std::shared_ptr<RouteSleeper> sleeper(boost::asio::any_io_executor executor);
  /// Returns when the range's version is not `seen` any more, after `at_most`, or when the sleeper is woken.
  boost::asio::awaitable<void> wait_change(RangeId range, std::uint64_t seen, Duration at_most,
                                           std::shared_ptr<RouteSleeper> sleeper);

 private:
  struct Entry {
    Known known;
    std::vector<std::weak_ptr<RouteSleeper>> sleepers;
  };
  mutable std::mutex mutex_;
  std::unordered_map<RangeId, Entry> entries_;
};

}  // namespace outlast::gateway
