#include "cli/record_senders.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kTick = 20ms, kHttpTick = 100ms;
constexpr auto kFinishLimit = 10s;
}  // namespace

std::uint64_t records_due(Duration elapsed, double rate) {
  return static_cast<std::uint64_t>(std::chrono::duration<double>(elapsed).count() * rate);
}

RecordSenders::RecordSenders(std::vector<SenderPlan> plans, double rate) : rate_(rate) {
  for (SenderPlan& plan : plans) senders_.push_back(RecordSender::make(std::move(plan)));
}

RecordSenders::~RecordSenders() {
  end(false);
}

void RecordSenders::start() {
  began_ = Steady::now();
  for (std::size_t i = 0; i < senders_.size(); ++i) threads_.emplace_back([this, i] { run(*senders_[i], i); });
}

void RecordSenders::stop() {
  end(true);
}

void RecordSenders::end(bool whole) {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    whole_ = whole;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

bool RecordSenders::sleep_until(Steady::time_point until) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, until, [this] { return ending_; });
}

/// Their ticks are spread, so that they do not all wake at once.
void RecordSenders::run(RecordSender& sender, std::size_t index) {
  const Duration tick = sender.plan().kind == RecordKind::kHttp ? kHttpTick : kTick;
  auto next = began_ + tick * (index + 1) / senders_.size();
  const auto due = [&] { return records_due(Steady::now() - began_, rate_); };
  for (; sleep_until(next); next = std::max<Steady::time_point>(next + tick, Steady::now())) sender.send_until(due());
  if (whole_) sender.finish(due(), Steady::now() + kFinishLimit);
}

std::vector<RecordSenders::Sender> RecordSenders::counts() const {
  std::vector<Sender> all;
  for (const auto& sender : senders_) all.push_back({sender->plan(), sender->counts()});
  return all;
}

}  // namespace outlast::cli
