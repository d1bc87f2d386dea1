#include "server/task_api.h"

#include <algorithm>

#include "lifecycle/decommission_record.h"
#include "lifecycle/rolling_record.h"
#include "server/rolling_api.h"
#include "server/task_progress.h"

namespace outlast::server {
using namespace std::chrono_literals;
using proto::TasksRequest;

namespace {
constexpr Duration kAnswerLimit = 1s;

proto::TasksReply refusal(const Error& why) {
  proto::TasksReply reply;
  reply.set_code(std::string(facts(why.code).name));
  reply.set_message(why.message);
  return reply;
}

Error not_there(std::uint64_t task) {
  return {Errc::kNotFound, "there is no task " + std::to_string(task) + "; `outlast task ls` lists them"};
}

Result<std::string> all_stay(const std::string& body) {
  ASSIGN_OR_RETURN(const auto record, lifecycle::decode_decommission_record(body));
  std::vector<NodeId> nodes;
  for (const auto& node : record.nodes)
    if (!node.settled) nodes.push_back(node.node);
  ASSIGN_OR_RETURN(const auto next, ask_to_stay(record, nodes));
  return encode(next);
}
}  // namespace

Result<meta::TaskRecord> after_wish(const meta::TaskRecord& now, TasksRequest::Action action) {
  if (is_over(now.state))
    return Error(Errc::kInvalidState,
                 "task " + std::to_string(now.id) + " is over: " + std::string(to_string(now.state)));
  meta::TaskRecord next = now;
  if (action == TasksRequest::PAUSE) next.state = meta::TaskState::kPaused;
  if (action == TasksRequest::RESUME) next.state = meta::TaskState::kRunning;
  if (action != TasksRequest::CANCEL) return next;
  if (now.kind != meta::kDecommissionTask && now.kind != meta::kRollingRestartTask)
    return Error(Errc::kInvalidState, "a task of the kind " + now.kind + " cannot be cancelled");
  const bool decommission = now.kind == meta::kDecommissionTask;
  ASSIGN_OR_RETURN(next.body, decommission ? all_stay(now.body) : lifecycle::ask_to_abort(now.body));
  next.state = meta::TaskState::kRunning;
  return next;
}

void TaskApi::handle(const TasksRequest& request, bool from_node, Callback<proto::TasksReply> done) {
  switch (request.action()) {
    case TasksRequest::LIST:
      return list(request, from_node, std::move(done));
    case TasksRequest::PAUSE:
    case TasksRequest::RESUME:
    case TasksRequest::CANCEL:
    case TasksRequest::CLAIM:
    case TasksRequest::REPORT:
      return change(request, std::move(done));
    default:
      return done(refusal({Errc::kInvalidArgument, "this program does not know that wish; upgrade the node"}));
  }
}

proto::TasksReply TaskApi::stored(std::uint64_t only) const {
  const placement::ClusterView view = p_.state.placement_view();
  const auto leader = p_.office.leader();
  std::vector<proto::TaskStatus> all;
  for (const auto& entry : p_.state.tasks().snapshot()) {
    if (only != 0 && entry->value.id != only) continue;
    all.push_back(describe(entry->value, view));
    if (is_over(entry->value.state)) continue;  // whoever ran it may not have looked since
    if (leader) all.back().set_owner(leader->node.value);
    if (p_.office.holds() && !p_.runner.describe(entry->value.id, all.back())) p_.rolling(entry->value.id, all.back());
  }
  std::ranges::sort(all, std::ranges::greater(), &proto::TaskStatus::id);
  proto::TasksReply reply;
  for (proto::TaskStatus& task : all) *reply.add_tasks() = std::move(task);
  return reply;
}

void TaskApi::list(const TasksRequest& request, bool from_node, Callback<proto::TasksReply> done) {
  proto::TasksReply reply = stored(request.task());
  if (request.task() != 0 && reply.tasks().empty()) return done(refusal(not_there(request.task())));
  const auto leader = p_.office.leader();
  const bool any = std::ranges::any_of(reply.tasks(), [](const auto& task) { return task.owner() != 0; });
  if (from_node || !any || !leader || leader->node == p_.self) return done(std::move(reply));
  const auto view = p_.liveness.find(*leader);
  if (!view || view->addr.empty()) return done(std::move(reply));
  auto on_loop = [&loop = p_.loop, alive = std::weak_ptr(alive_), done = std::move(done),
                  reply = std::move(reply)](Result<proto::TasksReply> said) mutable {
    loop.post([alive, done = std::move(done), reply = std::move(reply), said = std::move(said)]() mutable {
      if (alive.expired()) return;
      if (said.ok()) merge_progress(*said, reply);
      done(std::move(reply));
    });
  };
  p_.client.tasks({leader->node, leader->incarnation, view->addr}, request, kAnswerLimit, std::move(on_loop));
}

void TaskApi::change(const TasksRequest& request, Callback<proto::TasksReply> done) {
  meta::change_task(
      p_.meta, request.task(),
      [request](const meta::TaskRecord& now) {
        const bool command = request.action() == TasksRequest::CLAIM || request.action() == TasksRequest::REPORT;
        return command ? after_command_line(now, request) : after_wish(now, request.action());
      },
      {},
      [this, alive = std::weak_ptr(alive_), task = request.task(),
       done = std::move(done)](const Result<meta::TaskRecord>& changed) mutable {
        if (alive.expired()) return;
        if (!changed.ok())
          return done(refusal(changed.error().code == Errc::kNotFound ? not_there(task) : changed.error()));
        proto::TasksReply reply;
        *reply.add_tasks() = describe(*changed, p_.state.placement_view());
        done(std::move(reply));
      });
}

}  // namespace outlast::server
