// Node: its place in the cluster: what it says of itself, changes of memberships, and its end when it is
// decommissioned.
#include <spdlog/spdlog.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "server/node.h"

namespace outlast::server {
namespace json = boost::json;

namespace {
const char* event_of(meta::Membership now) {
  switch (now) {
    case meta::Membership::kActive:
      return "node_recommissioned";
    case meta::Membership::kDecommissioning:
      return "node_decommissioning";
    case meta::Membership::kDecommissioned:
      return "node_decommissioned";
  }
  return "";
}

/// The OPS channel, in seed 003's words: every node's log has it.
void log_change(const meta::NodeRecord& record) {
  const char* const event = event_of(record.membership);
  spdlog::info("{}", json::serialize(json::object{{"channel", "OPS"},
                                                  {"event", event},
                                                  {"Timestamp", record.membership_since_micros * 1000},
                                                  {"EventType", event},
                                                  {"RequestingNodeID", record.membership_by.value},
                                                  {"TargetNodeID", record.node.value}}));
}
}  // namespace

/// On the loop.
void Node::watch_memberships() {
  for (const auto& entry : state_->nodes().snapshot())
    if (entry->value.membership == meta::Membership::kDecommissioned) cut_off(entry->value.node);
  state_->nodes().on_change([this](const meta::NodeMirror::Change& change) {
    if (!change.after || (change.before && change.before->value.membership == change.after->value.membership)) return;
    if (change.before) log_change(change.after->value);
    if (change.after->value.membership == meta::Membership::kDecommissioned) cut_off(change.after->value.node);
  });
}

/// No connection to a decommissioned node lives on, whatever its process does.
void Node::cut_off(NodeId gone) {
  if (gone == member_.node) return ask_for(Step::kRetire);
  cut_off_.insert(gone);
  for (const meta::PeerView& view : liveness_->peers())
    if (view.peer.node == gone) remote_->fence(gone, view.peer.incarnation);
  if (replicas_) replicas_->nodes_changed();
}

/// This node is decommissioned for good. It holds nothing and serves nobody; the process waits to be ended. Its last
/// acts are the mark on the store and its own fence.
void Node::retire() {
  retired_ = left_ = true;
  spdlog::warn("{}: its process may be ended, its store is never opened again", retired_sentence());
  say("decommissioned");
  if (auto marked = store_->retire(); !marked.ok())
    spdlog::error("the store is not marked, the metadata refuses it all the same: {}", marked.error().message);
  if (ingest_) ingest_->stop();
  loop_.run_and_wait([this] {
    office_->resign([](const Result<void>&) {});
    links_->set_peers({});
    liveness_->fence_self("decommissioned", [](const Result<void>&) {});
  });
}

std::string Node::retired_sentence() const {
  return "node " + member_.node.to_string() + " is decommissioned for good";
}

/// About once a second, on the loop.
void Node::report_status() {
  if (!status_writer_ || !owning_ || retired_) return;
  meta::NodeStatusRecord now{.peer = self()};
  if (disk_space_)
    now.disk = {.capacity_bytes = disk_space_->total_bytes,
                .used_bytes = disk_space_->total_bytes - std::min(disk_space_->free_bytes, disk_space_->total_bytes),
                .available_bytes = disk_space_->free_bytes};
  if (ingest_) {
    const NodeIngest::Load load = ingest_->load();
    now.inputs = static_cast<std::uint32_t>(load.inputs);
    now.inputs_open = static_cast<std::uint32_t>(load.inputs_open);
    now.buffer_bytes = load.buffer_bytes;
  }
  status_writer_->look(now);
}

void Node::maintenance(const proto::MaintenanceRequest& request, Callback<proto::MaintenanceReply> done) {
  if (!serving_) return done(Error(Errc::kNotReady, not_ready()));
  const std::int64_t now = clock_.wall_micros();
  const std::int64_t until = request.for_ms() > 0 ? now + static_cast<std::int64_t>(request.for_ms()) * 1000 : 0;
  auto answer = [until, done = std::move(done)](const Result<void>& changed) mutable {
    proto::MaintenanceReply reply;
    if (changed.ok()) {
      reply.set_until_micros(until);
    } else {
      reply.set_code(std::string(facts(changed.error().code).name));
      reply.set_message(changed.error().message);
    }
    done(std::move(reply));
  };
  const NodeId node(request.node());
  if (until == 0) return meta::end_maintenance(*meta_, node, request.by(), now, std::move(answer));
  meta::begin_maintenance(*meta_, {.node = node, .until_micros = until, .by = request.by()}, now, std::move(answer));
}

}  // namespace outlast::server
