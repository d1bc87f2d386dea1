#include "server/node_tasks.h"

#include "server/node.h"

namespace outlast::server {
using namespace std::chrono_literals;

namespace {
constexpr Duration kSizesAge = 10s, kSizesAgeBusy = 1s;
}  // namespace

NodeTasks::NodeTasks(Parts parts)
    : p_(std::move(parts)),
      sizes_(p_.admin),
      orders_({p_.loop, p_.meta, p_.state, p_.liveness, p_.office, p_.client, p_.self, p_.drain}),
      runner_(p_.loop, ports(), p_.seed),
      decommission_({p_.loop, p_.workers, p_.meta, p_.state, sizes_, p_.self}, p_.seed + 1),
      api_({p_.loop, p_.meta, p_.state, p_.liveness, p_.office, p_.client, runner_, p_.rolling, p_.self}) {}

TaskRunner::Ports NodeTasks::ports() {
  TaskRunner::Ports out;
  out.in_office = [this] { return p_.office.holds(); };
  out.metadata = [this] { return p_.meta.connected(); };
  out.tasks = [this] { return p_.state.tasks().snapshot(); };
  out.view = [this] {
    sizes_.keep_fresh(p_.loop.now(), kSizesAgeBusy);
    return sized_view(p_.state, sizes_.last());
  };
  out.facts = [this](NodeId node) { return orders_.facts(node); };
  out.settings = [this] {
    return TaskRunner::Ports::Settings{target_rules(p_.state.settings()),
                                       p_.state.settings().bytes("kv.snapshot_rebalance.max_rate")};
  };
  out.take = p_.take;
  out.order = [this](const meta::TaskMirror::EntryPtr& task, const lifecycle::DecommissionOrder& order,
                     const lifecycle::LeavingNode& seen,
                     Callback<void> done) { orders_.carry_out(task, order, seen, std::move(done)); };
  out.report = [this](std::uint64_t task, const lifecycle::Obstacle& stall) { report_stall(p_.self, task, stall); };
  return out;
}

placement::ClusterView NodeTasks::view_for_plan() {
  sizes_.keep_fresh(p_.loop.now(), kSizesAge);
  placement::ClusterView view = sized_view(p_.state, sizes_.last());
  runner_.claim(view);
  return view;
}

void Node::start_tasks() {
  const auto take = placer_ports().take;
  const auto seed = static_cast<std::uint64_t>(clock_.wall_micros()) ^ (std::uint64_t{member_.node.value} << 32U);
  tasks_ = std::make_unique<NodeTasks>(NodeTasks::Parts{
      loop_, workers_, *meta_, *state_, *liveness_, *office_, *rpc_client_, *range_admin_, member_.node, seed, take,
      [this](const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
        if (!drain_) return done(Error(Errc::kNotReady, "the node is starting or stopping"));
        drain_->handle(request, std::move(done));
      },
      [this](std::uint64_t task, proto::TaskStatus& out) {
        return rolling_ && rolling_->runner().describe(task, out);
      }});
  const auto nudge = [this] {
    if (tasks_) tasks_->nudge();  // gone once the node stops, while records still change
  };
  state_->ranges().on_batch(nudge);
  state_->tasks().on_batch(nudge);
  state_->nodes().on_batch(nudge);
  state_->drains().on_batch(nudge);
  state_->statuses().on_batch(nudge);
  tasks_->start();
}

void Node::add_task_services(rpc::Services& services) {
  const auto with_tasks = [this](auto done, auto work) {
    loop_.post([this, done = std::move(done), work = std::move(work)]() mutable {
      if (!tasks_ || !serving_) return done(Error(Errc::kNotReady, "the node is starting or stopping; ask another"));
      work(*tasks_, std::move(done));
    });
  };
  services.node_status = [this, with_tasks](const proto::NodeStatusRequest& request,
                                            Callback<proto::NodeStatusReply> done) {
    if (!request.decommission()) return done(serving_ ? state_->node_status() : proto::NodeStatusReply());
    with_tasks(std::move(done), [](NodeTasks& tasks, Callback<proto::NodeStatusReply> answer) {
      tasks.decommission().node_status(std::move(answer));
    });
  };
  services.decommission = [with_tasks](const proto::DecommissionRequest& request,
                                       Callback<proto::DecommissionReply> done) {
    with_tasks(std::move(done), [request](NodeTasks& tasks, Callback<proto::DecommissionReply> answer) {
      tasks.decommission().handle(request, std::move(answer));
    });
  };
  services.tasks = [with_tasks](const proto::TasksRequest& request, bool from_node, Callback<proto::TasksReply> done) {
    with_tasks(std::move(done), [request, from_node](NodeTasks& tasks, Callback<proto::TasksReply> answer) {
      tasks.tasks().handle(request, from_node, std::move(answer));
    });
  };
}

}  // namespace outlast::server
