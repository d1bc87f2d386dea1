// RangeAdmin: what operators do by hand when the cluster cannot go on by itself: unsafe recovery of a range, and
// metadata rebuilt from what the replicas accepted.
#include <boost/json/array.hpp>

#include "meta/cas.h"
#include "meta/events.h"
#include "placement/recovery.h"
#include "server/range_admin.h"
#include "server/rebuild_view.h"

namespace outlast::server {

using placement::RangeConfig;
using placement::ReplicaFacts;
using placement::ReplicaRef;

namespace {
ReplicaFacts facts_of(const ReplicaRef& ref, RangeId range, const Survey& seen) {
  using Condition = ReplicaFacts::Condition;
  ReplicaFacts out;
  out.replica = ref;
  const proto::ReplicaState* state = seen.find(ref.node, range);
  if (state == nullptr || state->replica() != ref.replica.value || state->store() != ref.store_uuid) return out;
  out.condition = state->damaged()             ? Condition::kDamaged
                  : state->role() == "opening" ? Condition::kOpening
                  : state->record_regressed()  ? Condition::kRefusing
                                               : Condition::kHealthy;
  out.serving = state->serving();
  out.end = Lsn(state->end_lsn());
  out.end_epoch = Epoch(state->end_epoch());
  out.durable = Lsn(state->durable_lsn());
  return out;
}

/// The leaseholder's node answers, and its replica does not lead.
bool says_it_does_not_lead(NodeId holder, RangeId range, const Survey& seen) {
  const proto::ReplicaState* state = seen.find(holder, range);
  return state != nullptr && state->role() != "leaseholder" && state->role() != "recovering";
}
}  // namespace

void RangeAdmin::recover(const proto::RecoverRangeRequest& request, Callback<proto::RecoverRangeReply> done) {
  const RangeId range(request.range());
  meta::read(p_.meta, meta::keys::range(range),
             on_loop<std::optional<meta::KeyValue>>([this, range, request, done = std::move(done)](
                                                        Result<std::optional<meta::KeyValue>> read) mutable {
               if (!read.ok()) return done(std::move(read).error());
               if (!*read)
                 return done(Error(Errc::kNotFound, "the metadata store has no record of range " + range.to_string() +
                                                        "; `outlast meta rebuild` writes one from the replicas"));
               auto config = placement::decode_range_config((*read)->value);
               if (!config.ok()) return done(std::move(config).error());
               proto::ReplicasRequest ask;
               ask.add_ranges(range.value);
               survey(known_nodes(), ask,
                      [this, request, now = *config, done = std::move(done)](const Result<Survey>& seen) mutable {
                        judge_and_recover(request, now, *seen, std::move(done));
                      });
             }));
}

void RangeAdmin::judge_and_recover(const proto::RecoverRangeRequest& request, const RangeConfig& now,
                                   const Survey& seen, Callback<proto::RecoverRangeReply> done) {
  const NodeId from(request.from_node());
  std::vector<ReplicaFacts> facts;
  for (const auto* refs : {&now.insync, &now.learners})
    for (const ReplicaRef& ref : *refs) facts.push_back(facts_of(ref, now.range, seen));
  const bool fenced =
      now.leaseholder &&
      p_.liveness.fences().find(meta::keys::fence({now.leaseholder->node, now.leaseholder->incarnation})) != nullptr;
  const bool finished = !now.leaseholder || fenced || says_it_does_not_lead(now.leaseholder->node, now.range, seen);
  const auto judged = placement::judge_recovery(now, from, facts, finished);

  proto::RecoverRangeReply reply;
  reply.set_refused(judged.refused);
  for (const std::string& loss : judged.losses) reply.add_losses(loss);
  auto& before = *reply.mutable_before();
  *before.mutable_status() = range_status(now, p_.state.database_of(now.range));
  before.set_record(placement::encode(now));
  for (const ReplicaFacts& each : facts)
    if (const auto* state = seen.find(each.replica.node, now.range); state != nullptr) *before.add_replicas() = *state;
  for (const auto& [node, why] : seen.silent) {
    auto& silent = *before.add_silent();
    silent.set_node(node.value);
    silent.set_error(why);
  }
  if (!judged.refused.empty() || request.dry_run()) return done(std::move(reply));
  if (request.seen_cfg() != now.cfg.value) {
    reply.set_refused("the record changed since it was shown: look again");
    return done(std::move(reply));
  }
  const auto to = addressee(from);
  if (!to) return done(Error(Errc::kUnavailable, "node " + from.to_string() + " is not live any more"));
  auto next = placement::unsafe_recovery(now, from, to->incarnation);
  if (!next.ok()) return done(std::move(next).error());
  std::vector<meta::Compare> also{meta::Compare::absent(meta::keys::fence({from, to->incarnation}))};
  if (fenced)
    also.push_back(meta::Compare::present(meta::keys::fence({now.leaseholder->node, now.leaseholder->incarnation})));
  write_recovery(now, *next, std::move(also), std::move(reply), std::move(done));
}

void RangeAdmin::write_recovery(const RangeConfig& now, const RangeConfig& next, std::vector<meta::Compare> also,
                                proto::RecoverRangeReply reply, Callback<proto::RecoverRangeReply> done) {
  boost::json::array losses, lost;
  for (const std::string& loss : reply.losses()) losses.push_back(boost::json::string(loss));
  for (const ReplicaRef& ref : now.insync)
    if (ref.node != next.leaseholder->node) lost.push_back(ref.node.value);
  const meta::ClusterEvent event{.time_micros = p_.loop.wall_micros(),
                                 .type = "range_recovered_unsafely",
                                 .node = p_.self,
                                 .details = {{"range", now.range.value},
                                             {"database", p_.state.database_of(now.range)},
                                             {"from_node", next.leaseholder->node.value},
                                             {"epoch", next.epoch.value},
                                             {"other_members", lost},
                                             {"losses", losses}}};
  const std::string key = meta::keys::range(now.range), before = placement::encode(now),
                    after = placement::encode(next);
  auto plan = [key, before, after, event, also = std::move(also)](const meta::Snapshot& seen) -> Result<meta::Plan> {
    meta::Plan out;
    const auto it = seen.find(key);
    if (it != seen.end() && it->second.value == after) return out;  // our own write, whose answer was lost
    if (it == seen.end() || it->second.value != before)
      return Error(Errc::kMetaConflict, "the record changed since it was shown: look again");
    out.ops = {meta::Op::put(key, after), meta::event_op(event)};
    out.compares = also;
    return out;
  };
  meta::update(
      p_.meta, {key}, std::move(plan),
      [epoch = next.epoch, reply = std::move(reply), done = std::move(done)](Result<Revision> written) mutable {
        if (!written.ok()) return done(std::move(written).error());
        reply.set_done(true);
        reply.set_epoch(epoch.value);
        done(std::move(reply));
      });
}

void RangeAdmin::rebuild(const proto::RebuildMetaRequest& request, Callback<proto::RebuildMetaReply> done) {
  survey(known_nodes(), {}, [this, request, done = std::move(done)](Result<Survey> seen) mutable {
    auto found = std::make_shared<meta::Findings>(findings_from(*seen, p_.state, p_.liveness));
    meta::read_image(
        p_.meta, on_loop<meta::MetaImage>([this, request, found, silent = std::move(seen->silent),
                                           done = std::move(done)](const Result<meta::MetaImage>& image) mutable {
          if (!image.ok()) return done(image.error());
          auto plan = meta::plan_rebuild(*image, *found, request.allow_missing());
          if (!plan.ok()) return done(std::move(plan).error());
          auto answer = [silent = std::move(silent), done = std::move(done)](Result<meta::RebuildPlan> shown) mutable {
            if (!shown.ok()) return done(std::move(shown).error());
            proto::RebuildMetaReply reply = to_proto(*shown);
            for (const auto& [node, why] : silent) {
              auto& out = *reply.add_silent();
              out.set_node(node.value);
              out.set_error(why);
            }
            done(std::move(reply));
          };
          if (request.dry_run()) return answer(*std::move(plan));
          meta::carry_out(p_.meta, *std::move(plan), p_.self, p_.loop.wall_micros(), std::move(answer));
        }));
  });
}

namespace {
struct Prefix {
  const char* name;
  std::string_view key;
};
constexpr Prefix kCounted[] = {{"ranges", meta::keys::kRanges}, {"databases", meta::keys::kDatabases},
                               {"nodes", meta::keys::kNodes},   {"liveness", meta::keys::kLive},
                               {"fences", meta::keys::kFences}, {"settings", meta::keys::kSettings},
                               {"events", meta::keys::kEvents}};
}  // namespace

void RangeAdmin::meta_status(Callback<proto::MetaStatusReply> done) {
  proto::ReplicasRequest brief;
  brief.set_brief(true);
  survey(known_nodes(), brief, [this, done = std::move(done)](const Result<Survey>& seen) mutable {
    proto::MetaStatusReply reply;
    reply.set_store(p_.meta_url);
    reply.set_connected(p_.meta.connected());
    if (const auto leader = p_.office.leader()) {
      reply.set_leader(leader->node.value);
      reply.set_leader_incarnation(leader->incarnation.value);
    }
    std::set<std::uint64_t> regressed;
    for (const auto& [node, answer] : seen->answers)
      for (const proto::ReplicaState& state : answer.replicas())
        if (state.record_regressed()) regressed.insert(state.range());
    for (const std::uint64_t range : regressed) reply.add_regressed(range);
    meta::Txn txn;
    for (const Prefix& prefix : kCounted) txn.then.push_back(meta::Op::get_prefix(std::string(prefix.key)));
    p_.meta.txn(std::move(txn), meta::kMetaTimeout,
                [reply = std::move(reply), done = std::move(done)](const Result<meta::TxnReply>& read) mutable {
                  if (!read.ok()) {
                    reply.set_error(read.error().message);
                    return done(std::move(reply));
                  }
                  reply.set_revision(read->revision.value);
                  for (std::size_t i = 0; i < std::size(kCounted); ++i) {
                    auto& count = *reply.add_counts();
                    count.set_prefix(kCounted[i].name);
                    count.set_keys(read->replies[i].kvs.size());
                    std::uint64_t bytes = 0;
                    for (const meta::KeyValue& kv : read->replies[i].kvs) bytes += kv.key.size() + kv.value.size();
                    count.set_bytes(bytes);
                  }
                  done(std::move(reply));
                });
  });
}

}  // namespace outlast::server
