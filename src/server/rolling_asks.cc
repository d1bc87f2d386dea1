// RollingRunner: what it asks the nodes' processes for.
#include <algorithm>
#include <limits>

#include "lifecycle/drain.h"
#include "server/rolling_runner.h"

namespace outlast::server {
using namespace std::chrono_literals;
using lifecycle::RollingStep;
using liveness::Peer;

namespace {
constexpr Duration kCountEvery = 1s, kAskEvery = 500ms;

bool may_drain(RollingStep step) {
  return step == RollingStep::kDraining || step == RollingStep::kCommand;
}
}  // namespace

void RollingRunner::ask_nodes() {
  if (loop_.now() < ask_again_) return;
  ask_again_ = loop_.now() + kAskEvery;
  for (const auto& node : running_->machine.record().nodes) {
    const auto live = ports_.live(node.node);
    if (!live) continue;
    Asked& asked = running_->asked[node.node];
    if (asked.incarnation != *live) asked = {.incarnation = *live};
    if (asked.pending) continue;
    if (may_drain(node.step)) ask_drain({node.node, *live});
    if (node.step == RollingStep::kRestarting && node.restart > 0) ask_restart({node.node, *live});
  }
}

void RollingRunner::ask_drain(Peer peer) {
  running_->asked[peer.node].pending = true;
  ports_.drain(peer, proto::DrainRequest(),
               [this, alive = std::weak_ptr(alive_), peer](const Result<proto::DrainStatus>& status) {
                 if (alive.expired() || !running_) return;
                 Asked& asked = running_->asked[peer.node];
                 if (asked.incarnation != peer.incarnation) return;
                 asked.pending = false;
                 if (!status.ok()) return;
                 asked.drained = !status->end().empty() && status->since_micros() > 0;
                 asked.blocker =
                     status->blocker() == to_string(lifecycle::DrainBlocker::kNone) ? "" : status->blocker();
               });
}

void RollingRunner::ask_restart(Peer peer) {
  running_->asked[peer.node].pending = true;
  proto::RestartRequest request;
  request.set_look(true);
  ports_.restart(peer, request, [this, alive = std::weak_ptr(alive_), peer](const Result<RestartStatus>& status) {
    if (alive.expired() || !running_) return;
    Asked& asked = running_->asked[peer.node];
    if (asked.incarnation != peer.incarnation) return;
    asked.pending = false;
    if (!status.ok()) return;
    asked.blocker = status->running() ? "its restart is at " + status->state : "";
    asked.receipt = {.id = status->receipt_id(),
                     .succeeded = restart_succeeded(status->receipt),
                     .why = text_of(status->receipt, "outcome") + ": " + text_of(status->receipt, "why")};
  });
}

/// Of every live gateway; what a process counted between our last question and its end is not known.
void RollingRunner::count_statements(const placement::ClusterView& view) {
  if (loop_.now() < count_again_) return;
  count_again_ = loop_.now() + kCountEvery;
  for (const auto& node : view.nodes)
    if (const auto live = ports_.live(node.id); live && node.frontend) {
      const Peer peer{node.id, *live};
      ports_.statements(peer, [this, alive = std::weak_ptr(alive_), peer](const Result<proto::StatementsReply>& reply) {
        if (!alive.expired() && running_ && reply.ok()) take_statements(peer, *reply);
      });
    }
}

void RollingRunner::take_statements(Peer peer, const proto::StatementsReply& reply) {
  const lifecycle::StatementCounts now = statement_counts(reply);
  const auto [it, is_new] = counted_.try_emplace(peer.node, peer.incarnation, now);
  if (is_new) return;  // what it counted before is not ours
  auto& [incarnation, before] = it->second;
  if (peer.incarnation < incarnation) return;
  if (peer.incarnation > incarnation) incarnation = peer.incarnation, before = {};
  lifecycle::StatementCounts more = now;
  for (std::size_t i = 0; i < std::min(more.up_to.size(), before.up_to.size()); ++i)
    more.up_to[i].second = std::max(0.0, more.up_to[i].second - before.up_to[i].second);
  more.errors = std::max(0.0, more.errors - before.errors);
  total_.add(more);
  before = now;
}

lifecycle::StatementCounts statement_counts(const proto::StatementsReply& reply) {
  lifecycle::StatementCounts out;
  double up_to = 0;
  for (int i = 0; i < reply.counts_size(); ++i) {
    up_to += static_cast<double>(reply.counts(i));
    out.up_to.emplace_back(i < reply.seconds_size() ? reply.seconds(i) : std::numeric_limits<double>::infinity(),
                           up_to);
  }
  out.errors = static_cast<double>(reply.errors());
  return out;
}

void describe_rolling(const meta::TaskRecord& task, const placement::ClusterView& view, proto::TaskStatus& out) {
  out.set_detail(task.body);
  const auto record = lifecycle::decode_rolling_record(task.body);
  if (!record.ok()) return;
  for (const auto& node : record->nodes) {
    proto::TaskStatus::Node& one = *out.add_nodes();
    one.set_node(node.node.value);
    one.set_stage(std::string(to_string(node.step)));
    one.set_blocker(node.note);
    const auto seen = std::ranges::find(view.nodes, node.node, &placement::NodeView::id);
    if (seen == view.nodes.end()) continue;
    one.set_membership(std::string(to_string(seen->membership)));
    one.set_is_live(seen->health == placement::NodeView::Health::kLive);
    one.set_is_draining(seen->draining);
  }
}

}  // namespace outlast::server
