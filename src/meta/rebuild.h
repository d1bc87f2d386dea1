#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "meta/store.h"
#include "placement/range_config.h"

namespace outlast::meta {

/// What one replica's log says about its range (protocol A1: every replica logs each configuration that it accepts).
struct FoundReplica {
  RangeId range;
  placement::ReplicaRef replica;
  std::optional<placement::RangeConfig> accepted;  ///< None: it accepted none yet, or cannot be read.
  std::string trouble;                             ///< Why it cannot be read.
};
struct FoundStore {
  std::string cluster, uuid;  ///< The cluster is empty for a live node.
  NodeId node;
  Incarnation incarnation;  ///< The last one that was used with it.
};
/// Gathered from live nodes or from stopped stores.
struct Findings {
  std::vector<FoundStore> stores;
  std::vector<FoundReplica> replicas;
};

/// What the metadata store has of that.
struct MetaImage {
  struct Record {
    std::optional<placement::RangeConfig> config;  ///< None: unreadable.
    Revision revision;
  };
  std::string cluster;  ///< Empty: there is no cluster record.
  std::map<RangeId, Record> ranges;
  std::map<RangeId, std::string> database_of;
  std::set<std::string> names;                        ///< Of databases.
  std::map<std::string, std::uint64_t> counters;      ///< By key; those that exist.
  std::uint64_t counter(std::string_view key) const;  ///< 0 when absent.
};
/// Linearizable. Calls back on the store's loop.
void read_image(Store& store, Callback<MetaImage> done);

struct RebuildLine {
  enum class Action : std::uint8_t { kKeep, kWrite, kRefuse };
  RangeId range;
  std::string database;      ///< Its name; for a database whose record is lost the one that it gets.
  bool new_database{false};  ///< A database record is written too.
  std::optional<placement::RangeConfig> record, found;
  NodeId found_on;
  Action action{Action::kKeep};
  std::string why;
  placement::RangeConfig next;  ///< kWrite.
  Revision seen;                ///< Of the record; 0 = absent.
  std::string outcome;          ///< After carry_out: "written", or why not.
};
std::string_view to_string(RebuildLine::Action action);
struct RebuildPlan {
  std::vector<RebuildLine> lines;                 ///< By range.
  std::map<std::string, std::uint64_t> counters;  ///< Key and the value that it must have at least.
  std::string cluster;                            ///< To be written; empty when it is there.
  bool writes() const;
};

/// Compares what was found with what is stored (protocol A4, "metadata restored from an old copy"):
/// - the highest configuration found wins over an older record, an unreadable or a missing one;
/// - it is certain to be the highest only when every in-sync replica that it names was heard: else the range is
///   refused, unless `allow_missing` says to go on (then the record is marked as not clean);
/// - a range without a record whose id had been given out was dropped before the metadata was copied: left alone;
/// - counters (ids, incarnations) are raised above everything seen, so that nothing is ever given out twice.
/// Pure. kWrongCluster when stores and metadata belong to different clusters.
Result<RebuildPlan> plan_rebuild(const MetaImage& image, const Findings& found, bool allow_missing);

/// Writes counters first, then each line by compare-and-swap with an event. Calls back on the loop with the outcome in
/// every line; an error means that nothing beyond the counters was tried. May be repeated: the plan is then empty.
void carry_out(Store& store, RebuildPlan plan, NodeId by, std::int64_t wall_micros, Callback<RebuildPlan> done);

}  // namespace outlast::meta
