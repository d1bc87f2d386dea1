#include "meta/fence_cleanup.h"

#include <algorithm>

#include "meta/cas.h"
#include "meta/keys.h"
#include "meta/office.h"

namespace outlast::meta {
using liveness::Peer;

namespace {
std::set<Peer> peers_in(const std::vector<KeyValue>& kvs, std::string_view prefix) {
  std::set<Peer> out;
  for (const KeyValue& kv : kvs)
    if (const auto peer = keys::parse_peer(kv.key, prefix)) out.insert(*peer);
  return out;
}

/// Incarnations with a record, standby workers left out.
std::set<Peer> live_in(const std::vector<KeyValue>& kvs) {
  std::set<Peer> out;
  for (const KeyValue& kv : kvs) {
    const auto peer = keys::parse_peer(kv.key, keys::kLive);
    const auto record = decode_live_record(kv.value);
    if (peer && record.ok() && record->phase != Phase::kStandby) out.insert(*peer);
  }
  return out;
}
}  // namespace

std::vector<Peer> finished_for_good(const std::set<Peer>& fenced, const std::set<Peer>& live,
                                    const std::vector<placement::RangeConfig>& ranges,
                                    const std::optional<Peer>& office) {
  std::set<Peer> named;
  if (office) named.insert(*office);
  for (const placement::RangeConfig& config : ranges)
    if (config.leaseholder) named.insert({config.leaseholder->node, config.leaseholder->incarnation});
  std::vector<Peer> out;
  for (const Peer& peer : fenced) {
    if (named.contains(peer)) continue;
    const bool has_successor = std::ranges::any_of(live, [&](const Peer& other) {
      return other.node == peer.node && other.incarnation > peer.incarnation && !fenced.contains(other);
    });
    if (has_successor) out.push_back(peer);
  }
  return out;
}

void FenceCleanup::run(Callback<std::size_t> done) {
  if (!office_.holds()) {
    found_.clear();
    return done(std::size_t{0});
  }
  Txn txn;  // one transaction: fences, records and ranges of one instant
  for (const std::string_view prefix : {keys::kFences, keys::kLive, keys::kRanges})
    txn.then.push_back(Op::get_prefix(std::string(prefix)));
  store_.txn(std::move(txn), kMetaTimeout,
             [this, alive = std::weak_ptr(alive_), done = std::move(done)](Result<TxnReply> reply) mutable {
               if (alive.expired()) return;
               if (!reply.ok()) return done(std::move(reply).error());
               const std::set<Peer> fenced = peers_in(reply->replies[0].kvs, keys::kFences);
               std::vector<placement::RangeConfig> ranges;
               for (const KeyValue& kv : reply->replies[2].kvs) {
                 auto config = placement::decode_range_config(kv.value);
                 if (!config.ok()) return done(std::move(config).error().within(kv.key));  // it may name anybody
                 ranges.push_back(*std::move(config));
               }
               const auto finished =
                   finished_for_good(fenced, live_in(reply->replies[1].kvs), ranges, office_.leader());
               std::vector<Peer> twice;
               for (const Peer& peer : finished)
                 if (found_.contains(peer) && twice.size() < kAtOnce) twice.push_back(peer);
               found_ = {finished.begin(), finished.end()};
               if (twice.empty()) return done(std::size_t{0});
               remove(twice, std::move(done));
             });
}

void FenceCleanup::remove(const std::vector<Peer>& finished, Callback<std::size_t> done) {
  const auto guard = office_.guard();
  if (!guard) return done(std::size_t{0});
  Txn txn;
  txn.compares.push_back(*guard);
  for (const Peer& peer : finished) {
    txn.then.push_back(Op::del(keys::fence(peer)));
    txn.then.push_back(Op::del(keys::live(peer)));  // with it: a late waker compares its record's creation
  }
  store_.txn(std::move(txn), kMetaTimeout,
             [count = finished.size(), done = std::move(done)](Result<TxnReply> reply) mutable {
               if (!reply.ok()) return done(std::move(reply).error());
               done(reply->succeeded ? count : std::size_t{0});
             });
}

}  // namespace outlast::meta
