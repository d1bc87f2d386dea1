#include "tests/sim/world.h"

#include <cstdio>

namespace outlast::sim {

World::EventId World::plan(Owner owner, Duration delay, const char* kind, Task task) {
  const Instant at = now_ + std::max(delay, Duration{0});
  const EventId id = ++last_;
  events_.emplace(Key{at, id}, Event{owner, kind, std::move(task)});
  times_.emplace(id, at);
  return id;
}

void World::events_of_id_erase(EventId event) {
  const auto found = times_.find(event);
  if (found == times_.end()) return;
  const auto it = events_.find({found->second, event});
  times_.erase(found);
  const Task dropped = std::move(it->second.task);  // destroyed last: what it owns may plan or cancel
  events_.erase(it);
}

void World::drop(Owner owner) {
  std::vector<Task> dropped;
  for (auto it = events_.begin(); it != events_.end();) {
    if (it->second.owner != owner) {
      ++it;
      continue;
    }
    dropped.push_back(std::move(it->second.task));
    times_.erase(it->first.second);
    it = events_.erase(it);
  }
}

void World::run_until(Instant until) {
  while (!stop && !events_.empty() && events_.begin()->first.first <= until) {
    auto node = events_.extract(events_.begin());
    times_.erase(node.key().second);
    now_ = std::max(now_, node.key().first);
    note(node.mapped().kind);
    ++ran_;
    ++depth_;
    {
      Task task = std::move(node.mapped().task);
      task();
    }
    --depth_;
    after_event(depth_ == 0);
  }
  if (!stop) now_ = std::max(now_, until);
}

void World::note(std::string_view text) {
  const auto mix = [this](std::uint64_t byte) { hash_ = (hash_ ^ byte) * 1099511628211ULL; };  // FNV-1a
  for (const char c : text) mix(static_cast<unsigned char>(c));
  auto time = static_cast<std::uint64_t>(now_.time_since_epoch().count());
  for (int i = 0; i < 8; ++i, time >>= 8) mix(time & 0xff);
}

void World::trace(const std::string& text) const {
  if (tracing) std::fprintf(stderr, "%10.3f ms  %s\n", millis(), text.c_str());
}

}  // namespace outlast::sim
