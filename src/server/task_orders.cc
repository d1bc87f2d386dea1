#include "server/task_orders.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "meta/decommissions.h"
#include "server/task_progress.h"

namespace outlast::server {
using namespace std::chrono_literals;
using Kind = lifecycle::DecommissionOrder::Kind;

namespace {
constexpr Duration kAnswerLimit = 3s;
constexpr Duration kAskEvery = 1s;
constexpr std::size_t kRangesNamed = 100;
}  // namespace

lifecycle::LeavingNode TaskOrders::facts(NodeId node) {
  lifecycle::LeavingNode out;
  out.node = node;
  const auto view = p_.liveness.current(node);
  out.fenced = !view || view->state == liveness::State::kFenced;
  const auto leader = p_.office.leader();
  out.tasks = leader && leader->node == node ? 1 : 0;
  if (const auto status = p_.state.statuses().find(meta::keys::status(node))) out.buffers = status->value.buffer_bytes;
  // A drain that an operator asked for is not the task's: it goes on as one that leaves.
  // Once its node is decommissioned the drained process is fenced, and soon nobody knows it but by the node's record.
  const auto drain = p_.state.drains().find(meta::keys::drain(node));
  const auto record = p_.state.nodes().find(meta::keys::node(node));
  const Incarnation newest = view ? view->peer.incarnation : record ? record->value.incarnation : Incarnation();
  out.draining = drain && drain->value.leave && drain->value.peer.incarnation == newest;
  out.drained = out.draining && drain->value.drained;
  if (!out.draining || out.drained) {
    blockers_.erase(node);
    return out;
  }
  ask_blocker(node);
  out.drain_blocker = blockers_[node].why;
  return out;
}

void TaskOrders::ask_blocker(NodeId node) {
  Blocker& blocker = blockers_[node];
  if (blocker.asked != Instant{} && p_.loop.now() - blocker.asked < kAskEvery) return;
  blocker.asked = p_.loop.now();
  drain(node, proto::DrainRequest(), [this, node](const Result<proto::DrainStatus>& status) {
    const auto it = blockers_.find(node);
    if (it == blockers_.end()) return;
    it->second.why = status.ok() ? status->blocker() : status.error().message;
  });
}

void TaskOrders::drain(NodeId node, const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
  auto on_loop = [&loop = p_.loop, alive = std::weak_ptr(alive_),
                  done = std::move(done)](Result<proto::DrainStatus> result) mutable {
    loop.post([alive, done = std::move(done), result = std::move(result)]() mutable {
      if (!alive.expired()) done(std::move(result));
    });
  };
  if (node == p_.self) return p_.drain(request, std::move(on_loop));
  const auto view = p_.liveness.current(node);
  if (!view || view->state == liveness::State::kFenced || view->addr.empty())
    return on_loop(Error(Errc::kUnavailable, "node " + node.to_string() + " is not live"));
  p_.client.drain({node, view->peer.incarnation, view->addr}, request, kAnswerLimit,
                  [on_loop = std::move(on_loop)](Result<proto::DrainReply> reply) mutable {
                    if (!reply.ok()) return on_loop(std::move(reply).error());
                    on_loop(std::move(*reply->mutable_status()));
                  });
}

void TaskOrders::carry_out(const meta::TaskMirror::EntryPtr& task, const lifecycle::DecommissionOrder& order,
                           const lifecycle::LeavingNode& seen, Callback<void> done) {
  const auto record = lifecycle::decode_decommission_record(task->value.body);
  const auto guard = p_.office.guard();
  if (!record.ok()) return done(record.error());
  if (!guard) return done(Error(Errc::kMetaConflict, "this node is not the leader frontend any more"));
  const meta::MembershipChange change{order.node, record->requested_by, p_.loop.wall_micros()};
  const meta::Warrant warrant{guard, task->value.id, task->mod_revision};
  proto::DrainRequest request;
  request.set_by("decommission, task " + std::to_string(task->value.id));
  const auto answered = [&done] {
    return [done = std::move(done)](const Result<proto::DrainStatus>& status) mutable {
      done(status.ok() ? Result<void>() : Result<void>(status.error()));
    };
  };
  switch (order.kind) {
    case Kind::kMark:
      return meta::mark_decommissioning(p_.meta, change, warrant, std::move(done));
    case Kind::kUnmark:
      return meta::unmark_decommissioning(p_.meta, change, warrant, std::move(done));
    case Kind::kFinish:
      return meta::finish_decommission(p_.meta, change, seen.presence == lifecycle::LeavingNode::Presence::kDead,
                                       warrant, std::move(done));
    case Kind::kDrain:
      request.set_action(proto::DrainRequest::DRAIN);
      request.set_leave(true);
      return drain(order.node, request, answered());
    case Kind::kUndrain:
      request.set_action(proto::DrainRequest::UNDRAIN);
      request.set_leave(true);
      return drain(order.node, request, answered());
    case Kind::kSettle:
      return settle(*task, seen, std::move(done));
  }
}

/// The node's outcome, and with the last node the task's.
void TaskOrders::settle(const meta::TaskMirror::Entry& task, const lifecycle::LeavingNode& seen, Callback<void> done) {
  const auto plan = [seen, now = p_.loop.wall_micros()](const meta::TaskRecord& stored) -> Result<meta::TaskRecord> {
    ASSIGN_OR_RETURN(const auto before, lifecycle::decode_decommission_record(stored.body));
    const lifecycle::DecommissionRecord record = lifecycle::DecommissionMachine::settled(before, seen);
    meta::TaskRecord next = stored;
    next.body = encode(record);
    if (!record.over() || is_over(stored.state)) return next;
    const bool any = std::ranges::any_of(record.nodes, &lifecycle::DecommissionRecord::Node::leave);
    next.state = any ? meta::TaskState::kCompleted : meta::TaskState::kCancelled;
    next.ended_micros = now;
    next.outcome = outcome_of(record);
    return next;
  };
  std::vector<meta::Compare> also{*p_.office.guard(),
                                  meta::Compare::unchanged(meta::keys::task(task.value.id), task.mod_revision)};
  // What was seen of the membership must still be so: a wish that came meanwhile changed the task's record.
  if (const auto node = p_.state.nodes().find(meta::keys::node(seen.node)))
    also.push_back(meta::Compare::unchanged(meta::keys::node(seen.node), node->mod_revision));
  meta::change_task(p_.meta, task.value.id, plan, std::move(also),
                    [done = std::move(done)](const Result<meta::TaskRecord>& changed) mutable {
                      done(changed.ok() ? Result<void>() : Result<void>(changed.error()));
                    });
}

void report_stall(NodeId self, std::uint64_t task, const lifecycle::Obstacle& stall) {
  namespace json = boost::json;
  const bool stalls = stall.reason != lifecycle::StallReason::kNone;
  json::object line{{"channel", "OPS"},
                    {"event", stalls ? "possible decommission stall detected" : "decommission goes on"},
                    {"node", self.value},
                    {"task", task}};
  if (!stalls) return spdlog::info("{}", json::serialize(line));
  line["reason"] = std::string(to_string(stall.reason));
  line["why"] = stall.why;
  json::array ranges;
  for (const RangeId range : stall.ranges)
    if (ranges.size() < kRangesNamed) ranges.emplace_back(range.value);
  line["ranges"] = std::move(ranges);
  line["ranges_total"] = stall.ranges.size();
  spdlog::warn("{}", json::serialize(line));
}

}  // namespace outlast::server
