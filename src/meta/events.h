#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/store.h"

namespace outlast::meta {

/// Something that happened to the cluster, kept for operators.
struct ClusterEvent {
  std::int64_t time_micros{0};  ///< Wall clock of the writer, for display.
  std::string type;             ///< Stable word, e.g. "create_database".
  NodeId node;                  ///< Who says so.
  boost::json::object details;  ///< Further fields of the JSON object.
};

/// The operation that stores an event, to be put into the transaction that it speaks of. Its key is new with every
/// call: call it once for one event. Events are read back in the order of their commits.
Op event_op(const ClusterEvent& event);
/// Stores one event by itself. Calls back on the loop. An answer that was lost may leave it stored.
void append_event(Store& store, const ClusterEvent& event, Callback<void> done);
/// The newest `count`, newest first. What cannot be read is left out.
void read_events(Store& store, std::size_t count, Callback<std::vector<ClusterEvent>> done);
/// Deletes all but the newest `keep`; returns how many went. For the leader frontend.
void prune_events(Store& store, std::size_t keep, Callback<std::size_t> done);

}  // namespace outlast::meta
