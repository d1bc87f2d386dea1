#include "tasks/placer.h"

#include <spdlog/spdlog.h>

namespace outlast::tasks {
using namespace std::chrono_literals;

namespace {
constexpr Duration kTick = 1s;
constexpr Duration kSoon = 50ms;
constexpr Duration kAnswerLimit = 15s;
constexpr Duration kRest = 2s;
}  // namespace

Placer::Placer(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}

Placer::~Placer() {
  if (timer_ != 0) loop_.cancel(timer_);
}

void Placer::start() {
  schedule(kSoon);
}

void Placer::nudge() {
  if (timer_ != 0 && due_ > loop_.now() + kSoon) schedule(kSoon);
}

void Placer::schedule(Duration delay) {
  if (timer_ != 0) loop_.cancel(timer_);
  due_ = loop_.now() + delay;
  timer_ = loop_.after(delay, [this] {
    timer_ = 0;
    tick();
  });
}

void Placer::tick() {
  const Instant now = loop_.now();
  std::erase_if(asked_, [&](const auto& asked) { return now - asked.second > kAnswerLimit; });
  std::erase_if(rest_until_, [&](const auto& rest) { return rest.second <= now; });
  if (ports_.in_office())
    for (const placement::Step& step : placement::plan(ports_.view()))
      if (!asked_.contains(step.range) && !rest_until_.contains(step.range)) take(step);
  schedule(kTick);
}

void Placer::take(const placement::Step& step) {
  asked_[step.range] = loop_.now();
  ports_.take(step, [this, alive = std::weak_ptr<int>(alive_), step](const Result<void>& result) {
    if (alive.expired()) return;
    asked_.erase(step.range);
    if (result.ok()) {
      ++taken_;
      return nudge();
    }
    ++failed_;
    rest_until_[step.range] = loop_.now() + kRest;
    spdlog::debug("placement: range {}: {}", step.range.value, result.error().message);
  });
}

}  // namespace outlast::tasks
