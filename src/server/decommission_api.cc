#include "server/decommission_api.h"

#include <algorithm>

#include "lifecycle/decommission_record.h"

namespace outlast::server {
using lifecycle::DecommissionRecord;
using meta::Membership;

struct DecommissionApi::Wish {
  proto::DecommissionRequest request;
  proto::DecommissionReply reply;
  Callback<proto::DecommissionReply> done;
  std::vector<NodeId> named;
  bool leave{true};
  std::map<std::uint64_t, std::vector<NodeId>> joins;  ///< Nodes of tasks under way.
  std::vector<DecommissionRecord::Node> fresh;         ///< For a new task.
  int patience{30};                                    ///< Further attempts when something changes under way.
};

namespace {
constexpr Duration kAgain = std::chrono::milliseconds(100);

/// Tasks under way that have something to do with the node.
std::vector<std::uint64_t> tasks_of(ClusterState& state, NodeId node) {
  std::vector<std::uint64_t> out;
  for (const auto& entry : state.tasks().snapshot()) {
    if (entry->value.kind != meta::kDecommissionTask || is_over(entry->value.state)) continue;
    const auto record = lifecycle::decode_decommission_record(entry->value.body);
    const auto* found = record.ok() ? record->find(node) : nullptr;
    if (found != nullptr && !found->settled) out.push_back(entry->value.id);
  }
  return out;
}

Error not_there(NodeId node) {
  return {Errc::kNotFound, "there is no node " + node.to_string() + "; `outlast node ls` lists them"};
}
Error gone_for_good(NodeId node) {
  return {Errc::kInvalidState, "node " + node.to_string() + " is decommissioned for good; start a new node instead"};
}

/// What is on the node now, for telling how far its decommission is.
DecommissionRecord::Node at_start(const placement::ClusterView& view, NodeId node) {
  DecommissionRecord::Node out{.node = node};
  for (const placement::RangeView& range : view.ranges)
    if (range.find(node) != nullptr) ++out.replicas_at_start, out.bytes_at_start += range.bytes;
  return out;
}

void add_readiness(const placement::ClusterView& view, const placement::TargetRules& rules, Random& random,
                   proto::NodeStatus& node) {
  const NodeId id(node.id());
  node.set_bytes(at_start(view, id).bytes_at_start);
  const auto found = placement::preflight(view, std::vector{id}, placement::Checks::kEnabled, rules, random);
  if (!found.ok() || found->nodes.empty()) return;
  node.set_readiness(std::string(found->nodes[0].readiness));
  node.set_blocking_ranges(found->nodes[0].blocking_ranges);
}

template <class Ranges>
void add_ranges(const Ranges& from, google::protobuf::RepeatedField<std::uint64_t>& to) {
  for (const RangeId range : from) to.Add(range.value);
}
}  // namespace

placement::TargetRules target_rules(const meta::Settings& settings) {
  placement::TargetRules rules;
  const auto word = settings.text("kv.allocator.recovery_store_selector");
  if (!word.ok()) return rules;
  if (const auto selector = placement::parse_selector(*word); selector.ok()) rules.selector = *selector;
  return rules;
}

placement::ClusterView sized_view(const ClusterState& state, const Survey& seen) {
  placement::ClusterView view = state.placement_view();
  fill_sizes(view, seen);
  return view;
}

proto::Preflight to_proto(const placement::Preflight& found) {
  proto::Preflight out;
  out.set_may_begin(found.may_begin());
  out.set_text(found.text());
  out.set_checks(std::string(to_string(found.checks)));
  out.set_ranges_checked(found.ranges_checked);
  for (const placement::Preflight::Node& node : found.nodes) {
    auto& one = *out.add_nodes();
    one.set_node(node.node.value);
    one.set_readiness(std::string(node.readiness));
    one.set_replicas(node.replicas);
    one.set_blocking_ranges(node.blocking_ranges);
  }
  for (const placement::Preflight::Group& group : found.groups) {
    auto& one = *out.add_groups();
    one.set_node(group.node.value);
    one.set_error(group.error);
    one.set_replicas(group.replicas);
    add_ranges(group.ranges, *one.mutable_ranges());
  }
  add_ranges(found.unavailable, *out.mutable_unavailable());
  add_ranges(found.under_replicated, *out.mutable_under_replicated());
  for (const std::string& warning : found.warnings) out.add_warnings(warning);
  if (!found.plan.fix.empty()) out.set_fix(to_string(found.plan.fix));
  out.set_bytes(found.plan.bytes);
  out.set_moves(found.plan.copies());
  out.set_reductions(found.plan.reductions.size());
  return out;
}

template <class T>
void DecommissionApi::on_worker(std::move_only_function<T()> work, std::move_only_function<void(T)> done) {
  p_.workers.submit(
      0, [&loop = p_.loop, alive = std::weak_ptr(alive_), work = std::move(work), done = std::move(done)]() mutable {
        loop.post([alive, done = std::move(done), result = work()]() mutable {
          if (!alive.expired()) done(std::move(result));
        });
      });
}

void DecommissionApi::handle(const proto::DecommissionRequest& request, Callback<proto::DecommissionReply> done) {
  auto wish = std::make_shared<Wish>();
  wish->request = request;
  wish->done = std::move(done);
  for (const std::uint32_t node : request.nodes())
    if (std::ranges::find(wish->named, NodeId(node)) == wish->named.end()) wish->named.emplace_back(node);
  if (request.action() == proto::DecommissionRequest::RECOMMISSION) return recommission(wish);
  p_.sizes.ask([this, alive = std::weak_ptr(alive_), wish](const Result<std::shared_ptr<const Survey>>& seen) {
    if (!alive.expired()) judge(wish, **seen);
  });
}

void DecommissionApi::judge(const WishPtr& wish, const Survey& seen) {
  const proto::DecommissionRequest& request = wish->request;
  const auto checks = placement::parse_checks(request.checks().empty() ? "enabled" : request.checks());
  if (!checks.ok()) return refuse(wish, checks.error());
  const auto view = std::make_shared<const placement::ClusterView>(sized_view(p_.state, seen));
  on_worker<Result<placement::Preflight>>(
      [view, named = wish->named, checks = *checks, rules = target_rules(p_.state.settings()), seed = random_.next()] {
        SeededRandom random(seed);
        return placement::preflight(*view, named, checks, rules, random);
      },
      [this, wish, view](const Result<placement::Preflight>& found) { begin(wish, view, found); });
}

void DecommissionApi::begin(const WishPtr& wish, const ViewPtr& view, const Result<placement::Preflight>& found) {
  const proto::DecommissionRequest& request = wish->request;
  if (!found.ok()) return refuse(wish, found.error());
  *wish->reply.mutable_preflight() = to_proto(*found);
  if (request.action() == proto::DecommissionRequest::DRY_RUN) return answer(wish);
  if (!found->may_begin()) {
    const std::string fix = found->plan.fix.empty() ? "" : ": " + to_string(found->plan.fix);
    return refuse(wish, {Errc::kInvalidState, "Cannot decommission nodes" + fix});
  }
  for (const NodeId node : wish->named) {
    const auto entry = p_.state.nodes().find(meta::keys::node(node));
    if (entry && entry->value.membership == Membership::kDecommissioned) continue;
    if (const auto tasks = tasks_of(p_.state, node); !tasks.empty())
      wish->joins[tasks.front()].push_back(node);
    else
      wish->fresh.push_back(at_start(*view, node));
  }
  store(wish);
}

void DecommissionApi::recommission(const WishPtr& wish) {
  wish->leave = false;
  if (wish->named.empty()) return refuse(wish, {Errc::kInvalidArgument, "name the nodes to recommission"});
  for (const NodeId node : wish->named) {
    const auto entry = p_.state.nodes().find(meta::keys::node(node));
    if (!entry) return refuse(wish, not_there(node));
    if (entry->value.membership == Membership::kDecommissioned) return refuse(wish, gone_for_good(node));
    const auto tasks = tasks_of(p_.state, node);
    for (const std::uint64_t task : tasks) wish->joins[task].push_back(node);
    if (tasks.empty() && entry->value.membership == Membership::kDecommissioning)
      wish->fresh.push_back({.node = node, .leave = false});
  }
  store(wish);
}

/// One task after the other, then the new one.
void DecommissionApi::store(const WishPtr& wish) {
  if (!wish->joins.empty()) return change(wish);
  if (!wish->fresh.empty()) return create(wish);
  answer(wish);
}

void DecommissionApi::change(const WishPtr& wish) {
  const auto [task, nodes] = *wish->joins.begin();
  wish->joins.erase(wish->joins.begin());
  std::vector<meta::Compare> also;
  for (const NodeId node : nodes) {
    const auto entry = p_.state.nodes().find(meta::keys::node(node));
    if (!entry || entry->value.membership == Membership::kDecommissioned) return refuse(wish, gone_for_good(node));
    also.push_back(meta::Compare::unchanged(entry->key, entry->mod_revision));
  }
  const auto plan = [nodes, leave = wish->leave](const meta::TaskRecord& now) -> Result<meta::TaskRecord> {
    if (is_over(now.state)) return Error(Errc::kMetaConflict, "the task ended at this moment; try again");
    ASSIGN_OR_RETURN(const DecommissionRecord record, lifecycle::decode_decommission_record(now.body));
    ASSIGN_OR_RETURN(const DecommissionRecord next, leave ? ask_to_leave(record, nodes) : ask_to_stay(record, nodes));
    meta::TaskRecord out = now;
    out.body = encode(next);
    if (!leave) out.state = meta::TaskState::kRunning;  // a paused task would not bring them back
    return out;
  };
  meta::change_task(
      p_.meta, task, plan, std::move(also),
      [this, alive = std::weak_ptr(alive_), wish, id = task, leaving = nodes](const Result<meta::TaskRecord>& changed) {
        if (alive.expired()) return;
        if (changed.ok()) wish->reply.set_task(changed->id);
        if (changed.ok()) return store(wish);
        if (changed.error().code != Errc::kMetaConflict || --wish->patience < 0) return refuse(wish, changed.error());
        wish->joins[id] = leaving;  // once this node has seen what changed: a mark, a restart
        again(wish);
      });
}

void DecommissionApi::again(const WishPtr& wish) {
  p_.loop.after(kAgain, [this, alive = std::weak_ptr(alive_), wish] {
    if (!alive.expired()) store(wish);
  });
}

void DecommissionApi::create(const WishPtr& wish) {
  DecommissionRecord record;
  record.requested_by = p_.self;
  record.started_micros = p_.loop.wall_micros();
  if (!wish->request.checks().empty()) record.checks = wish->request.checks();
  record.nodes = std::exchange(wish->fresh, {});
  meta::NewTask task{std::string(meta::kDecommissionTask), wish->request.by(), record.started_micros, {}};
  task.body = [record](std::uint64_t id, const std::vector<meta::TaskRecord>& there) mutable -> Result<std::string> {
    for (const meta::TaskRecord& other : there) {
      if (other.kind != meta::kDecommissionTask || is_over(other.state)) continue;
      ASSIGN_OR_RETURN(const DecommissionRecord theirs, lifecycle::decode_decommission_record(other.body));
      for (const auto& node : record.nodes)
        if (const auto* same = theirs.find(node.node); same != nullptr && !same->settled)
          return Error(Errc::kMetaConflict, "task " + std::to_string(other.id) + " takes node " +
                                                node.node.to_string() + " since this moment; try again");
    }
    record.task = id;
    return encode(record);
  };
  meta::create_task(p_.meta, std::move(task),
                    [this, alive = std::weak_ptr(alive_), wish](const Result<meta::TaskRecord>& created) {
                      if (alive.expired()) return;
                      if (!created.ok()) return refuse(wish, created.error());
                      wish->reply.set_task(created->id);
                      store(wish);
                    });
}

void DecommissionApi::refuse(const WishPtr& wish, const Error& why) const {
  wish->reply.set_code(std::string(facts(why.code).name));
  wish->reply.set_message(why.message);
  answer(wish);
}

void DecommissionApi::answer(const WishPtr& wish) const {
  const proto::NodeStatusReply all = p_.state.node_status();
  for (const proto::NodeStatus& node : all.nodes()) {
    if (std::ranges::find(wish->named, NodeId(node.id())) == wish->named.end()) continue;
    auto& out = *wish->reply.add_nodes();
    out = node;
    for (const auto& found : wish->reply.preflight().nodes())
      if (found.node() == node.id()) {
        out.set_readiness(found.readiness());
        out.set_blocking_ranges(found.blocking_ranges());
      }
  }
  wish->done(std::move(wish->reply));
}

void DecommissionApi::node_status(Callback<proto::NodeStatusReply> done) {
  p_.sizes.ask([this, alive = std::weak_ptr(alive_),
                done = std::move(done)](const Result<std::shared_ptr<const Survey>>& seen) mutable {
    if (alive.expired()) return;
    on_worker<proto::NodeStatusReply>(
        [view = sized_view(p_.state, **seen), rules = target_rules(p_.state.settings()), seed = random_.next(),
         reply = p_.state.node_status()]() mutable {
          SeededRandom random(seed);
          for (proto::NodeStatus& node : *reply.mutable_nodes()) add_readiness(view, rules, random, node);
          return std::move(reply);
        },
        [done = std::move(done)](proto::NodeStatusReply reply) mutable { done(std::move(reply)); });
  });
}

}  // namespace outlast::server
