#include "cli/demo/decommission.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLookEvery = 200ms;
constexpr Duration kAnswerLimit = 60s;  ///< Nobody says how far the task is: also while its leader is being replaced.
constexpr std::uint64_t kLeastRate = 1 << 20;
constexpr const char* kBy = "outlast demo";

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
double mib(std::uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}
std::string named(const std::vector<NodeId>& nodes) {
  std::string text;
  for (const NodeId node : nodes) text += (text.empty() ? "" : " and ") + node.to_string();
  return text;
}
}  // namespace

std::uint64_t rate_for(std::uint64_t bytes, int nodes, Duration lasting) {
  const double each = static_cast<double>(bytes) / std::max(nodes, 1) / std::max(seconds(lasting), 0.001);
  return std::max(kLeastRate, static_cast<std::uint64_t>(each));
}

DecommissionAct::DecommissionAct(std::vector<NodeId> leave, int nodes, Duration run, Ports ports)
    : leave_(std::move(leave)), nodes_(nodes), run_(run), ports_(std::move(ports)) {}

void DecommissionAct::fail(const std::string& why) {
  trouble_ = why;
  ports_.say("  " + why);
  phase_ = Phase::kOver;
}

proto::DecommissionRequest DecommissionAct::request(proto::DecommissionRequest::Action action) const {
  proto::DecommissionRequest request;
  request.set_action(action);
  request.set_by(kBy);
  for (const NodeId node : leave_) request.add_nodes(node.value);
  return request;
}

std::string DecommissionAct::refused(const Result<proto::DecommissionReply>& reply) const {
  if (reply.ok() && reply->code().empty() && reply->preflight().may_begin()) return "";
  const std::string why = !reply.ok()              ? reply.error().message
                          : !reply->code().empty() ? reply->message()
                                                   : reply->preflight().text();
  return fmt::format("nodes {} cannot be decommissioned: {}", named(leave_), why);
}

void DecommissionAct::step(Duration now) {
  if (phase_ == Phase::kSteady && now >= run_ / 9) begin(now);
  if (phase_ == Phase::kUnderWay && now - looked_ >= kLookEvery) look(now);
}

/// Eight tenths of the run if all nodes sent equally, as they nearly do: more than a minute in a run of a minute and a
/// half, with what the kill costs beside.
void DecommissionAct::begin(Duration now) {
  if (!ports_.healed()) return;
  const auto tried = ports_.ask(request(proto::DecommissionRequest::DRY_RUN));
  if (const std::string why = refused(tried); !why.empty()) return fail(why);
  preflight_ = tried->preflight();
  limit_ = rate_for(preflight_.bytes(), nodes_, run_ * 8 / 10);
  if (auto set = ports_.limit(limit_); !set.ok()) return fail("the copying cannot be limited: " + set.error().message);
  const auto began = ports_.ask(request(proto::DecommissionRequest::BEGIN));
  if (const std::string why = refused(began); !why.empty()) return fail(why);
  task_ = began->task();
  watch_.emplace(now);
  answered_ = looked_ = now;
  phase_ = Phase::kUnderWay;
  ports_.say(fmt::format(
      "  {:.0f} s: the nodes with ids {} are decommissioned, task {}: {:.0f} MiB to move, {:.1f} MiB/s from a node",
      seconds(now), named(leave_), task_, mib(preflight_.bytes()), mib(limit_)));
}

void DecommissionAct::look(Duration now) {
  looked_ = now;
  const auto status = ports_.status(task_);
  if (!status.ok()) {
    if (now - answered_ > kAnswerLimit)
      fail(fmt::format("nobody says how far task {} is: {}", task_, status.error().message));
    return;
  }
  answered_ = now;
  const std::size_t stalls = story()->stalls.size();
  watch_->look(now, *status);
  if (story()->stalls.size() > stalls)
    ports_.say(fmt::format("  {:.0f} s: it waits: {}", seconds(now), story()->stalls.back().why));
  if (!killed_ && !story()->ended && watch_->share_copied() >= 0.5) {
    killed_ = ports_.kill().ok();
    looked_ = now - kLookEvery;
  }
  if (!story()->ended) return;
  phase_ = Phase::kOver;
  ports_.say(fmt::format("  {:.0f} s: task {} is {}: {}", seconds(now), task_, status->state(), status->outcome()));
}

}  // namespace outlast::cli
