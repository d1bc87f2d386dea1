#include "server/range_admin.h"

#include <algorithm>

#include "meta/cas.h"
#include "server/comparison.h"

namespace outlast::server {
using namespace std::chrono_literals;

namespace {
constexpr Duration kAnswerLimit = 1s;

proto::ReplicaState to_proto(const replication::ReplicaState& state, NodeId node, bool brief) {
  using Role = replication::ReplicaState::Role;
  proto::ReplicaState out;
  out.set_range(state.range.value);
  out.set_node(node.value);
  out.set_replica(state.replica.replica.value);
  out.set_store(state.replica.store_uuid);
  out.set_role(std::string(replication::to_string(state.role)));
  out.set_trouble(state.trouble);
  out.set_damaged(state.damaged());
  out.set_start_lsn(state.start.lsn.value);
  out.set_end_lsn(state.end.lsn.value);
  out.set_end_epoch(state.end.epoch.value);
  out.set_synced_lsn(state.synced.value);
  out.set_durable_lsn(state.durable.value);
  out.set_applied_lsn(state.applied.value);
  out.set_log_bytes(state.log_bytes);
  out.set_file_bytes(state.file_bytes);
  if (state.accepted) {
    out.set_accepted_epoch(state.accepted->epoch.value);
    out.set_accepted_cfg(state.accepted->cfg.value);
    if (!brief) out.set_accepted(placement::encode(*state.accepted));
  }
  out.set_record_epoch(state.record_epoch.value);
  out.set_record_cfg(state.record_cfg.value);
  for (const NodeId to : state.copies_in_line) out.add_copies_in_line(to.value);
  out.set_changing(state.changing);
  out.set_serving(state.role == Role::kLeaseholder);
  out.set_record_regressed(state.role == Role::kRefusing);
  return out;
}

/// What the leaseholder's node says about a range, for the list.
void add_state(proto::RangeStatus& status, const Survey& seen) {
  const NodeId holder(status.leaseholder());
  if (!holder) return status.set_trouble("nobody leads it");
  if (const auto it = seen.silent.find(holder); it != seen.silent.end())
    return status.set_trouble("node " + holder.to_string() + ": " + it->second);
  const proto::ReplicaState* state = seen.find(holder, RangeId(status.range()));
  if (state == nullptr) return status.set_trouble("node " + holder.to_string() + " has no replica of it");
  status.set_has_state(true);
  status.set_durable_lsn(state->durable_lsn());
  status.set_size_bytes(state->file_bytes());
  if (!state->trouble().empty())
    status.set_trouble(state->trouble());
  else if (!state->serving())
    status.set_trouble("node " + holder.to_string() + " does not serve it: " + state->role());
}
}  // namespace

const proto::ReplicaState* Survey::find(NodeId node, RangeId range) const {
  const auto it = answers.find(node);
  if (it == answers.end()) return nullptr;
  const auto& all = it->second.replicas();  // by range
  const auto found =
      std::lower_bound(all.begin(), all.end(), range.value,
                       [](const proto::ReplicaState& state, std::uint64_t wanted) { return state.range() < wanted; });
  return found == all.end() || found->range() != range.value ? nullptr : &*found;
}

// What other nodes ask.

proto::ReplicasReply RangeAdmin::own(const proto::ReplicasRequest& request) const {
  std::vector<RangeId> only;
  for (const std::uint64_t range : request.ranges()) only.emplace_back(range);
  std::ranges::sort(only);
  proto::ReplicasReply reply;
  for (const replication::ReplicaState& state : p_.replicas.states(only))
    *reply.add_replicas() = to_proto(state, p_.self, request.brief());
  return reply;
}

void RangeAdmin::digest(const proto::DigestRequest& request, Callback<proto::DigestReply> done) {
  const RangeId range(request.range());
  if (request.hold_ms() > 0) {
    p_.replicas.hold_apply(range, std::chrono::milliseconds(request.hold_ms()));
    return done(proto::DigestReply());
  }
  auto answer = [done = std::move(done)](Result<storage::Digest> digest) mutable {
    if (!digest.ok()) return done(std::move(digest).error());
    proto::DigestReply reply;
    reply.set_lsn(digest->at.lsn.value);
    reply.set_epoch(digest->at.epoch.value);
    reply.set_crc(digest->crc);
    reply.set_file_size(digest->file_size);
    done(std::move(reply));
  };
  if (request.at_lsn() > 0) return p_.replicas.digest_at(range, Lsn(request.at_lsn()), std::move(answer));
  p_.replicas.digest(range, std::move(answer));
}

// Gathering.

std::optional<rpc::Addressee> RangeAdmin::addressee(NodeId node) const {
  const auto view = p_.liveness.current(node);
  if (!view || view->state == liveness::State::kFenced || view->addr.empty()) return std::nullopt;
  return rpc::Addressee{node, view->peer.incarnation, view->addr};
}

std::set<NodeId> RangeAdmin::known_nodes() const {
  std::set<NodeId> nodes;
  for (const auto& entry : p_.state.nodes().snapshot()) nodes.insert(entry->value.node);
  return nodes;
}

void RangeAdmin::survey(const std::set<NodeId>& nodes, const proto::ReplicasRequest& request, Callback<Survey> done) {
  struct Gathering {
    Survey survey;
    std::size_t waiting{1};
    Callback<Survey> done;
    void one_less() {
      if (--waiting == 0) done(std::move(survey));
    }
  };
  auto all = std::make_shared<Gathering>();
  all->done = std::move(done);
  for (const NodeId node : nodes) {
    if (node == p_.self) {
      all->survey.answers[node] = own(request);
      continue;
    }
    const auto to = addressee(node);
    if (!to) {
      all->survey.silent[node] = "is not live";
      continue;
    }
    ++all->waiting;
    p_.client.replicas(*to, request, kAnswerLimit,
                       on_loop<proto::ReplicasReply>([all, node](Result<proto::ReplicasReply> reply) {
                         if (reply.ok())
                           all->survey.answers[node] = *std::move(reply);
                         else
                           all->survey.silent[node] = "did not answer: " + reply.error().message;
                         all->one_less();
                       }));
  }
  all->one_less();
}

void RangeAdmin::ranges(Callback<proto::RangesReply> done) {
  proto::RangesReply reply = p_.state.ranges_reply();
  std::set<NodeId> holders;
  for (const proto::RangeStatus& status : reply.ranges())
    if (status.leaseholder() != 0) holders.insert(NodeId(status.leaseholder()));
  proto::ReplicasRequest request;
  request.set_brief(true);
  survey(holders, request, [reply = std::move(reply), done = std::move(done)](const Result<Survey>& seen) mutable {
    for (proto::RangeStatus& status : *reply.mutable_ranges()) add_state(status, *seen);
    done(std::move(reply));
  });
}

void RangeAdmin::range(RangeId range, Callback<proto::RangeReply> done) {
  const auto entry = p_.state.ranges().find(meta::keys::range(range));
  proto::ReplicasRequest request;
  request.add_ranges(range.value);
  // Everybody is asked: a replica that the record does not name may be the one that knows.
  survey(known_nodes(), request, [this, range, entry, done = std::move(done)](const Result<Survey>& seen) mutable {
    proto::RangeReply reply;
    for (const auto& [node, answer] : seen->answers)
      for (const proto::ReplicaState& state : answer.replicas()) *reply.add_replicas() = state;
    if (!entry && reply.replicas().empty())
      return done(Error(Errc::kNotFound,
                        "there is no range " + range.to_string() + "; `outlast range ls` shows those that are there"));
    reply.mutable_status()->set_range(range.value);
    if (entry) {
      *reply.mutable_status() = range_status(entry->value, p_.state.database_of(range));
      add_state(*reply.mutable_status(), *seen);
      reply.set_record(placement::encode(entry->value));
    } else {
      reply.mutable_status()->set_trouble("the metadata store has no record of it");
    }
    for (const auto& [node, why] : seen->silent) {
      if (entry && entry->value.find(node) == nullptr) continue;
      auto& silent = *reply.add_silent();
      silent.set_node(node.value);
      silent.set_error(why);
    }
    done(std::move(reply));
  });
}

void RangeAdmin::verify(RangeId range, Duration limit, Callback<proto::VerifyRangeReply> done) {
  const auto entry = p_.state.ranges().find(meta::keys::range(range));
  if (!entry) return done(Error(Errc::kNotFound, "there is no range " + range.to_string()));
  compare_replicas(*this, entry->value, limit, std::move(done));
}

}  // namespace outlast::server
