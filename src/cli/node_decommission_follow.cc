#include "cli/node_decommission_follow.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "cli/command.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLookEvery = 250ms;
constexpr Duration kStoredWithin = 5s;  ///< Until every node knows of a task that was stored.
constexpr const char* kGone =
    "No more data reported on target nodes. Please verify cluster health before removing the nodes.\n";

bool is_under_way(const proto::TaskStatus& task) {
  return task.state() == "running" || task.state() == "paused";
}
}  // namespace

DecommissionFollow::DecommissionFollow(DecommissionOptions options, DecommissionPorts ports)
    : options_(std::move(options)), ports_(std::move(ports)) {}

int DecommissionFollow::run() {
  proto::DecommissionRequest request;
  request.set_action(options_.dry_run ? proto::DecommissionRequest::DRY_RUN : proto::DecommissionRequest::BEGIN);
  for (const std::uint32_t node : options_.nodes) request.add_nodes(node);
  request.set_checks(options_.checks);
  request.set_by(options_.by);
  const auto reply = ports_.decommission(request);
  if (!reply.ok()) return fail(reply.error().message);
  if (options_.dry_run && reply->has_preflight()) return dry_run(*reply);
  if (!reply->code().empty()) return refused(*reply);
  ports_.err(reply->preflight().text());
  if (reply->task() == 0) return nothing_to_do(*reply);
  task_ = reply->task();
  if (options_.wait) return follow();
  proto::NodeStatusReply nodes;
  *nodes.mutable_nodes() = reply->nodes();
  if (options_.json) {
    ports_.out(boost::json::serialize(boost::json::object{{"task", task_}}) + "\n");
    return kDone;
  }
  ports_.err(decommission_table(nodes, options_.nodes).table());
  ports_.out(
      fmt::format("The decommission of {} goes on as task {}: `outlast task show {}` says how far it is, `outlast node "
                  "decommission {}` "
                  "waits for its end.\n",
                  nodes_text(options_.nodes), task_, task_, node_words(options_.nodes)));
  return kDone;
}

int DecommissionFollow::fail(const std::string& sentence) {
  say("outlast: " + sentence + "\n");
  return kFailed;
}

int DecommissionFollow::refused(const proto::DecommissionReply& reply) {
  if (!reply.has_preflight() || reply.preflight().may_begin()) return fail(reply.message());
  ports_.err(reply.preflight().text());
  ports_.err("Failed running \"node decommission\"\n");
  if (options_.json) ports_.out(boost::json::serialize(server::to_json(reply.preflight())) + "\n");
  return kFailed;
}

int DecommissionFollow::dry_run(const proto::DecommissionReply& reply) {
  const proto::Preflight& found = reply.preflight();
  if (options_.json) {
    ports_.out(boost::json::serialize(server::to_json(found)) + "\n");
  } else {
    ports_.out(readiness_table(reply).table());
    ports_.err(found.text());
    ports_.out(decommission_plan(found));
  }
  return found.may_begin() ? kDone : kVerdictNegative;
}

int DecommissionFollow::nothing_to_do(const proto::DecommissionReply& reply) {
  proto::NodeStatusReply nodes;
  *nodes.mutable_nodes() = reply.nodes();
  if (options_.json) {
    ports_.out(boost::json::serialize(boost::json::object{{"task", nullptr}}) + "\n");
    return kDone;
  }
  ports_.err(decommission_table(nodes, options_.nodes).table());
  ports_.err(nodes_text(options_.nodes) +
             (options_.nodes.size() == 1 ? " is already decommissioned\n" : " are already decommissioned\n"));
  ports_.out(kGone);
  return kDone;
}

int DecommissionFollow::follow() {
  began_ = ports_.now();
  if (!options_.json) say(fmt::format("decommissioning {} as task {}\n", nodes_text(options_.nodes), task_));
  for (;;) {
    proto::TasksRequest request;
    request.set_task(task_);
    const Look found = take(ports_.tasks(request));
    if (found == Look::kDone) return finish();
    if (found == Look::kFailed) return kFailed;
    if (ports_.pause(kLookEvery)) return interrupted();
  }
}

DecommissionFollow::Look DecommissionFollow::take(const Result<proto::TasksReply>& reply) {
  const bool unknown =
      reply.ok() && (reply->code() == facts(Errc::kNotFound).name || (reply->code().empty() && reply->tasks().empty()));
  if (unknown && last_.id() == 0 && ports_.now() - began_ < kStoredWithin) return Look::kGoesOn;
  if (unknown) return forgotten();
  if (!reply.ok() || !reply->code().empty()) {
    if (!lost_)
      say(fmt::format("no node answers ({}); task {} goes on without this command; asking again\n",
                      reply.ok() ? reply->message() : reply.error().message, task_));
    lost_ = true;
    return Look::kGoesOn;
  }
  if (lost_) say("the cluster answers again\n");
  lost_ = false;
  return judge(reply->tasks(0));
}

DecommissionFollow::Look DecommissionFollow::judge(const proto::TaskStatus& task) {
  const bool running = is_under_way(task);
  std::size_t gone = 0, decommissioned = 0;
  for (const auto& node : task.nodes()) {
    if (!options_.nodes.contains(node.node())) continue;
    const bool settled = node.stage() == "settled" || !running;
    const bool is_gone = node.membership() == "decommissioned";
    if (is_gone) ++decommissioned;
    if (settled && is_gone) ++gone;
    if (!is_gone && node.stage() == "settled") return taken_back(fmt::format("node {}", node.node()));
  }
  last_ = task;
  if (gone == options_.nodes.size()) return Look::kDone;
  if (task.state() == "completed") return forgotten();
  if (task.state() == "cancelled") return taken_back(nodes_text(options_.nodes));
  if (!running) return fail(fmt::format("task {} {}: {}", task_, task.state(), task.outcome())), Look::kFailed;
  if (decommissioned < options_.nodes.size()) show(task);
  return Look::kGoesOn;
}

/// The task says nothing of these nodes any more; their membership does.
DecommissionFollow::Look DecommissionFollow::forgotten() {
  const auto cluster = ports_.nodes();
  if (!cluster.ok()) return Look::kGoesOn;
  proto::TaskStatus last = last_;
  last.clear_nodes();
  for (const auto& node : cluster->nodes()) {
    if (!options_.nodes.contains(node.id())) continue;
    if (node.membership() == "active") return taken_back(fmt::format("node {}", node.id()));
    if (node.membership() != "decommissioned") return follow_next(node.id());
    proto::TaskStatus::Node row;
    for (const auto& known : last_.nodes())
      if (known.node() == node.id()) row = known;
    row.set_node(node.id());
    row.set_is_live(node.is_live());
    row.set_replicas(node.replicas());
    row.set_membership(node.membership());
    row.set_is_draining(node.is_draining());
    *last.add_nodes() = std::move(row);
  }
  last_ = std::move(last);
  return Look::kDone;
}

/// The nodes that were named may belong to several tasks, begun before by others.
DecommissionFollow::Look DecommissionFollow::follow_next(std::uint32_t node) {
  const auto all = ports_.tasks({});
  if (!all.ok()) return Look::kGoesOn;
  for (const auto& task : all->tasks())
    for (const auto& one : task.nodes())
      if (one.node() == node && one.stage() != "settled" && is_under_way(task)) {
        task_ = task.id();
        return Look::kGoesOn;
      }
  fail(fmt::format("node {} is decommissioning, and no task takes it out: run the command again", node));
  return Look::kFailed;
}

DecommissionFollow::Look DecommissionFollow::taken_back(const std::string& who) {
  fail(fmt::format("the decommission of {} was taken back meanwhile (recommission, or the task was cancelled)", who));
  return Look::kFailed;
}

int DecommissionFollow::finish() {
  if (options_.json) {
    ports_.out(boost::json::serialize(server::to_json(last_)) + "\n");
    return kDone;
  }
  const auto cluster = ports_.nodes();  // says of a node that is gone how it left
  say((cluster.ok() ? decommission_table(*cluster, options_.nodes) : decommission_table(last_, options_.nodes))
          .table());
  ports_.out(kGone);
  ports_.err(decommission_receipt(last_, options_.nodes));
  return kDone;
}

int DecommissionFollow::interrupted() {
  say(
      fmt::format("interrupted: the decommission goes on as task {}; `outlast node decommission {}` follows it again, "
                  "`outlast node "
                  "recommission {}` takes it back\n",
                  task_, node_words(options_.nodes), node_words(options_.nodes)));
  return kInterrupted;
}

}  // namespace outlast::cli
