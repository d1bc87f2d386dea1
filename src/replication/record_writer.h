#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/loop.h"
#include "meta/keys.h"
#include "meta/store.h"
#include "placement/range_config.h"
#include "replication/parameters.h"

namespace outlast::replication {

struct RangeRecord {
  placement::RangeConfig config;
  Revision revision;  ///< mod_revision of the key.
};

/// Changes range records by compare-and-swap (protocol A3). Every change compares the record's revision and the absence
/// of this incarnation's fence. An answer that was lost is asked for again by sending the very same transaction until
/// the store says which: applied (the record is ours) or lost; until then the callback waits.
/// Changes of different ranges asked for at one instant share a metadata transaction (record_batch.h): at most
/// Parameters::changes_per_batch, half as many whenever the store refuses that as too much. At most
/// Parameters::batches_at_once are under way; the rest queue.
/// Thread-safety: loop only.
class RecordWriter {
 public:
  RecordWriter(Loop& loop, meta::Store& store, Identity self, const Parameters& parameters, PlantedBugs bugs = {});
  ~RecordWriter();

  /// The new revision. kMetaConflict: certainly not applied, somebody was faster or a precondition is gone.
  /// kMetaUnavailable: certainly not applied.
  void change(placement::RangeConfig next, Revision seen, std::vector<meta::Compare> also, Callback<Revision> done);
  /// Linearizable. None when the range was dropped; kInvalidState when its id was never given out: then the metadata
  /// lost its state, and a range without a record is not a dropped one.
  void read(RangeId range, Callback<std::optional<RangeRecord>> done);

 private:
  struct Change;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace outlast::replication
