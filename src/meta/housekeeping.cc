#include "meta/housekeeping.h"

#include <spdlog/spdlog.h>

#include "meta/events.h"
#include "meta/tasks.h"

namespace outlast::meta {

void Housekeeping::run() {
  schedule();
  fences_.run([](Result<std::size_t> gone) {
    if (!gone.ok()) spdlog::warn("old fences were not deleted: {}", gone.error().message);
  });
  if (!office_.holds()) return;
  store_.compact(kRevisionsKept, [](Result<Revision> compacted) {
    if (!compacted.ok()) spdlog::warn("metadata history was not cut: {}", compacted.error().message);
  });
  prune_events(store_, kEventsKept, [](Result<std::size_t> pruned) {
    if (!pruned.ok()) spdlog::warn("old events were not deleted: {}", pruned.error().message);
  });
  prune_tasks(store_, kEndedTasksKept, [](Result<std::size_t> pruned) {
    if (!pruned.ok()) spdlog::warn("old tasks were not deleted: {}", pruned.error().message);
  });
}

}  // namespace outlast::meta
