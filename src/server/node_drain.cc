#include "server/node_drain.h"

#include <algorithm>
#include <set>

#include "meta/drains.h"
#include "server/drain_receipt.h"

namespace outlast::server {
using namespace std::chrono_literals;
using lifecycle::DrainOrders;
using lifecycle::WorkKind;
using sql::SqlServer;

namespace {
constexpr Duration kAgain = 500ms;  ///< After what failed: leases that did not move, an office that is still ours.
/// What a deadline keeps free for the leases that are left, and for stepping out.
constexpr Duration kBusyLook = 100ms;     ///< Between looks at leases that stay for what runs on them.
constexpr Duration kFragmentsLoop = 10s;  ///< One turn of loop_count_wait_fragments_finish.
constexpr Duration kTailEach = 3ms, kTailLeast = 1s;
}  // namespace

NodeDrain::NodeDrain(Parts parts)
    : parts_(std::move(parts)),
      last_receipt_(read_receipt(parts_.store)),
      notice_(parts_.loop, {.set_phase = parts_.set_phase,
                            .ask_leader = parts_.ask_leader,
                            .acknowledged = [this] { drainer_.nudge(); }}),
      metadata_(parts_.loop, parts_.meta, [this] { drainer_.nudge(); }),
      drainer_(parts_.loop, ports()) {
  parts_.state.ranges().on_change([this, alive = std::weak_ptr(alive_)](const meta::RangeMirror::Change& change) {
    if (!alive.expired()) on_range(change);
  });
  parts_.state.ranges().on_batch([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) drainer_.nudge();
  });
  parts_.state.drains().on_batch([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) parts_.replicas.nodes_changed();
  });
}

NodeDrain::~NodeDrain() {
  if (mover_) mover_->stop();
  if (rehearsal_end_ != 0) parts_.loop.cancel(rehearsal_end_);
}

Drainer::Ports NodeDrain::ports() {
  Drainer::Ports out;
  out.settings = [this] { return settings(); };
  out.load = [this] { return load(); };
  out.carry_out = [this](const DrainOrders& orders) { carry_out(orders); };
  out.record = [this](const DrainWish& wish, const std::string& by, Callback<void> done) {
    record(wish, by, std::move(done));
  };
  out.report = [this](const std::string& event, const DrainView& view) { report(event, view); };
  out.drained = [this](const DrainView& view) {
    if (!view.request.handover) keep_receipt(view);
  };
  return out;
}

void NodeDrain::begin_receipt() {
  if (rehearsal_end_ != 0) parts_.loop.cancel(std::exchange(rehearsal_end_, 0));
  began_at_ = parts_.loop.now();
  leases_left_at_.reset();
  inputs_closed_at_.reset();
  buffers_flushed_at_.reset();
  not_moved_.clear();
  moved_to_.clear();
  leases_moved_ = moves_failed_ = 0;
  foreign_before_.reset();
  left_office_ = parts_.office.holds();
  ledger_before_ = parts_.sql.gate().ledger();
  shed_before_ = parts_.sql.metrics().sessions_shed;
  cut_before_ = parts_.sql.metrics().sessions_cut;
}

lifecycle::DrainSettings NodeDrain::settings() const {
  const meta::Settings& all = parts_.state.settings();
  return {.drain_wait = all.duration("server.shutdown.drain_wait"),
          .connection_wait = all.duration("server.shutdown.connection_wait"),
          .query_wait = all.duration("server.shutdown.query_wait"),
          .lease_transfer_wait = all.duration("server.shutdown.lease_transfer_wait"),
          .handover_wait = all.duration("handover.transaction_wait"),
          .detection_wait = std::chrono::seconds(all.number("min_graceful_exit_time_second")),
          .frontend_wait = std::chrono::seconds(all.number("max_graceful_exit_time_second")),
          .fragments_wait = kFragmentsLoop * all.number("loop_count_wait_fragments_finish"),
          .await_acknowledgement = all.flag("graceful_exit_wait_for_frontend_heartbeat")};
}

/// Another node that is there and does not leave.
bool NodeDrain::stays(NodeId node) const {
  return node != parts_.self.node && parts_.state.live(node) && !parts_.state.draining(node);
}

/// Another node that may be given leases.
bool NodeDrain::could_lead(NodeId node) const {
  const auto record = parts_.state.nodes().find(meta::keys::node(node));
  return record && record->value.roles.backend && record->value.membership == meta::Membership::kActive && stays(node);
}

/// Another node takes the office when it is free.
bool NodeDrain::others_stand() const {
  return std::ranges::any_of(parts_.state.nodes().snapshot(), [this](const auto& entry) {
    return entry->value.roles.frontend && entry->value.membership == meta::Membership::kActive &&
           stays(entry->value.node);
  });
}

bool NodeDrain::alone() const {
  for (const auto& entry : parts_.state.nodes().snapshot())
    if (could_lead(entry->value.node)) return false;
  return true;
}

NodeDrain::Leases NodeDrain::leases() const {
  Leases out;
  std::set<NodeId> heirs, live;
  for (const auto& entry : parts_.state.nodes().snapshot()) {
    const NodeId node = entry->value.node;
    if (could_lead(node)) heirs.insert(node);
    if (parts_.state.live(node)) live.insert(node);
  }
  for (const auto& entry : parts_.state.ranges().snapshot()) {
    const placement::RangeConfig& range = entry->value;
    if (!range.leaseholder || range.find_insync(parts_.self.node) == nullptr) continue;
    const bool shrinks = static_cast<int>(range.insync.size()) > range.min_insync;
    if (range.leaseholder->node == parts_.self.node) {
      ++out.held;
      if (std::ranges::none_of(range.insync, [&](const auto& ref) { return heirs.contains(ref.node); }))
        out.stuck.push_back(range.range);
    } else if (shrinks && live.contains(range.leaseholder->node)) {
      ++out.insync;
    } else {
      out.pinned.push_back(range.range);
    }
  }
  out.unmovable = out.stuck.size();
  return out;
}

lifecycle::DrainLoad NodeDrain::load() const {
  const Leases leases = this->leases();
  const SqlServer::Load sessions = parts_.sql.load();
  const executor::ForeignWork foreign = parts_.executor.foreign_work(
      replication::gateway_number(parts_.self.node, parts_.self.incarnation), foreign_before_.value_or(Instant::max()));
  lifecycle::DrainLoad out;
  out.connections = sessions.all();
  out.transactions = sessions.busy + sessions.in_transaction;
  out.foreign_transactions = foreign.transactions;
  const lifecycle::Ledger work = parts_.sql.gate().ledger();
  // At its leaseholder a fragment is a statement of another gateway, too.
  out.fragments = std::max<std::uint64_t>(foreign.statements, work.of(WorkKind::kFragment).open());
  out.loads = work.of(WorkKind::kLoad).open();
  out.jobs = work.of(WorkKind::kJob).open();
  out.leases = leases.held;
  out.unmovable_leases = leases.unmovable;
  out.insync = leases.insync;
  const NodeIngest::Load ingest = ingest_load();
  out.inputs = ingest.inputs_open;
  out.buffers = ingest.buffers;
  const bool vacant = left_office_ && !parts_.office.leader();
  out.office = (parts_.office.holds() || vacant) && others_stand();
  out.acknowledged = notice_.acknowledged_by().has_value();
  out.metadata = parts_.meta.connected();
  out.tail = expected(out);
  return out;
}

/// Nothing unless the node leaves, and before the process ends: then others keep what is there.
NodeIngest::Load NodeDrain::ingest_load() const {
  const NodeIngest* const ingest = leaving() && !drainer_.handing_over() && !stopping_ ? parts_.ingest() : nullptr;
  return ingest == nullptr ? NodeIngest::Load() : ingest->load();
}

Duration NodeDrain::expected(const lifecycle::DrainLoad& load) {
  return std::max<Duration>(kTailLeast, kTailEach * load.leases);
}

void NodeDrain::carry_out(const DrainOrders& orders) {
  parts_.unready = !orders.ready;
  notice_.give(orders.ends);
  refuse(orders);
  carry_out_sessions(orders);
  carry_out_ingest(orders);
  if (drainer_.draining()) say_progress();
  if (orders.roll_back_foreign) {
    if (!foreign_before_) foreign_before_ = parts_.loop.now();
    parts_.executor.end_foreign_work(replication::gateway_number(parts_.self.node, parts_.self.incarnation),
                                     *foreign_before_);
    parts_.served.end_work(*foreign_before_);
  }
  parts_.executor.let_reads_finish(orders.shed_leases && !orders.ready);
  if (orders.resign) resign();
  if (orders.shed_leases) return shed_leases(orders.keep_busy);
  if (mover_) mover_->stop();
  foreign_before_.reset();
  if (!orders.resign && parts_.roles.frontend) parts_.office.stand();
}

/// New work that another node can do as well. What is led here is a statement, and goes on (protocol A7).
void NodeDrain::refuse(const DrainOrders& orders) {
  lifecycle::Gate& gate = parts_.sql.gate();
  const std::string me = "node " + parts_.self.node.to_string();
  for (const WorkKind kind : {WorkKind::kFragment, WorkKind::kLoad, WorkKind::kJob}) {
    if (!orders.refused.contains(kind)) {
      if (!gate.is_open(kind)) gate.open(kind);
    } else if (gate.is_open(kind)) {
      gate.close(kind, Error(Errc::kNotReady, "INTERNAL_ERROR: " + me + " is exiting: run it on another node"));
    }
  }
}

void NodeDrain::resign() {
  if (!parts_.office.holds() || !others_stand() || parts_.loop.now() < resign_again_) return;
  resign_again_ = parts_.loop.now() + kAgain;
  parts_.office.resign([](const Result<void>&) {});
}

void NodeDrain::carry_out_sessions(const DrainOrders& orders) {
  lifecycle::Gate& gate = parts_.sql.gate();
  const bool refuse = orders.refused.contains(WorkKind::kConnection);
  if (refuse && gate.is_open(WorkKind::kConnection))
    gate.close(WorkKind::kConnection, Error(Errc::kNotReady, "the node is draining: connect to another one"));
  if (!refuse && !gate.is_open(WorkKind::kConnection)) gate.open(WorkKind::kConnection);
  parts_.sql.shed(orders.close_all    ? SqlServer::Shedding::kNow
                  : orders.close_idle ? SqlServer::Shedding::kAtSafePoints
                                      : SqlServer::Shedding::kNone);
}

/// Whoever believes the durable record believes that nothing comes in: that goes first when the node stays after all.
void NodeDrain::carry_out_ingest(const DrainOrders& orders) {
  NodeIngest* const ingest = parts_.ingest();
  if (ingest == nullptr || stopping_) return;
  if (!orders.close_inputs) {
    if (!drainer_.is_recorded_to_leave()) ingest->stay();
    return;
  }
  ingest->leave();
  if (buffers_flushed_at_ || drainer_.handing_over()) return;
  const NodeIngest::Load left = ingest->load();
  if (left.inputs_open > 0) return;
  if (!inputs_closed_at_) {
    inputs_closed_at_ = parts_.loop.now();
    report("inputs closed", drainer_.view());
  }
  if (left.buffers > 0) return;
  buffers_flushed_at_ = parts_.loop.now();
  report("buffers flushed", drainer_.view());
}

/// Round after round, until no lease is left that somebody could take.
void NodeDrain::shed_leases(bool keep_busy) {
  give_up_what_nobody_can_take();
  if (mover_ || parts_.loop.now() < mover_rest_ || !parts_.meta.connected()) return;
  const Leases leases = this->leases();
  if (leases.held == leases.unmovable) {
    if (!leases_left_at_) leases_left_at_ = parts_.loop.now();
    return;
  }
  if (!metadata_.lately()) return;
  replication::LeaseTransferOptions options;
  for (const auto& entry : parts_.state.nodes().snapshot())
    if (!could_lead(entry->value.node)) options.avoid.insert(entry->value.node);
  options.leases = parts_.state.leases_by_node();
  if (keep_busy) options.keep = parts_.executor.busy_ranges(began_at_);
  keeps_ = !options.keep.empty();
  const std::uint64_t round = ++rounds_;
  auto mover = parts_.replicas.transfer_all(
      std::move(options),
      [this, alive = std::weak_ptr(alive_)](const Result<replication::LeaseTransferProgress>& ended) {
        if (!alive.expired()) moved(ended);
      });
  if (ended_rounds_ != round) mover_ = std::move(mover);  // it may end at once
}

void NodeDrain::moved(const Result<replication::LeaseTransferProgress>& progress) {
  mover_.reset();
  ended_rounds_ = rounds_;
  drainer_.nudge();
  const bool failed = !progress.ok() || !progress->failed.empty();
  mover_rest_ = failed ? parts_.loop.now() + kAgain : keeps_ ? parts_.loop.now() + kBusyLook : Instant{};
  if (!progress.ok()) return;
  moves_failed_ += progress->failed.size();
  for (const auto& one : progress->failed) not_moved_.insert_or_assign(one.range, one);
}

/// A stop of the whole cluster, or of its only node: there is nobody to hand over to, and nobody to wait for.
void NodeDrain::give_up_what_nobody_can_take() {
  if (!stopping_ || gave_up_ || !alone()) return;
  gave_up_ = true;
  parts_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) (void)drainer_.drain({.force = true, .deadline = {}}, {});
  });
}

void NodeDrain::on_range(const meta::RangeMirror::Change& change) {
  if (!drainer_.draining() || !change.before || !change.after) return;
  const auto& before = change.before->value.leaseholder;
  const auto& after = change.after->value.leaseholder;
  if (!before || before->node != parts_.self.node || !after || after->node == parts_.self.node) return;
  ++leases_moved_;
  ++moved_to_[after->node];
  not_moved_.erase(change.after->value.range);
}

void NodeDrain::record(const DrainWish& wish, const std::string& by, Callback<void> done) {
  if (!wish.draining) return meta::erase_drain(parts_.meta, parts_.self, parts_.loop.wall_micros(), std::move(done));
  meta::record_drain(parts_.meta,
                     {.peer = parts_.self,
                      .since_micros = drainer_.since_micros(),
                      .by = by,
                      .force = wish.force,
                      .step_out = wish.step_out,
                      .drained = wish.drained,
                      .leave = wish.leave && !stopping_},
                     std::move(done));
}

}  // namespace outlast::server
