#include "cli/workload_outcome.h"

#include <algorithm>

namespace outlast::cli {
namespace {
constexpr std::size_t kComplaintsMax = 20;

double to_ms(LoadRecord::Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}
}  // namespace

Ending judge(const PgReply& reply, StatementPlace place) {
  if (reply.ok) return Ending::kOk;
  if (reply.timed_out) return Ending::kFailed;
  if (reply.sqlstate == "40001") return place.may_retry ? Ending::kRetried : Ending::kFailed;
  if (reply.sqlstate == "40003" || reply.sqlstate == "08006") return Ending::kUnknown;
  if (reply.broken && reply.sqlstate.empty()) return Ending::kBroken;
  const bool told_to_go = reply.sqlstate == "57P01" || reply.sqlstate == "57P03";
  if (told_to_go && reply.broken && !place.in_transaction && !place.naive) return Ending::kClosedIdle;
  return Ending::kFailed;
}

RowFate fate_of_write(const PgReply& reply, Ending ending) {
  switch (ending) {
    case Ending::kOk:
      return RowFate::kAcked;
    case Ending::kUnknown:
    case Ending::kBroken:
      return RowFate::kUnknown;
    case Ending::kRetried:
    case Ending::kClosedIdle:
      return RowFate::kRefused;
    case Ending::kFailed:
      break;
  }
  // An error with a code is a promise that nothing was applied; silence and nonsense promise nothing.
  return reply.timed_out || reply.sqlstate.empty() ? RowFate::kUnknown : RowFate::kRefused;
}

std::uint64_t died_with_gateway(const std::vector<BrokenStatement>& broken, const std::vector<GatewayKill>& kills) {
  return static_cast<std::uint64_t>(std::ranges::count_if(broken, [&](const BrokenStatement& b) {
    return std::ranges::any_of(kills, [&](const GatewayKill& kill) {
      return kill.url == b.url && b.opened <= kill.after && kill.before <= b.broke;
    });
  }));
}

void LoadRecord::statement(Ending ending, const PgReply& reply, Clock::time_point asked, Clock::time_point sent) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  max_pause_ = std::max(max_pause_, now - asked);
  switch (ending) {
    case Ending::kOk:
      ++statements_.ok;
      max_latency_ = std::max(max_latency_, now - sent);
      timeline_.add(std::chrono::duration_cast<std::chrono::microseconds>(now - started_),
                    std::chrono::duration_cast<std::chrono::microseconds>(now - sent));
      return;
    case Ending::kClosedIdle:
      return;  // nothing ran; closed() counts the connection
    case Ending::kRetried:
      ++statements_.retried;
      break;
    case Ending::kUnknown:
    case Ending::kBroken:
      ++statements_.unknown;
      break;
    case Ending::kFailed:
      ++statements_.failed;
      break;
  }
  const std::string code = ending == Ending::kBroken ? "08006" : reply.sqlstate;
  if (code.empty())
    ++statements_.unnamed;
  else
    ++statements_.by_sqlstate[code];
  if (ending == Ending::kFailed || ending == Ending::kUnknown) complain(code, code + " " + reply.message);
}

void LoadRecord::broke(const BrokenStatement& where) {
  const std::lock_guard lock(mutex_);
  broken_.push_back(where);
}

void LoadRecord::wrong_answer(const std::string& what) {
  const std::lock_guard lock(mutex_);
  ++statements_.failed;
  ++statements_.unnamed;
  complain("wrong " + std::to_string(complaints_.size()), "wrong answer: " + what);
}

void LoadRecord::opened() {
  const std::lock_guard lock(mutex_);
  ++connections_.opened;
}

void LoadRecord::refused() {
  const std::lock_guard lock(mutex_);
  ++connections_.refused;
}

void LoadRecord::retired() {
  const std::lock_guard lock(mutex_);
  ++connections_.retired;
}

void LoadRecord::closed(Ending ending, bool in_transaction) {
  const std::lock_guard lock(mutex_);
  if (ending == Ending::kClosedIdle) {
    ++connections_.closed_idle;
    return;
  }
  ++connections_.lost;
  if (in_transaction) ++connections_.lost_in_transaction;
}

void LoadRecord::unreachable(const std::string& why, Clock::duration waited) {
  const std::lock_guard lock(mutex_);
  ++statements_.failed;
  ++statements_.by_sqlstate["08001"];
  max_pause_ = std::max(max_pause_, waited);
  complain("08001", "08001 no node let this client in: " + why);
}

void LoadRecord::complain(const std::string& key, const std::string& text) {
  if (complaints_.size() < kComplaintsMax) complaints_.try_emplace(key, text);
}

StatementCounts LoadRecord::statements() const {
  const std::lock_guard lock(mutex_);
  return statements_;
}
std::vector<BrokenStatement> LoadRecord::broken() const {
  const std::lock_guard lock(mutex_);
  return broken_;
}
ConnectionCounts LoadRecord::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}
LatencyTimeline LoadRecord::timeline() const {
  const std::lock_guard lock(mutex_);
  return timeline_;
}
LatencyHistogram LoadRecord::last(std::chrono::microseconds window) const {
  const auto now = elapsed();
  const std::lock_guard lock(mutex_);
  return timeline_.between(now - window, now);
}
double LoadRecord::max_latency_ms() const {
  const std::lock_guard lock(mutex_);
  return to_ms(max_latency_);
}
double LoadRecord::max_pause_ms() const {
  const std::lock_guard lock(mutex_);
  return to_ms(max_pause_);
}
std::vector<std::string> LoadRecord::complaints() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> texts;
  for (const auto& [key, text] : complaints_) texts.push_back(text);
  return texts;
}
std::chrono::microseconds LoadRecord::elapsed() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started_);
}

}  // namespace outlast::cli
