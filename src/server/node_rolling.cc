#include "server/node_rolling.h"

#include <boost/json/serialize.hpp>

#include "lifecycle/felt.h"
#include "server/node.h"

namespace outlast::server {
using namespace std::chrono_literals;
using liveness::Peer;

namespace {
constexpr Duration kAnswerLimit = 3s;

Error gone(Peer peer) {
  return {Errc::kUnavailable, "process " + peer.to_string() + " is not live"};
}

proto::RollingRestartReply refusal(const Error& why) {
  proto::RollingRestartReply reply;
  reply.set_code(std::string(facts(why.code).name));
  reply.set_message(why.message);
  return reply;
}
}  // namespace

NodeRolling::NodeRolling(Parts parts) : p_(std::move(parts)), runner_(p_.loop, ports()) {
  runner_.start();
}

RollingRunner::Ports NodeRolling::ports() {
  RollingRunner::Ports out;
  out.in_office = [this] { return p_.office.holds(); };
  out.metadata = [this] { return p_.meta.connected(); };
  out.tasks = [this] { return p_.state.tasks().snapshot(); };
  out.view = [this] { return p_.state.placement_view(); };
  out.live = [this](NodeId node) { return p_.state.live(node); };
  out.self = p_.self.node;
  out.drain = [this](Peer peer, const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
    drain(peer, request, std::move(done));
  };
  out.restart = [this](Peer peer, const proto::RestartRequest& request, Callback<RestartStatus> done) {
    restart(peer, request, std::move(done));
  };
  out.statements = [this](Peer peer, Callback<proto::StatementsReply> done) { statements(peer, std::move(done)); };
  out.maintenance_until = [this](NodeId node) { return p_.state.maintenance_until(node); };
  out.begin_maintenance = [this](NodeId node, std::int64_t until, std::string by, Callback<void> done) {
    meta::begin_maintenance(p_.meta, {node, until, std::move(by)}, p_.loop.wall_micros(), std::move(done));
  };
  out.store = [this](const meta::TaskMirror::EntryPtr& read, meta::TaskRecord next, Callback<void> done) {
    store(read, std::move(next), std::move(done));
  };
  return out;
}

template <class Reply>
Callback<Reply> NodeRolling::on_loop(Callback<Reply> done) {
  return [&loop = p_.loop, alive = std::weak_ptr(alive_), done = std::move(done)](Result<Reply> result) mutable {
    loop.post([alive, done = std::move(done), result = std::move(result)]() mutable {
      if (!alive.expired()) done(std::move(result));
    });
  };
}

std::optional<rpc::Addressee> NodeRolling::find(Peer peer) const {
  const auto view = p_.liveness.find(peer);
  if (!view || view->state == liveness::State::kFenced || view->addr.empty()) return std::nullopt;
  return rpc::Addressee{peer.node, peer.incarnation, view->addr};
}

void NodeRolling::drain(Peer peer, const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
  done = on_loop(std::move(done));
  if (peer == p_.self) return p_.drain(request, std::move(done));
  const auto to = find(peer);
  if (!to) return done(gone(peer));
  p_.client.drain(*to, request, kAnswerLimit, [done = std::move(done)](Result<proto::DrainReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    done(std::move(*reply->mutable_status()));
  });
}

void NodeRolling::restart(Peer peer, const proto::RestartRequest& request, Callback<RestartStatus> done) {
  auto parsed = [done = on_loop(std::move(done))](Result<proto::RestartReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    done(parse_restart_status(reply->status()));
  };
  if (peer == p_.self) return p_.restart(request, std::move(parsed));
  const auto to = find(peer);
  if (!to) return parsed(gone(peer));
  p_.client.restart(*to, request, kAnswerLimit, std::move(parsed));
}

void NodeRolling::statements(Peer peer, Callback<proto::StatementsReply> done) {
  done = on_loop(std::move(done));
  if (peer == p_.self) return done(p_.statements());
  const auto to = find(peer);
  if (!to) return done(gone(peer));
  p_.client.statements(*to, kAnswerLimit, std::move(done));
}

void NodeRolling::store(const meta::TaskMirror::EntryPtr& read, meta::TaskRecord next, Callback<void> done) {
  const auto guard = p_.office.guard();
  if (!guard) return done(Error(Errc::kMetaConflict, "this node is not the leader frontend any more"));
  auto plan = [before = read->value, next](const meta::TaskRecord& now) -> Result<meta::TaskRecord> {
    if (now == before || now == next) return next;
    return Error(Errc::kMetaConflict, "somebody else changed the task");
  };
  meta::change_task(p_.meta, read->value.id, std::move(plan), {*guard},
                    [alive = std::weak_ptr(alive_), done = std::move(done)](Result<meta::TaskRecord> stored) mutable {
                      if (!alive.expired()) done(stored.ok() ? Result<void>() : Result<void>(stored.error()));
                    });
}

void NodeRolling::begin(const proto::RollingRestartRequest& request, Callback<proto::RollingRestartReply> done) {
  const auto leader = p_.office.leader();
  auto plan = plan_rolling_restart(p_.state.placement_view(), request, leader ? leader->node : NodeId());
  if (!plan.ok()) return done(refusal(plan.error()));
  if (request.dry_run()) return done(std::move(plan->reply));
  begin_rolling_restart(
      p_.meta, std::move(plan->record), request.by(), p_.loop.wall_micros(),
      [alive = std::weak_ptr(alive_), reply = std::move(plan->reply), done = std::move(done)](auto task) mutable {
        if (alive.expired()) return;
        if (!task.ok()) return done(refusal(task.error()));
        reply.set_task(*task);
        done(std::move(reply));
      });
}

proto::SafeToStopReply NodeRolling::safe_to_stop(const proto::SafeToStopRequest& request) const {
  return safe_to_stop_reply(p_.state.placement_view(), request);
}

/// Begins the zero-downtime restart of this process, or only says how far one is.
void Node::restart(const proto::RestartRequest& request, Callback<proto::RestartReply> done) {
  const RestartPorts ports = server::restart_ports(restarts_, *link_);
  auto answer = [done = std::move(done)](Result<std::string> status) mutable {
    if (!status.ok()) return done(std::move(status).error());
    proto::RestartReply reply;
    reply.set_status(*std::move(status));
    done(std::move(reply));
  };
  if (!request.look())
    return ports.restart(boost::json::serialize(boost::json::object{{"by", request.by()}}), std::move(answer));
  std::string status = ports.status();
  if (status.empty()) return answer(Error(Errc::kUnavailable, "its supervisor has not said anything yet"));
  answer(std::move(status));
}

/// Of own sessions, and for other gateways.
std::uint64_t Node::running_queries() const {
  if (!owning_) return sql_->load().busy;
  const executor::ForeignWork foreign =
      executor_->foreign_work(replication::gateway_number(member_.node, member_.incarnation));
  const std::uint64_t fragments = sql_->gate().open_work(lifecycle::WorkKind::kFragment);
  return sql_->load().busy + std::max<std::uint64_t>(foreign.statements, fragments);
}

proto::StatementsReply Node::statements() const {
  proto::StatementsReply reply;
  const sql::SqlMetrics& sql = sql_->metrics();
  for (std::size_t i = 0; i < sql::StatementTimes::kSteps; ++i) {
    reply.add_counts(sql.times.count(i));
    if (i + 1 < sql::StatementTimes::kSteps) reply.add_seconds(sql::StatementTimes::upper(i));
  }
  std::uint64_t errors = sql.sessions_cut.load();
  for (const auto& [state, count] : sql.errors())
    if (lifecycle::is_clusters_fault(state)) errors += count;
  reply.set_errors(errors);
  reply.set_running(running_queries());
  return reply;
}

void Node::start_rolling() {
  rolling_ = std::make_unique<NodeRolling>(
      NodeRolling::Parts{loop_, *meta_, *state_, *liveness_, *office_, *rpc_client_, self(),
                         [this](const proto::DrainRequest& request, Callback<proto::DrainStatus> done) {
                           if (!drain_) return done(Error(Errc::kNotReady, "the node is starting or stopping"));
                           drain_->handle(request, std::move(done));
                         },
                         [this](const proto::RestartRequest& request, Callback<proto::RestartReply> done) {
                           restart(request, std::move(done));
                         },
                         [this] { return statements(); }});
  const auto nudge = [this] {
    if (rolling_) rolling_->runner().nudge();  // gone once the node stops, while records still change
  };
  state_->tasks().on_batch(nudge);
  office_->on_change([nudge](std::optional<Peer>, bool) { nudge(); });
}

void Node::add_rolling_services(rpc::Services& services) {
  const auto with_rolling = [this](auto done, auto work) {
    loop_.post([this, done = std::move(done), work = std::move(work)]() mutable {
      if (!rolling_ || !serving_) return done(Error(Errc::kNotReady, "the node is starting or stopping; ask another"));
      work(*rolling_, std::move(done));
    });
  };
  services.restart = [this](const proto::RestartRequest& request, Callback<proto::RestartReply> done) {
    restart(request, std::move(done));
  };
  services.statements = [this](const proto::StatementsRequest&, Callback<proto::StatementsReply> done) {
    if (!serving_) return done(Error(Errc::kNotReady, "the node is starting or stopping"));
    done(statements());
  };
  services.safe_to_stop = [with_rolling](const proto::SafeToStopRequest& request,
                                         Callback<proto::SafeToStopReply> done) {
    with_rolling(std::move(done), [request](NodeRolling& rolling, Callback<proto::SafeToStopReply> answer) {
      answer(rolling.safe_to_stop(request));
    });
  };
  services.rolling_restart = [with_rolling](const proto::RollingRestartRequest& request,
                                            Callback<proto::RollingRestartReply> done) {
    with_rolling(std::move(done), [request](NodeRolling& rolling, Callback<proto::RollingRestartReply> answer) {
      rolling.begin(request, std::move(answer));
    });
  };
}

}  // namespace outlast::server
