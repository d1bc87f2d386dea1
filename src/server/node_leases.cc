// What the node tells and is told about its replicas and leases: damage, drains, and who may take its leases.
#include <spdlog/spdlog.h>

#include "meta/events.h"
#include "server/node.h"

namespace outlast::server {

void Node::report_damage(RangeId range, const Error& why) {
  spdlog::error("replica of range {} is damaged: {}", range.value, why.message);
  meta::append_event(
      *meta_,
      {.time_micros = loop_.wall_micros(),
       .type = "replica_damaged",
       .node = member_.node,
       .details = {{"range", range.value}, {"database", state_->database_of(range)}, {"why", why.message}}},
      [](const Result<void>&) {});
}

void Node::start_drain() {
  loop_.run_and_wait([this] {
    drain_ = std::make_unique<NodeDrain>(NodeDrain::Parts{
        .loop = loop_,
        .meta = *meta_,
        .state = *state_,
        .office = *office_,
        .replicas = *replicas_,
        .executor = *executor_,
        .served = served_,
        .sql = *sql_,
        .self = self(),
        .roles = roles_,
        .ingest = [this] { return ingest_.get(); },
        .store = store_->path(),
        .unready = draining_now_,
        .end_process = [this] { end(Ending::kStop); },
        .say = [this](const std::string& what) { say(what); },
        .set_phase =
            [this](bool leaving) { liveness_->set_phase(leaving ? meta::Phase::kLeaving : meta::Phase::kLive); },
        .ask_leader = [this](Callback<NodeId> done) { ask_leader(std::move(done)); }});
    drain_->check_grace(options_.start.grace);
    if (const proto::HandoverDrain* const drain = handover_in_ ? handover_in_->drain() : nullptr)
      drain_->carry_on(*drain);
  });
}

void Node::drain(proto::DrainRequest request, Callback<proto::DrainStatus> done) {
  loop_.post([this, request = std::move(request), done = std::move(done)]() mutable {
    if (!drain_) return done(Error(Errc::kNotReady, "the node is starting or has drained and ends"));
    drain_->handle(request, std::move(done));
  });
}

void Node::transfer_leases(std::optional<NodeId> to, std::size_t at_once,
                           Callback<replication::LeaseTransferProgress> done) {
  loop_.post([this, to, at_once, done = std::move(done)]() mutable {
    if (!replicas_) return done(Error(Errc::kNotReady, "the node is starting"));
    replication::LeaseTransferOptions options;
    options.to = to;
    options.at_once = at_once;
    for (const auto& entry : state_->nodes().snapshot()) {
      const meta::NodeRecord& node = entry->value;
      const bool fit =
          node.membership == meta::Membership::kActive && node.store.failure.empty() && !state_->draining(node.node);
      if (!fit || !state_->live(node.node)) options.avoid.insert(node.node);
    }
    options.leases = state_->leases_by_node();
    replicas_->transfer_all(std::move(options), std::move(done));
  });
}

}  // namespace outlast::server
