#include "tests/sim/oracle.h"

#include <algorithm>

#include "meta/keys.h"
#include "storage/log_format.h"

namespace outlast::sim {
namespace {
std::string text(const LogPosition& at) {
  return "LSN " + at.lsn.to_string() + " of epoch " + at.epoch.to_string();
}
}  // namespace

void Oracle::fail(const std::string& what) {
  if (violation_.empty()) violation_ = what;
  world_.trace("VIOLATION " + what);
  world_.note(what);
  world_.stop = true;
}

const placement::RangeConfig* Oracle::record(RangeId range) const {
  const auto it = records_.find(range);
  return it == records_.end() ? nullptr : &it->second;
}

Lsn Oracle::committed_end(RangeId range) const {
  const auto it = committed_.find(range);
  return it == committed_.end() || it->second.empty() ? Lsn() : it->second.rbegin()->first;
}

void Oracle::on_append(RangeId range, const storage::LogEntry& entry) {
  const auto [it, fresh] = entries_.emplace(std::tuple(range, entry.at.lsn, entry.at.epoch), entry.at);
  if (!fresh && it->second.checksum != entry.at.checksum) fail("I1: two entries at " + text(entry.at));
  const auto outcome = storage::request_of(entry.payload);
  if (!outcome.ok() || outcome->gateway == 0) return;
  std::vector<LogPosition>& places = requests_[outcome->sequence];
  if (std::ranges::find(places, entry.at) == places.end()) places.push_back(entry.at);
  if (denied_.contains(outcome->sequence)) suspects_[{range, outcome->sequence}] = entry.at;
}

void Oracle::on_not_applied(RangeId range, std::uint64_t request) {
  denied_.insert(request);
  for (const LogPosition& at : requests_[request]) suspects_[{range, request}] = at;
  check_denied(range);
}

/// By what was noted, or by a member that has all that is committed.
bool Oracle::is_committed(RangeId range, const LogPosition& at) const {
  const auto found = committed_.find(range);
  if (found == committed_.end() || found->second.empty() || found->second.rbegin()->first < at.lsn) return false;
  if (const auto noted = found->second.find(at.lsn); noted != found->second.end()) return noted->second == at;
  const LogPosition top = found->second.rbegin()->second;
  const placement::RangeConfig* config = record(range);
  if (config == nullptr) return false;
  for (const placement::ReplicaRef& ref : config->insync) {
    const DiskShadow* disk = disk_of_(ref.node);
    if (disk == nullptr || !disk->ranges.contains(range)) continue;
    const Shadow& mine = disk->ranges.at(range);
    if (mine.damaged || mine.at(top.lsn) != top || mine.start.lsn >= at.lsn) continue;
    return mine.at(at.lsn) == at;
  }
  return false;
}

void Oracle::check_denied(RangeId range) {
  for (const auto& [who, at] : suspects_)
    if (who.first == range && is_committed(range, at))
      return fail("I8: request " + std::to_string(who.second) + " was said not to be applied and is committed at " +
                  text(at));
}

void Oracle::on_record(const meta::KeyValue& kv) {
  world_.trace(kv.value);
  const auto decoded = placement::decode_range_config(kv.value);
  if (!decoded.ok()) return fail("a range record cannot be read: " + kv.value);
  const placement::RangeConfig& config = *decoded;
  if (static_cast<int>(config.insync.size()) < config.min_insync) fail("I5: S below min_insync: " + kv.value);
  records_[config.range] = config;
  for (const placement::ReplicaRef& ref : config.insync) check_member(config.range, ref, "after a change of S");
}

void Oracle::on_lease(RangeId range, Epoch epoch, NodeId node, Incarnation incarnation) {
  world_.trace("node " + node.to_string() + "/" + incarnation.to_string() + " serves range " + range.to_string() +
               " in epoch " + epoch.to_string());
  const auto [it, fresh] = leases_.emplace(std::pair(range, epoch), std::pair(node, incarnation));
  if (!fresh && it->second != std::pair(node, incarnation))
    fail("I3: two incarnations lead range " + range.to_string() + " in epoch " + epoch.to_string());
}

void Oracle::note_committed(RangeId range, const LogPosition& at, const std::string& what) {
  if (at.lsn.value == 0) return;
  const auto [it, fresh] = committed_[range].emplace(at.lsn, at);
  if (!fresh && it->second != at)
    fail("I2: " + what + " at " + text(at) + ", where " + text(it->second) + " was committed before");
  if (fresh && !suspects_.empty()) check_denied(range);
}

void Oracle::on_acknowledged(RangeId range, Lsn lsn, Epoch epoch) {
  if (lsn.value == 0) return;
  const auto entry = entries_.find(std::tuple(range, lsn, epoch));
  if (entry == entries_.end()) return;  // a read of an older epoch's end: its position is checked with the beliefs
  note_committed(range, entry->second, "an answer was given that depends on the entry");
  if (violation_.empty()) check_members();
}

void Oracle::on_belief(NodeId node, const DiskShadow& disk, const replication::RangeStats& stats) {
  const auto files = disk.ranges.find(stats.range);
  if (files == disk.ranges.end() || files->second.damaged) return;
  if (const auto at = files->second.at(stats.durable))
    note_committed(stats.range, *at, "node " + node.to_string() + " takes the entry for durable");
}

void Oracle::on_apply(NodeId node, RangeId range, const LogPosition& upto) {
  if (upto.lsn.value == 0) return;
  const auto& committed = committed_[range];
  const auto it = committed.find(upto.lsn);
  if (it != committed.end() && it->second == upto) return;
  const std::string who = "I6: node " + node.to_string() + " writes pages of " + text(upto) + " to its database file, ";
  if (it != committed.end()) return fail(who + "where " + text(it->second) + " was committed");
  if (committed.empty() || upto.lsn > committed.rbegin()->first) {
    // A new leaseholder opens its database in the very step in which it learns that all of S' has its log.
    const placement::RangeConfig* config = record(range);
    for (const placement::ReplicaRef& ref : config == nullptr ? std::vector<placement::ReplicaRef>() : config->insync) {
      const DiskShadow* disk = disk_of_(ref.node);
      const auto files = disk == nullptr ? std::map<RangeId, Shadow>::const_iterator() : disk->ranges.find(range);
      if (disk == nullptr || files == disk->ranges.end()) return fail(who + "which a member of S does not hold");
      const auto at = files->second.at(upto.lsn);
      if (files->second.damaged || files->second.start.lsn >= upto.lsn) continue;
      if (!at || *at != upto || files->second.synced_end().lsn < upto.lsn)
        return fail(who + "which node " + ref.node.to_string() + ", a member of S, has not on its disk");
    }
  }
}

void Oracle::check_members() {
  for (const auto& [range, config] : records_)
    for (const placement::ReplicaRef& ref : config.insync) check_member(range, ref, "at rest");
}

void Oracle::check_member(RangeId range, const placement::ReplicaRef& ref, const char* when) {
  const auto found = committed_.find(range);
  if (found == committed_.end() || found->second.empty()) return;
  const LogPosition top = found->second.rbegin()->second;
  const DiskShadow* disk = disk_of_(ref.node);
  if (disk == nullptr) return;  // the disk was destroyed: no promise covers that
  const std::string who = "member " + ref.node.to_string() + " of range " + range.to_string() + " (" + when + ")";
  const auto files = disk->ranges.find(range);
  const auto wiped = disk->wiped.find(range);
  const bool was_wiped = wiped != disk->wiped.end() && wiped->second == ref.replica;
  if (files == disk->ranges.end()) return was_wiped ? void() : fail("I7: " + who + " has no replica on its disk");
  if (was_wiped) return fail("I7: " + who + " was wiped and keeps its replica id");
  const Shadow& mine = files->second;
  if (mine.damaged) return;
  if (mine.identity.replica != ref.replica || mine.identity.store_uuid != ref.store_uuid)
    return fail("I7: " + who + " is another replica than its disk holds");
  if (mine.start.lsn >= top.lsn) return;
  const auto at = mine.at(top.lsn);
  if (!at || mine.synced_end().lsn < top.lsn || *at != top)
    fail("I2: " + who + " lacks the committed " + text(top) + "; its disk holds " + text(mine.synced_end()));
}

}  // namespace outlast::sim
