// What a node's rooms ask of each other: the std::functions that the wiring hands out.
#include "compute/served_channel.h"
#include "meta/databases.h"
#include "server/meta_url.h"
#include "server/node.h"

namespace outlast::server {

gateway::ClusterPorts Node::cluster_ports() {
  gateway::ClusterPorts ports;
  ports.node = member_.node;
  ports.incarnation = member_.incarnation;
  ports.databases = [this] { return state_->databases(); };
  ports.partitions = partition_ports();
  ports.find_database = [this](const std::string& name) { return state_->find_database(name); };
  ports.create_database = [this](std::string name, Callback<gateway::DatabaseRow> done) {
    auto first = creator();
    if (!first.ok()) return done(std::move(first).error());
    meta::create_database(*meta_, std::move(name), *std::move(first), clock_.wall_micros(),
                          [done = std::move(done)](Result<meta::DatabaseRecord> made) mutable {
                            if (!made.ok()) return done(std::move(made).error());
                            done(gateway::DatabaseRow{made->id, made->name, made->range});
                          });
  };
  ports.drop_database = [this](std::string name, Callback<void> done) {
    meta::drop_database(*meta_, std::move(name), member_.node, clock_.wall_micros(),
                        [done = std::move(done)](Result<meta::DatabaseRecord> dropped) mutable {
                          if (!dropped.ok()) return done(std::move(dropped).error());
                          done({});
                        });
  };
  ports.set_replication_factor = [this](std::string name, int replicas, Callback<void> done) {
    meta::set_replication_factor(*meta_, std::move(name), replicas, member_.node, clock_.wall_micros(),
                                 std::move(done));
  };
  ports.settings = [this] {
    std::vector<gateway::SettingRow> rows;
    for (const meta::SettingLine& line : state_->settings().lines())
      rows.push_back({line.name, line.value, line.type, line.default_value, line.help});
    return rows;
  };
  ports.list = [this](gateway::Listing what, Callback<std::vector<gateway::ListingRow>> done) {
    list(what, std::move(done));
  };
  ports.setting = [this](const std::string& name) { return state_->settings().text(name); };
  ports.set_setting = [this](std::string name, std::string value, Callback<void> done) {
    state_->settings().set(std::move(name), std::move(value), std::move(done));
  };
  ports.reset_setting = [this](std::string name, Callback<void> done) {
    state_->settings().reset(std::move(name), std::move(done));
  };
  ports.refuse_sessions = [this] { return serving_ && !stopping_ && !retired_ ? std::string() : not_ready(); };
  ports.process_gone = [this](NodeId node, Incarnation incarnation) {
    return !liveness_->find({node, incarnation}).has_value();
  };
  return ports;
}

std::vector<std::unique_ptr<executor::Channel>> Node::compute_places() {
  std::vector<std::unique_ptr<executor::Channel>> places;
  const auto nodes = state_->compute_nodes();
  const std::size_t first = next_compute_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto& [node, incarnation] = nodes[(first + i) % nodes.size()];
    if (auto channel = channels_->open(node, incarnation); channel.ok()) places.push_back(*std::move(channel));
  }
  return places;
}

rpc::Services Node::services() {
  rpc::Services services;
  services.self = {member_.cluster, member_.node, member_.incarnation};
  services.links = links_.get();
  services.open_channel = [this](const rpc::Hello& gateway) -> std::unique_ptr<executor::Channel> {
    auto channel = executor_->open_channel(replication::gateway_number(gateway.node, gateway.incarnation));
    if (!owning_) return channel;
    return std::make_unique<compute::ServedChannel>(std::move(channel), *engine_, sql_->gate(), served_);
  };
  services.place = [this](const proto::PlaceRequest& request, Callback<void> done) {
    placement::Step step;
    step.kind = static_cast<placement::Step::Kind>(request.step());
    step.range = RangeId(request.range());
    step.node = NodeId(request.node());
    step.rf = static_cast<int>(request.rf());
    loop_.post([this, step, done = std::move(done)]() mutable {
      if (!replicas_) return done(Error(Errc::kNotReady, "the node is starting"));
      replicas_->place(step, std::move(done));
    });
  };
  add_range_services(services);
  add_task_services(services);
  add_rolling_services(services);
  services.drain = [this](const proto::DrainRequest& request, Callback<proto::DrainReply> done) {
    drain(request, [done = std::move(done)](Result<proto::DrainStatus> status) mutable {
      proto::DrainReply reply;
      if (status.ok()) {
        *reply.mutable_status() = *std::move(status);
      } else {
        reply.set_code(std::string(facts(status.error().code).name));
        reply.set_message(status.error().message);
      }
      done(std::move(reply));
    });
  };
  services.maintenance = [this](const proto::MaintenanceRequest& request, Callback<proto::MaintenanceReply> done) {
    maintenance(request, std::move(done));
  };
  add_exit_services(services);
  services.admit = [this](const rpc::Hello& hello) -> Result<void> {
    if (!owning_) return Error(Errc::kNotReady, "the node is starting; ask another one, or again");
    if (retired_) return Error(Errc::kFenced, retired_sentence());
    if (state_->gone_for_good(hello.node))
      return Error(Errc::kFenced, "node " + hello.node.to_string() + " was decommissioned and is not served any more");
    return {};
  };
  return services;
}

tasks::Placer::Ports Node::placer_ports() {
  tasks::Placer::Ports ports;
  ports.in_office = [this] { return office_->holds() && meta_->connected(); };
  ports.view = [this] { return tasks_->view_for_plan(); };
  ports.take = [this](const placement::Step& step, Callback<void> done) {
    const auto entry = state_->ranges().find(meta::keys::range(step.range));
    if (!entry || !entry->value.leaseholder) return done(Error(Errc::kNoLeaseholder, "nobody leads the range now"));
    const placement::Leaseholder holder = *entry->value.leaseholder;
    if (holder.node == member_.node) return replicas_->place(step, std::move(done));
    const auto view = liveness_->current(holder.node);
    if (!view || view->peer.incarnation != holder.incarnation)
      return done(Error(Errc::kUnavailable, "the leaseholder's process is not live"));
    proto::PlaceRequest request;
    request.set_range(step.range.value);
    request.set_step(static_cast<proto::PlaceRequest::Step>(step.kind));
    request.set_node(step.node.value);
    request.set_rf(static_cast<std::uint32_t>(step.rf));
    rpc_client_->place(
        {holder.node, holder.incarnation, view->addr}, request, std::chrono::seconds(10),
        [this, done = std::move(done)](Result<void> result) mutable {
          loop_.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
        });
  };
  return ports;
}

void Node::add_metrics() {
  metrics_.add(process_samples);
  metrics_.add([this](std::vector<Sample>& out) {
    out.push_back({"outlast_ready", "1 when the node takes clients", false, not_ready().empty() ? 1.0 : 0.0, {}});
    if (!serving_) return;
    meta_samples(*meta_, out);
    const auto counter = [&out](const char* name, const char* help, const auto& value) {
      out.push_back({name, help, true, static_cast<double>(value), {}});
    };
    const auto gauge = [&out](const char* name, const char* help, const auto& value) {
      out.push_back({name, help, false, static_cast<double>(value), {}});
    };
    const sql::SqlMetrics& sql = sql_->metrics();
    gauge("outlast_sql_sessions", "Open SQL connections", sql.sessions_open.load());
    counter("outlast_sql_sessions_total", "SQL connections accepted", sql.sessions_total.load());
    counter("outlast_sql_sessions_refused_total", "SQL connections refused at start-up", sql.sessions_refused.load());
    counter("outlast_sql_statements_total", "Statements, failed ones included", sql.statements.load());
    std::uint64_t up_to = 0;
    for (std::size_t i = 0; i < sql::StatementTimes::kSteps; ++i) {
      up_to += sql.times.count(i);
      char edge[32] = "+Inf";
      if (i + 1 < sql::StatementTimes::kSteps) std::snprintf(edge, sizeof edge, "%.6f", sql::StatementTimes::upper(i));
      out.push_back({"outlast_sql_statement_seconds_bucket",
                     "Statements that took no longer than le, at this gateway",
                     true,
                     static_cast<double>(up_to),
                     {{"le", edge}}});
    }
    counter("outlast_sql_statement_seconds_count", "Statements timed", up_to);
    counter("outlast_sql_statement_seconds_sum", "Seconds that statements took", sql.times.sum_seconds());
    for (const auto& [state, n] : sql.errors())
      out.push_back(
          {"outlast_sql_errors_total", "Errors sent to clients", true, static_cast<double>(n), {{"sqlstate", state}}});
    const gateway::GatewayCounters& gateway = cluster_->counters();
    counter("outlast_gateway_repeated_unseen_total", "Statements repeated without telling the client",
            gateway.repeated_unseen.load());
    counter("outlast_gateway_resolved_done_total", "Writes in doubt that were found to be applied",
            gateway.resolved_done.load());
    counter("outlast_gateway_resolved_not_applied_total", "Writes in doubt that were found to be not applied",
            gateway.resolved_not_applied.load());
    counter("outlast_gateway_unknown_total", "Writes whose outcome nobody knows", gateway.unknown.load());
    counter("outlast_gateway_transactions_lost_total", "Transactions that lost their leaseholder",
            gateway.transactions_lost.load());
    if (!owning_) return;
    if (ingest_) ingest_->samples(out);
    const executor::Counters& executor = executor_->counters();
    counter("outlast_executor_reads_total", "Reads run here", executor.reads.load());
    counter("outlast_executor_writes_total", "Writes run here", executor.writes.load());
    counter("outlast_executor_commits_total", "Commits", executor.commits.load());
    counter("outlast_executor_confirmed_reads_total", "Reads that other in-sync replicas had to confirm",
            executor.confirmed_reads.load());
    counter("outlast_executor_lock_waits_total", "Waits for a writer lock", executor.lock_waits.load());
    const executor::ExecutorStats stats = executor_->stats();
    gauge("outlast_executor_transactions", "Open transactions", stats.transactions);
    gauge("outlast_executor_connections", "Open SQLite connections", stats.connections);
    const proto::NodeStatusReply status = state_->node_status();
    for (const proto::NodeStatus& node : status.nodes())
      if (node.id() == member_.node.value) {
        gauge("outlast_replicas", "Replicas on this node", node.replicas());
        gauge("outlast_leases", "Leases held by this node", node.leases());
        gauge("outlast_leader_frontend", "1 on the leader frontend", node.is_leader_frontend() ? 1 : 0);
      }
  });
}

}  // namespace outlast::server
