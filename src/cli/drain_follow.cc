#include "cli/drain_follow.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "cli/command.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLookEvery = 100ms;
constexpr Duration kLineEvery = 1s;      ///< For logs: no more lines than a person reads.
constexpr Duration kSameLineEvery = 5s;  ///< A line although nothing changed: it lives.

/// A warning whose figures move is not a new one.
std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}
}  // namespace

DrainFollow::DrainFollow(DrainFollowOptions options, DrainPorts ports)
    : options_(std::move(options)), ports_(std::move(ports)), limit_(options_.wait) {}

int DrainFollow::run() {
  began_ = work_at_ = ports_.now();
  auto reply = ports_.ask(options_.request);
  if (!reply.ok()) return fail(reply.error().message);
  incarnation_ = reply->status().incarnation();
  for (;; reply = ports_.ask(proto::DrainRequest())) {  // STATUS
    if (!reply.ok()) {
      lost(reply.error());
    } else if (!reply->code().empty()) {
      return fail(options_.name + ": " + reply->message());
    } else {
      const Look found = take(reply->status());
      if (found == Look::kOver) return finish();
      if (found == Look::kFailed) return kFailed;
    }
    if (out_of_time()) return timed_out();
    if (ports_.pause(kLookEvery)) return interrupted();
  }
}

int DrainFollow::fail(const std::string& sentence) {
  clear_details();
  ports_.err("outlast: " + sentence + "\n");
  return kFailed;
}

DrainFollow::Look DrainFollow::take(const proto::DrainStatus& status) {
  if (lost_) ports_.err(options_.name + " answers again\n");
  lost_ = false;
  if (status.incarnation() != incarnation_) {
    fail(fmt::format("{} was started again meanwhile and is not draining: run the command again", options_.name));
    return Look::kFailed;
  }
  if (status.since_micros() == 0) {
    fail(fmt::format("the drain of {} was taken back meanwhile (undrain)", options_.name));
    return Look::kFailed;
  }
  last_ = status;
  last_.clear_last_receipt();  // of an earlier drain, or the same once more
  raise_limit(status);
  for (const std::string& warning : status.warnings())
    if (warned_.insert(without_digits(warning)).second) {
      clear_details();
      ports_.err("warning: " + warning + "\n");
    }
  if (!status.end().empty()) return Look::kOver;
  show(last_);
  return Look::kGoesOn;
}

/// Giving up before the node may have finished its configured waits would only look like a failure.
void DrainFollow::raise_limit(const proto::DrainStatus& status) {
  const Duration sum = std::chrono::milliseconds(status.settings_sum_ms());
  if (sum <= limit_) return;
  clear_details();
  ports_.err(fmt::format("waiting {} instead of {}: the settings server.shutdown.* may take that long\n",
                         format_duration(sum), format_duration(limit_)));
  limit_ = sum;
}

void DrainFollow::show(const proto::DrainStatus& status) {
  const Duration now = ports_.now(), since = now - line_at_;
  const std::string line = drain_line(status);
  if (status.remaining().total() > 0) work_at_ = now;
  // The end usually follows at once, and says 0 itself.
  const bool ending = status.remaining().total() == 0 && now - work_at_ < kLineEvery;
  const bool due = !ending && (line_.empty() || since >= (line == line_ ? kSameLineEvery : kLineEvery));
  if (due) {
    clear_details();
    if (options_.json)
      ports_.out(boost::json::serialize(server::to_json(status)) + "\n");
    else
      ports_.err(line + "\n");
    line_ = line, line_at_ = now;
  }
  if (!options_.terminal || options_.json) return;
  clear_details();
  const std::string details = drain_details(status);
  ports_.err(details);
  details_ = static_cast<std::size_t>(std::count(details.begin(), details.end(), '\n'));
}

void DrainFollow::clear_details() {
  if (details_ > 0) ports_.err(fmt::format("\x1b[{}F\x1b[J", details_));
  details_ = 0;
}

void DrainFollow::lost(const Error& why) {
  if (lost_) return;
  lost_ = true;
  clear_details();
  ports_.err(fmt::format(
      "{} does not answer ({}); last seen in \"{}\" with {} left. Whether it goes on draining is not "
      "known; asking again until {} have passed\n",
      options_.name, why.message, last_.phase(), drain_remaining(last_.remaining()), format_duration(limit_)));
}

int DrainFollow::finish() {
  clear_details();
  if (!options_.json) {
    ports_.err(drain_line(last_) + "\n");
    ports_.out("ok\n");
    ports_.err(drain_receipt(last_));
  }
  const int code = options_.shutdown ? shut_down() : kDone;
  if (options_.json) ports_.out(boost::json::serialize(server::to_json(last_)) + "\n");
  return code;
}

/// Only now, so that a drain that does not end leaves a process that can be looked at.
int DrainFollow::shut_down() {
  proto::DrainRequest request = options_.request;
  request.set_shutdown(true);
  for (;;) {
    const auto reply = ports_.ask(request);
    if (!reply.ok() && reply.error().code == Errc::kUnavailable) break;  // nobody listens there any more
    const bool stopping = reply.ok() && reply->code() == facts(Errc::kInvalidState).name;
    if (reply.ok() && !reply->code().empty() && !stopping) return fail(options_.name + ": " + reply->message());
    if (reply.ok() && !stopping && reply->status().incarnation() != incarnation_) break;
    if (out_of_time()) return fail(options_.name + " is drained, and its process still runs: stop it with SIGTERM");
    if (ports_.pause(kLookEvery)) return interrupted();
  }
  if (!options_.json) ports_.out("shutdown ok\n");
  return kDone;
}

int DrainFollow::timed_out() {
  clear_details();
  ports_.err(fmt::format(
      "ERROR: drain timeout\n{} {} after {}: {} left; {}\n", options_.name, lost_ ? "did not answer" : "still drains",
      format_duration(limit_), drain_remaining(last_.remaining()),
      needs_force(last_) ? "leases that nobody else could take keep it from ending: add a replica of "
                           "each, or run the command again with --force"
                         : "run the command again to go on waiting, or `outlast node undrain` to "
                           "take the drain back"));
  return kFailed;
}

int DrainFollow::interrupted() {
  clear_details();
  ports_.err(fmt::format("interrupted: {} goes on draining; `outlast node undrain` takes it back\n", options_.name));
  return kInterrupted;
}

}  // namespace outlast::cli
