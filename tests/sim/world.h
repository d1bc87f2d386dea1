#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/loop.h"

namespace outlast::sim {

/// Who planned an event: one run of one process, or 0 for the world outside of all of them.
using Owner = std::uint64_t;

/// Simulated time, chance, and everything that is going to happen. One thread; events run by (time, order of planning).
/// Every event goes into a hash of the history: two runs of one seed must end with the same one.
class World {
 public:
  using EventId = std::uint64_t;
  explicit World(std::uint64_t seed) : random_(seed) {}

  Instant now() const { return now_; }
  /// Time since the beginning of the history, for people.
  double millis() const { return std::chrono::duration<double, std::milli>(now_ - kStart).count(); }
  Random& random() { return random_; }
  bool chance(std::uint64_t of_a_million) { return of_a_million > 0 && random_.below(1'000'000) < of_a_million; }
  /// Uniform between the two.
  Duration between(Duration low, Duration high) {
    return low + Duration(random_.below(static_cast<std::uint64_t>((high - low).count()) + 1));
  }

  /// `kind` says what it is, in the hash and in the trace.
  EventId plan(Owner owner, Duration delay, const char* kind, Task task);
  void cancel(EventId event) { events_of_id_erase(event); }
  /// The process is gone: nothing that it planned happens.
  void drop(Owner owner);

  /// Runs the events up to `until`; time stands there afterwards. May be called from within an event: then the others
  /// go on while that one has not ended (a process that is stopped in the middle of what it does).
  void run_until(Instant until);
  void run_for(Duration d) { run_until(now_ + d); }
  bool inside_event() const { return depth_ > 0; }
  std::uint64_t events() const { return ran_; }

  /// Called after each event; `outermost` when no other one is under way.
  std::function<void(bool outermost)> after_event = [](bool) {};
  /// Ends run_until early.
  bool stop{false};

  void note(std::string_view text);  ///< Into the hash.
  std::uint64_t hash() const { return hash_; }
  bool tracing{false};
  void trace(const std::string& text) const;

  static constexpr Instant kStart{std::chrono::hours(1)};

 private:
  struct Event {
    Owner owner;
    const char* kind;
    Task task;
  };
  using Key = std::pair<Instant, EventId>;
  void events_of_id_erase(EventId event);

  SeededRandom random_;
  Instant now_{kStart};
  EventId last_{0};
  std::map<Key, Event> events_;
  std::unordered_map<EventId, Instant> times_;
  int depth_{0};
  std::uint64_t ran_{0}, hash_{14695981039346656037ULL};
};

}  // namespace outlast::sim
