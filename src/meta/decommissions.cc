#include "meta/decommissions.h"

#include <algorithm>
#include <memory>

#include "meta/cas.h"
#include "meta/drains.h"
#include "meta/events.h"
#include "meta/fencing.h"
#include "meta/keys.h"
#include "meta/node_status.h"
#include "meta/office.h"

namespace outlast::meta {
namespace {
constexpr std::size_t kFencesAtOnce = 32;  ///< Older incarnations ended before a later one could begin.
constexpr int kAttempts = 16;

std::string name_of(NodeId node) {
  return "node " + node.to_string();
}

Op membership_event(const char* type, const MembershipChange& change, std::uint64_t possible_loss = 0) {
  boost::json::object details{{"Timestamp", change.wall_micros * 1000},
                              {"EventType", type},
                              {"RequestingNodeID", change.requested_by.value},
                              {"TargetNodeID", change.node.value}};
  if (possible_loss > 0) details["PossibleLossBytes"] = possible_loss;
  return event_op(
      {.time_micros = change.wall_micros, .type = type, .node = change.requested_by, .details = std::move(details)});
}

std::vector<Compare> compares_of(const Warrant& warrant) {
  std::vector<Compare> out;
  if (warrant.office) out.push_back(*warrant.office);
  if (warrant.task != 0) out.push_back(Compare::unchanged(keys::task(warrant.task), warrant.task_mod));
  return out;
}

NodeRecord with(NodeRecord record, Membership membership, const MembershipChange& change) {
  record.membership = membership;
  record.membership_by = change.requested_by;
  record.membership_since_micros = change.wall_micros;
  return record;
}

/// Between active and decommissioning.
void turn(Store& store, const MembershipChange& change, const Warrant& warrant, Membership wanted, const char* event,
          Callback<void> done) {
  const std::string key = keys::node(change.node);
  Planner plan = [key, change, wanted, noted = membership_event(event, change),
                  compares = compares_of(warrant)](const Snapshot& seen) -> Result<Plan> {
    const auto there = seen.find(key);
    if (there == seen.end()) return Error(Errc::kNotFound, "there is no " + name_of(change.node));
    ASSIGN_OR_RETURN(const NodeRecord now, decode_node_record(there->second.value));
    if (now.membership == wanted) return Plan{};
    if (now.membership == Membership::kDecommissioned)
      return Error(Errc::kInvalidState, name_of(change.node) + " is decommissioned for good; start a new node instead");
    return Plan{.ops = {Op::put(key, encode(with(now, wanted, change))), noted}, .compares = compares};
  };
  update(store, {key}, std::move(plan), without_revision(std::move(done)));
}

std::vector<Incarnation> incarnations_in(const std::vector<KeyValue>& kvs, std::string_view prefix) {
  std::vector<Incarnation> out;
  for (const KeyValue& kv : kvs)
    if (const auto peer = keys::parse_peer(kv.key, prefix)) out.push_back(peer->incarnation);
  std::ranges::sort(out);
  return out;
}

std::string list(const std::vector<RangeId>& ranges) {
  constexpr std::size_t kNamed = 10;
  std::string out;
  for (std::size_t i = 0; i < std::min(kNamed, ranges.size()); ++i) out += (i == 0 ? "" : ", ") + ranges[i].to_string();
  return ranges.size() > kNamed ? out + ", …" : out;
}

Error left(std::string what) {
  return {Errc::kInvalidState, std::move(what)};
}

/// Its newest process that was ever seen is the drained one, nobody else of it runs, and nothing is in its buffers.
Result<void> has_drained(const FinalFacts& facts, NodeId node) {
  if (!facts.drained) return left(name_of(node) + " has not drained yet");
  for (const auto* seen : {&facts.fenced, &facts.recorded})
    if (!seen->empty() && seen->back() > *facts.drained)
      return left(name_of(node) + " was started again since it drained: its present process has to drain");
  for (const Incarnation each : facts.recorded)
    if (each != *facts.drained && !std::ranges::binary_search(facts.fenced, each))
      return left("another process of " + name_of(node) + " may still run");
  if (facts.reported != facts.drained) return left(name_of(node) + " has not said yet what its buffers hold");
  if (facts.buffer_bytes > 0)
    return left(name_of(node) + " has " + std::to_string(facts.buffer_bytes) + " bytes in its buffers");
  return {};
}

Result<void> is_finished(const FinalFacts& facts, NodeId node) {
  for (const Incarnation each : facts.recorded)
    if (!std::ranges::binary_search(facts.fenced, each))
      return left("process " + each.to_string() + " of " + name_of(node) + " is not fenced: it may still run");
  return {};
}

/// One final step on its way; keeps itself alive through the callbacks it hands to the store.
class Finish : public std::enable_shared_from_this<Finish> {
 public:
  Finish(Store& store, const MembershipChange& change, bool in_absentia, const Warrant& warrant, Callback<void> done)
      : store_(store),
        change_(change),
        in_absentia_(in_absentia),
        also_(compares_of(warrant)),
        done_(std::move(done)) {}

  void start() {
    Txn read;
    for (const std::string& key : single_keys()) read.then.push_back(Op::get(key));
    for (const std::string& prefix :
         {keys::fences_of(change_.node), keys::lives_of(change_.node), std::string(keys::kRanges)})
      read.then.push_back(Op::get_prefix(prefix));
    store_.txn(std::move(read), kMetaTimeout,
               [self = shared_from_this()](Result<TxnReply> reply) { self->on_read(std::move(reply)); });
  }

 private:
  /// Of the replies to start().
  enum Part : std::uint8_t { kNode, kDrain, kStatus, kCounter, kOffice, kFences, kLives, kRanges };
  std::vector<std::string> single_keys() const {
    return {keys::node(change_.node), keys::drain(change_.node), keys::status(change_.node),
            keys::incarnation(change_.node), std::string(keys::kOffice)};
  }
  static std::optional<std::string> text(const TxnReply& reply, Part part) {
    const auto& kvs = reply.replies[part].kvs;
    return kvs.empty() ? std::optional<std::string>() : std::optional(kvs[0].value);
  }

  void on_read(Result<TxnReply> reply) {
    if (!reply.ok()) return finish(std::move(reply).error());
    auto write = plan(*reply);
    if (!write.ok()) return finish(std::move(write).error());
    if (write->then.empty()) return finish({});
    store_.txn(*std::move(write), kMetaTimeout,
               [self = shared_from_this()](Result<TxnReply> written) { self->on_written(std::move(written)); });
  }

  Result<FinalFacts> facts_in(const TxnReply& reply, Membership membership) const {
    FinalFacts facts{.membership = membership};
    if (const auto holder = text(reply, kOffice)) {
      ASSIGN_OR_RETURN(facts.office, decode_office_holder(*holder));
    }
    if (const auto drain = text(reply, kDrain)) {
      ASSIGN_OR_RETURN(const DrainRecord record, decode_drain_record(*drain));
      if (record.drained && record.leave) facts.drained = record.peer.incarnation;
    }
    if (const auto status = text(reply, kStatus)) {
      ASSIGN_OR_RETURN(const NodeStatusRecord said, decode_node_status(*status));
      facts.reported = said.peer.incarnation;
      facts.buffer_bytes = said.buffer_bytes;
    }
    facts.fenced = incarnations_in(reply.replies[kFences].kvs, keys::kFences);
    facts.recorded = incarnations_in(reply.replies[kLives].kvs, keys::kLive);
    for (const KeyValue& kv : reply.replies[kRanges].kvs) {
      auto config = placement::decode_range_config(kv.value);
      if (!config.ok()) return std::move(config).error().within(kv.key);  // it may name anybody
      facts.ranges.push_back(*std::move(config));
    }
    return facts;
  }

  /// No operations: it is decommissioned already.
  Result<Txn> plan(const TxnReply& reply) const {
    const auto record = text(reply, kNode);
    if (!record) return Error(Errc::kNotFound, "there is no " + name_of(change_.node));
    ASSIGN_OR_RETURN(const NodeRecord now, decode_node_record(*record));
    if (now.membership == Membership::kDecommissioned) return Txn{};
    ASSIGN_OR_RETURN(const FinalFacts facts, facts_in(reply, now.membership));
    TRY(may_finish(facts, change_.node, in_absentia_));
    Txn write;
    write.compares = also_;
    const auto keys_read = single_keys();
    for (std::size_t i = 0; i < keys_read.size(); ++i) {
      const auto& kvs = reply.replies[i].kvs;
      write.compares.push_back(Compare::unchanged(keys_read[i], kvs.empty() ? Revision{} : kvs[0].mod_revision));
    }
    write.then = {Op::put(keys::node(change_.node), encode(with(now, Membership::kDecommissioned, change_))),
                  Op::del(keys::maintenance(change_.node)),
                  membership_event("node_decommissioned", change_, in_absentia_ ? facts.buffer_bytes : 0)};
    const auto counter = text(reply, kCounter);
    fence_others(facts, counter ? keys::parse_number(*counter).value_or(0) : 0, write);
    return write;
  }

  /// Those that were drawn and never seen: such a process may be about to begin, and its first act compares the fence.
  void fence_others(const FinalFacts& facts, std::uint64_t last, Txn& write) const {
    const std::string why = encode_fence("node " + change_.requested_by.to_string(), "decommissioned");
    std::size_t written = 0;
    for (Incarnation each(last); each && written < kFencesAtOnce; each = Incarnation(each.value - 1)) {
      if (std::ranges::binary_search(facts.fenced, each) || std::ranges::binary_search(facts.recorded, each)) continue;
      const liveness::Peer peer{change_.node, each};
      write.compares.push_back(Compare::absent(keys::live(peer)));
      write.then.push_back(Op::put(keys::fence(peer), why));
      ++written;
    }
  }

  void on_written(Result<TxnReply> reply) {
    if (reply.ok() && reply->succeeded) return finish({});
    if (reply.ok())
      return finish(Error(Errc::kMetaConflict, "something about " + name_of(change_.node) +
                                                   " changed while it was looked at; nothing was changed"));
    if (reply.error().code != Errc::kMetaInDoubt || --attempts_ == 0) return finish(std::move(reply).error());
    in_doubt_ = true;
    start();
  }

  void finish(Result<void> result) {
    // "Certainly not applied" is no longer true of the whole once one of its writes was in doubt.
    const bool claims_nothing =
        !result.ok() && (result.error().code == Errc::kMetaUnavailable || result.error().code == Errc::kMetaConflict);
    if (in_doubt_ && claims_nothing) result.error().code = Errc::kMetaInDoubt;
    std::exchange(done_, {})(std::move(result));
  }

  Store& store_;
  const MembershipChange change_;
  const bool in_absentia_;
  const std::vector<Compare> also_;
  Callback<void> done_;
  int attempts_{kAttempts};
  bool in_doubt_{false};
};
}  // namespace

void mark_decommissioning(Store& store, MembershipChange change, Warrant warrant, Callback<void> done) {
  turn(store, change, warrant, Membership::kDecommissioning, "node_decommissioning", std::move(done));
}

void unmark_decommissioning(Store& store, MembershipChange change, Warrant warrant, Callback<void> done) {
  turn(store, change, warrant, Membership::kActive, "node_recommissioned", std::move(done));
}

void finish_decommission(Store& store, MembershipChange change, bool in_absentia, Warrant warrant,
                         Callback<void> done) {
  std::make_shared<Finish>(store, change, in_absentia, warrant, std::move(done))->start();
}

Result<void> may_finish(const FinalFacts& facts, NodeId node, bool in_absentia) {
  if (facts.membership != Membership::kDecommissioning)
    return left(name_of(node) + " is " + std::string(to_string(facts.membership)) + ", not decommissioning");
  std::vector<RangeId> named;
  for (const placement::RangeConfig& config : facts.ranges) {
    const bool undeleted = std::ranges::any_of(config.removed, [&](const auto& gone) { return gone.node == node; });
    const bool leads = config.leaseholder && config.leaseholder->node == node;
    if (config.find(node) != nullptr || leads || (undeleted && !in_absentia)) named.push_back(config.range);
  }
  if (!named.empty())
    return left(name_of(node) + " still has replicas of " + std::to_string(named.size()) + " ranges: " + list(named));
  if (facts.office && facts.office->node == node) return left(name_of(node) + " is the leader frontend");
  return in_absentia ? is_finished(facts, node) : has_drained(facts, node);
}

}  // namespace outlast::meta
