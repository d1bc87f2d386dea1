#pragma once
#include <memory>
#include <string>

#include "meta/databases.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "meta/mirror.h"
#include "placement/range_config.h"

namespace outlast::meta {

// The mirrors of the typed records. Keys are those of meta/keys.h.

using NodeMirror = Mirror<NodeRecord>;
using RangeMirror = Mirror<placement::RangeConfig>;
using DatabaseMirror = Mirror<DatabaseRecord>;
using FenceMirror = Mirror<liveness::Peer>;  ///< The value is the incarnation that is finished.

inline std::unique_ptr<NodeMirror> mirror_nodes(Store& store) {
  return std::make_unique<NodeMirror>(store, std::string(keys::kNodes), [](std::string_view, std::string_view value) {
    return decode_node_record(value);
  });
}
inline std::unique_ptr<RangeMirror> mirror_ranges(Store& store) {
  return std::make_unique<RangeMirror>(store, std::string(keys::kRanges), [](std::string_view, std::string_view value) {
    return placement::decode_range_config(value);
  });
}
inline std::unique_ptr<DatabaseMirror> mirror_databases(Store& store) {
  return std::make_unique<DatabaseMirror>(
      store, std::string(keys::kDatabases),
      [](std::string_view, std::string_view value) { return decode_database_record(value); });
}
/// Presence alone counts; who fenced and why is for people.
inline std::unique_ptr<FenceMirror> mirror_fences(Store& store) {
  return std::make_unique<FenceMirror>(store, std::string(keys::kFences),
                                       [](std::string_view key, std::string_view) -> Result<liveness::Peer> {
                                         if (const auto peer = keys::parse_peer(key, keys::kFences)) return *peer;
                                         return Error(Errc::kCorrupt, "the fence's key names no incarnation");
                                       });
}

}  // namespace outlast::meta
