#include "cli/demo/task_watch.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

std::string standing_of(const proto::TaskStatus& status) {
  std::string text = fmt::format("{} {} {}", status.stage(), status.replicas_left(), status.bytes_left());
  for (const auto& node : status.nodes())
    text += fmt::format(" {} {} {} {}", node.stage(), node.replicas(), node.bytes(), node.membership());
  return text;
}
}  // namespace

std::optional<Duration> TaskStory::moving() const {
  if (!copied) return std::nullopt;
  return *copied - asked;
}

std::optional<TaskStory::Prediction> TaskStory::predicted() const {
  if (!copied) return std::nullopt;
  const Duration from = asked + *moving() / 10;
  const auto first = std::ranges::find_if(predictions, [&](const Prediction& each) { return each.at >= from; });
  return first == predictions.end() ? std::nullopt : std::optional(*first);
}

std::optional<double> TaskStory::eta_error() const {
  const auto said = predicted();
  if (!said || *copied <= said->at) return std::nullopt;
  const double real = seconds(*copied - said->at);
  return std::abs(seconds(said->eta) - real) / real;
}

TaskWatch::TaskWatch(Duration asked) : moved_(asked) {
  story_.asked = asked;
}

double TaskWatch::share_copied() const {
  if (!left_) return 0;
  return 1 - std::min(1.0, static_cast<double>(*left_) / static_cast<double>(story_.bytes));
}

void TaskWatch::look(Duration now, const proto::TaskStatus& status) {
  story_.last = status;
  if (status.owner() != 0) story_.runners.insert(status.owner());
  if (status.has_progress()) look_at_progress(now, status);
  look_at_silence(now, status);
  if (status.state() == "running" || status.state() == "paused" || story_.ended) return;
  story_.ended = now;
  if (status.state() == "completed" && !story_.copied) story_.copied = now;
}

/// A runner that is new to the task may not know at once what there was at the start, or what is left.
void TaskWatch::look_at_progress(Duration now, const proto::TaskStatus& status) {
  story_.bytes = std::max<std::uint64_t>(story_.bytes, status.bytes_at_start());
  if (story_.bytes == 0 || (!left_ && status.bytes_left() == 0)) return;
  left_ = status.bytes_left();
  const bool due = story_.predictions.empty() || now - story_.predictions.back().at >= 100ms;
  if (due && share_copied() >= 0.1 && status.eta_ms() >= 0)
    story_.predictions.push_back({now, std::chrono::milliseconds(status.eta_ms())});
  if (status.replicas_left() != 0)
    story_.copied.reset();
  else if (!story_.copied && *left_ == 0)
    story_.copied = now;
}

void TaskWatch::look_at_silence(Duration now, const proto::TaskStatus& status) {
  const std::string& reason = status.stall().reason();
  if (reason != stall_ && !reason.empty())
    story_.stalls.push_back({now, reason, status.stall().why(), status.stall().ranges_size()});
  if (stall_.empty()) story_.longest_silence = std::max(story_.longest_silence, now - moved_);
  stall_ = reason;
  const std::string standing = standing_of(status);
  if (standing != standing_ || !reason.empty()) moved_ = now;
  standing_ = standing;
}

}  // namespace outlast::cli
