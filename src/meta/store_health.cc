#include "meta/store_health.h"

#include <spdlog/spdlog.h>

#include "meta/events.h"

namespace outlast::meta {
using namespace std::chrono_literals;

namespace {
constexpr Duration kReportLimit = 3s;  ///< A process whose store carries the mark waits so long for the metadata.
constexpr Duration kReportAgain = 1s;
}  // namespace

StoreHealth::StoreHealth(Store& store, Loop& loop, const NodeMirror& nodes, liveness::Peer self,
                         std::function<void()> end)
    : store_(store), loop_(loop), nodes_(nodes), self_(self), end_(std::move(end)) {}

StoreHealth::~StoreHealth() {
  for (const Loop::TimerId timer : {timer_, limit_})
    if (timer != 0) loop_.cancel(timer);
}

void StoreHealth::failed(RangeId range, const Error& why, bool marked) {
  const bool first = report_.failure.empty();
  const bool news = first || (!marked && !report_.unmarked);
  report_.unmarked = report_.unmarked || !marked;
  if (!marked)
    spdlog::critical("range {}: the store cannot be told that its replica is not to be trusted any more", range.value);
  if (first) {
    report_.failure = why.message;
    spdlog::critical("the disk of the store failed: {}: this process ends, and nothing is placed here for a while",
                     why.message);
    append_event(store_,
                 {.time_micros = loop_.wall_micros(),
                  .type = "store_failed",
                  .node = self_.node,
                  .details = {{"incarnation", self_.incarnation.value}, {"range", range.value}, {"why", why.message}}},
                 [](const Result<void>&) {});
    limit_ = loop_.after(kReportLimit, [this] {
      limit_ = 0;
      if (!report_.unmarked) end();
    });
  }
  if (news) report();
}

void StoreHealth::report() {
  if (reporting_) return;  // the answer looks at what is new
  reporting_ = true;
  report_store(store_, self_.node, report_,
               [this, alive = std::weak_ptr(alive_), unmarked = report_.unmarked](const Result<void>& result) {
                 if (!alive.expired()) reported(unmarked, result);
               });
}

void StoreHealth::reported(bool unmarked, const Result<void>& result) {
  reporting_ = false;
  if (result.ok() && unmarked == report_.unmarked) return end();
  if (!result.ok()) spdlog::error("the failure of the store's disk is not on record yet: {}", result.error().message);
  if (result.ok()) return report();
  timer_ = loop_.after(kReportAgain, [this] {
    timer_ = 0;
    report();
  });
}

void StoreHealth::end() {
  if (end_) std::exchange(end_, nullptr)();
}

bool StoreHealth::on_probation() const {
  const auto mine = nodes_.find(keys::node(self_.node));
  return report_.failure.empty() && mine && !mine->value.store.failure.empty();
}

void StoreHealth::tried(const Result<void>& synced) {
  good_ = synced.ok() && on_probation() ? good_ + 1 : 0;
  if (good_ < kGoodSyncs || clearing_) return;
  clearing_ = true;
  report_store(store_, self_.node, {}, [this, alive = std::weak_ptr(alive_)](const Result<void>& result) {
    if (alive.expired()) return;
    clearing_ = false;
    if (!result.ok()) return;  // the next try asks again
    good_ = 0;
    spdlog::info("the disk of the store has been good for a while: it may be used again");
    append_event(store_,
                 {.time_micros = loop_.wall_micros(),
                  .type = "store_recovered",
                  .node = self_.node,
                  .details = {{"incarnation", self_.incarnation.value}}},
                 [](const Result<void>&) {});
  });
}

}  // namespace outlast::meta
