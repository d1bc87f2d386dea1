// NodeDrain: what it says of itself, to operators, in the log and as the receipt.
#include <spdlog/spdlog.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "meta/events.h"
#include "server/drain_receipt.h"
#include "server/json_views.h"
#include "server/node_drain.h"

namespace outlast::server {
namespace json = boost::json;
using lifecycle::DrainEnd;
using lifecycle::Outcome;
using lifecycle::WorkKind;

namespace {
constexpr int kBlockingMax = 100;

std::uint64_t millis(Duration d) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, d / std::chrono::milliseconds(1)));
}

void describe(const lifecycle::DrainLoad& load, proto::DrainStatus::Remaining& out) {
  out.set_connections(load.connections);
  out.set_transactions(load.transactions);
  out.set_foreign_transactions(load.foreign_transactions);
  out.set_foreign_statements(load.fragments);
  out.set_leases(load.leases);
  out.set_unmovable_leases(load.unmovable_leases);
  out.set_insync(load.insync);
  out.set_loads(load.loads);
  out.set_jobs(load.jobs);
  out.set_inputs(load.inputs);
  out.set_office(load.office);
  out.set_total(load.remaining());
}

void describe(const lifecycle::Ledger::Line& line, proto::DrainStatus::Ledger& out) {
  out.set_done(line.of(Outcome::kDone));
  out.set_failed(line.of(Outcome::kFailed));
  out.set_cancelled(line.of(Outcome::kCancelled));
  out.set_unknown(line.of(Outcome::kUnknown));
  out.set_refused(line.refused);
}

std::string plan_of(const lifecycle::DrainRequest& request) {
  if (request.frontend_only) return "frontend only";
  if (!request.exit.any()) return "full";
  if (request.exit.frontend && request.exit.fragments) return "frontend and fragments";
  return request.exit.frontend ? "frontend" : "fragments";
}

void add_blocking(proto::DrainStatus& out, std::string kind, std::string name, std::string why, std::uint64_t age = 0) {
  if (out.blocking_size() >= kBlockingMax) return;
  auto& one = *out.add_blocking();
  one.set_kind(std::move(kind));
  one.set_name(std::move(name));
  one.set_why(std::move(why));
  one.set_age_ms(age);
}
}  // namespace

proto::DrainStatus NodeDrain::status() const {
  const DrainView view = drainer_.view();
  proto::DrainStatus out = describe(view);
  if (view.end == DrainEnd::kNone) out.set_last_receipt(last_receipt_);  // else this is it
  return out;
}

proto::DrainStatus NodeDrain::describe(const DrainView& view) const {
  proto::DrainStatus out;
  out.set_node(parts_.self.node.value);
  out.set_incarnation(parts_.self.incarnation.value);
  out.set_phase(std::string(to_string(view.phase)));
  if (view.end != DrainEnd::kNone) out.set_end(view.end == DrainEnd::kForced ? "forced" : "complete");
  out.set_blocker(std::string(to_string(view.blocker)));
  out.set_by(view.by);
  out.set_force(view.request.force);
  out.set_stopping(stopping_);
  out.set_since_micros(view.since_micros);
  out.set_elapsed_ms(millis(view.elapsed));
  out.set_settings_sum_ms(millis(view.settings.sum()));
  if (view.request.deadline)
    out.set_deadline_ms(std::max<std::uint64_t>(1, millis(*view.request.deadline - parts_.loop.now())));
  for (const DrainView::Phase& phase : view.phases) {
    auto& one = *out.add_phases();
    one.set_phase(std::string(to_string(phase.phase)));
    one.set_lasted_ms(millis(phase.lasted));
  }
  server::describe(view.load, *out.mutable_remaining());
  out.mutable_remaining()->set_buffer_bytes(ingest_load().buffer_bytes);
  server::describe(view.at_start, *out.mutable_at_start());
  out.set_per_second(view.per_second);
  out.set_eta_ms(view.eta ? static_cast<std::int64_t>(millis(*view.eta)) : -1);
  out.set_metadata(view.load.metadata);
  for (const std::string& warning : warnings(view)) out.add_warnings(warning);
  if (view.since_micros == 0) return out;
  for (const auto& [node, count] : moved_to_) {
    auto& target = *out.add_moved_to();
    target.set_node(node.value);
    target.set_leases(count);
  }
  out.set_rehearsal(view.request.rehearsal);
  out.set_leave(view.request.leave);
  const auto since_begin = [this](Instant at) { return std::max<std::uint64_t>(1, millis(at - began_at_)); };
  if (inputs_closed_at_) out.set_inputs_closed_ms(since_begin(*inputs_closed_at_));
  if (buffers_flushed_at_) out.set_buffers_flushed_ms(since_begin(*buffers_flushed_at_));
  if (leases_left_at_) out.set_leases_left_ms(since_begin(*leases_left_at_));
  out.set_leases_moved(leases_moved_);
  out.set_lease_moves_failed(moves_failed_);
  const sql::SqlMetrics& metrics = parts_.sql.metrics();
  out.set_sessions_shed(metrics.sessions_shed - shed_before_);
  out.set_sessions_cut(metrics.sessions_cut - cut_before_);
  const lifecycle::Ledger ledger = parts_.sql.gate().ledger().since(ledger_before_);
  out.set_sessions_refused(ledger.of(WorkKind::kConnection).refused);
  server::describe(ledger.of(WorkKind::kStatement), *out.mutable_ledger());
  server::describe(ledger.of(WorkKind::kFragment), *out.mutable_fragments());
  server::describe(ledger.of(WorkKind::kLoad), *out.mutable_loads());
  server::describe(ledger.of(WorkKind::kJob), *out.mutable_jobs());
  out.set_plan(plan_of(view.request));
  if (const auto by = notice_.acknowledged_by()) {
    out.set_acknowledged_by(by->value);
    out.set_acknowledged_ms(since_begin(notice_.acknowledged_at()));
  }
  if (view.request.ends) out.set_not_acknowledged(notice_.not_acknowledged());
  describe_blocking(view, out);
  return out;
}

void NodeDrain::describe_blocking(const DrainView& view, proto::DrainStatus& out) const {
  if (!view.load.metadata)
    add_blocking(out, "metadata", "metadata store", "it does not answer: leases cannot move until it does");
  for (const sql::SessionView& session : parts_.sql.sessions_left())
    add_blocking(out, "session", session.name(), session.what, millis(session.age));
  for (const NodeIngest::Load::Wait& wait : ingest_load().waits) add_blocking(out, wait.kind, wait.name, wait.why);
  const Leases now = leases();
  for (const RangeId range : now.stuck)
    add_blocking(out, "lease", "range " + range.to_string() + " (" + parts_.state.database_of(range) + ")",
                 "no other live in-sync replica could take it: add a replica, or drain with --force");
  for (const auto& [range, one] : not_moved_)
    add_blocking(out, "lease", "range " + range.to_string() + " (" + parts_.state.database_of(range) + ")",
                 "the move to node " + one.target.to_string() + " failed: " + one.why.message);
  for (const RangeId range : now.pinned)
    add_blocking(out, "in-sync", "range " + range.to_string() + " (" + parts_.state.database_of(range) + ")",
                 "its writes stall when this node stops: it has no in-sync replicas to spare, or no live leaseholder");
}

/// What will not fit, said before it hurts.
std::vector<std::string> NodeDrain::warnings(const DrainView& view) const {
  std::vector<std::string> out = ingest_load().left_behind;
  if (const NodeIngest* const ingest = parts_.ingest();
      ingest != nullptr && !drainer_.draining() && drainer_.is_recorded_to_leave())
    out.emplace_back("the inputs stay closed until the metadata store has heard that the node stays");
  const Duration sum = view.settings.sum();
  if (view.request.ends && view.phase > lifecycle::DrainPhase::kUnready && !view.load.acknowledged &&
      view.settings.await_acknowledgement)
    out.push_back("the leader frontend did not say within " + format_duration(view.settings.acknowledgement_wait) +
                  " that it knows of the exit (" + notice_.not_acknowledged() + "): it went on without");
  if (!view.request.deadline || view.request.exit.any() || view.end != DrainEnd::kNone) return out;
  const Duration given = *view.request.deadline - parts_.loop.now() + view.elapsed;
  if (sum <= given) return out;
  out.push_back("the settings server.shutdown.* allow " + format_duration(sum) + " and the deadline leaves " +
                format_duration(std::chrono::duration_cast<std::chrono::milliseconds>(given)) +
                ": waits are cut short so that the leases still leave in time");
  return out;
}

/// What a drain would do now, and how long at least: drain_wait, and what moving the leases took when it was measured.
proto::DrainStatus NodeDrain::plan() const {
  proto::DrainStatus out = describe(drainer_.view());
  std::map<NodeId, std::size_t> load = parts_.state.leases_by_node();
  std::map<NodeId, std::uint64_t> targets;
  for (const auto& entry : parts_.state.ranges().snapshot()) {
    const placement::RangeConfig& range = entry->value;
    if (!range.leaseholder || range.leaseholder->node != parts_.self.node) continue;
    const placement::ReplicaRef* best = nullptr;
    for (const placement::ReplicaRef& ref : range.insync)
      if (could_lead(ref.node) && (best == nullptr || load[ref.node] < load[best->node])) best = &ref;
    if (best == nullptr) continue;
    ++load[best->node];
    ++targets[best->node];
  }
  out.clear_moved_to();
  for (const auto& [node, count] : targets) {
    auto& target = *out.add_moved_to();
    target.set_node(node.value);
    target.set_leases(count);
  }
  if (drainer_.draining()) return out;
  const DrainView view = drainer_.view();
  describe_blocking(view, out);
  const bool stuck = view.load.unmovable_leases > 0;
  out.set_eta_ms(stuck ? -1 : static_cast<std::int64_t>(millis(view.settings.drain_wait + expected(view.load))));
  return out;
}

/// The OPS channel: one JSON object a line, with the words that operators of other clusters know.
void NodeDrain::report(const std::string& event, const DrainView& view) const {
  const proto::DrainStatus status = describe(view);
  std::string text = event;
  if (event == "drain remaining") text += ": " + std::to_string(status.remaining().total());
  const json::object details = to_json(status.remaining());
  if (event == "drain details") text += ": " + json::serialize(details);
  json::object line{{"channel", "OPS"},      {"event", text},
                    {"node", status.node()}, {"phase", status.phase()},
                    {"by", status.by()},     {"elapsed_ms", status.elapsed_ms()},
                    {"remaining", details},  {"blocker", status.blocker()}};
  if (view.request.ends || view.request.frontend_only) line["plan"] = status.plan();
  if (status.acknowledged_by() != 0) line["acknowledged_by"] = status.acknowledged_by();
  if (status.warnings_size() > 0) line["warning"] = status.warnings(0);
  spdlog::info("{}", json::serialize(line));
}

void NodeDrain::say_progress() {
  constexpr Duration kEvery = std::chrono::seconds(5);
  if (parts_.loop.now() - said_at_ < kEvery) return;
  said_at_ = parts_.loop.now();
  const DrainView view = drainer_.view();
  parts_.say("draining, " + std::string(to_string(view.phase)) +
             ": remaining: " + std::to_string(view.load.remaining()));
}

void NodeDrain::check_grace(Duration grace) const {
  const Duration sum = settings().sum();
  if (grace == Duration::zero() || sum <= grace) return;
  spdlog::warn(
      "a stop is given {} (--grace), and the settings server.shutdown.* allow {}: lengthen the one or shorten the "
      "others, else waits are cut short",
      format_duration(grace), format_duration(sum));
}

void NodeDrain::keep_receipt(const DrainView& view) {
  const json::object receipt = to_json(describe(view));
  last_receipt_ = json::serialize(receipt);
  if (auto kept = write_receipt(parts_.store, receipt); !kept.ok())
    spdlog::warn("the drain's receipt is not kept: {}", kept.error().message);
  meta::append_event(parts_.meta,
                     {.time_micros = parts_.loop.wall_micros(),
                      .type = view.request.rehearsal       ? "node_drain_rehearsed"
                              : view.request.frontend_only ? "node_frontend_left"
                                                           : "node_drained",
                      .node = parts_.self.node,
                      .details = receipt},
                     [](const Result<void>&) {});
}

}  // namespace outlast::server
