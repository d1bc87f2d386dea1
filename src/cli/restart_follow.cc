#include "cli/restart_follow.h"

#include <spdlog/fmt/fmt.h>

#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "cli/command.h"

namespace outlast::cli {
namespace json = boost::json;

RestartFollow::RestartFollow(RestartFollowOptions options, RestartFollowPorts ports)
    : options_(std::move(options)), ports_(std::move(ports)) {}

int RestartFollow::fail(const std::string& sentence) {
  ports_.err("outlast: " + sentence + "\n");
  return kFailed;
}

int RestartFollow::run() {
  const auto first = ports_.start();
  if (!first.ok()) return fail(first.error().message);
  id_ = first->accepted_id();
  if (first->receipt_id() == id_) return finish(first->receipt);  // refused while we asked
  show(*first);
  return options_.wait ? follow() : accepted();
}

int RestartFollow::accepted() {
  if (!options_.json)
    ports_.out(
        fmt::format("restart {} accepted; --wait, or GET /api/processes.zeroDowntimeRestart?id={}, says how it "
                    "ends\n",
                    id_, id_));
  return kDone;
}

int RestartFollow::follow() {
  const Duration end = ports_.now() + options_.timeout;
  while (ports_.now() < end) {
    if (ports_.interrupted()) {
      ports_.err(fmt::format("interrupted: restart {} goes on\n", id_));
      return kInterrupted;
    }
    const auto seen = ports_.look(id_);
    if (!seen.ok() && seen.error().code != Errc::kUnavailable) return fail(seen.error().message);
    if (!seen.ok() || !*seen) continue;
    const server::RestartStatus& status = **seen;
    if (status.receipt_id() == id_) {
      if (!options_.json) ports_.err(progress_.take(status, id_, ports_.now()));
      return finish(status.receipt);
    }
    if (status.finished(id_))
      return fail(
          fmt::format("restart {} is over, and its receipt was not seen: RESTARTS.json in the store has it", id_));
    show(status);
  }
  return fail(
      fmt::format("restart {} is not over after {}: it goes on; ask with GET "
                  "/api/processes.zeroDowntimeRestart?id={}&wait=1",
                  id_, format_duration(options_.timeout), id_));
}

void RestartFollow::show(const server::RestartStatus& status) {
  if (!options_.json) {
    if (const std::string lines = progress_.take(status, id_, ports_.now()); !lines.empty()) ports_.err(lines);
    return;
  }
  const std::string line = json::serialize(status.all) + "\n";
  if (line != last_) ports_.out(line);
  last_ = line;
}

int RestartFollow::finish(const json::object& receipt) {
  ports_.out(options_.json ? json::serialize(receipt) + "\n" : restart_receipt(receipt));
  return server::restart_succeeded(receipt) ? kDone : fail(restart_failure(receipt));
}

}  // namespace outlast::cli
