#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "liveness/params.h"

/// Where everything lies in the metadata store: no other file spells a key.
namespace outlast::meta::keys {

inline constexpr std::string_view kCluster = "/cluster";           ///< Cluster id, once for ever.
inline constexpr std::string_view kOffice = "/office/leader";      ///< Who is the leader frontend.
inline constexpr std::string_view kNodeCounter = "/counter/node";  ///< Last node id given out.
inline constexpr std::string_view kRangeCounter = "/counter/range";
inline constexpr std::string_view kDatabaseCounter = "/counter/database";
inline constexpr std::string_view kTaskCounter = "/counter/task";

inline constexpr std::string_view kNodes = "/nodes/";               ///< + node id: node record.
inline constexpr std::string_view kLive = "/live/";                 ///< + node "/" incarnation: renewed.
inline constexpr std::string_view kFences = "/fence/";              ///< + node "/" incarnation: written once.
inline constexpr std::string_view kDrains = "/drain/";              ///< + node id: drain record.
inline constexpr std::string_view kIncarnations = "/incarnation/";  ///< + node id: last incarnation drawn.
inline constexpr std::string_view kRanges = "/r/";                  ///< + range id: range configuration.
inline constexpr std::string_view kDatabases = "/db/";              ///< + name: database record.
inline constexpr std::string_view kSettings = "/settings/";         ///< + name: value as normalised text.
inline constexpr std::string_view kEvents = "/events/";             ///< + time and writer: one event.
inline constexpr std::string_view kTasks = "/tasks/";               ///< + task id: task record.
inline constexpr std::string_view kStatuses = "/status/";           ///< + node id: what the node says of itself.
inline constexpr std::string_view kMaintenance = "/maintenance/";   ///< + node id: it is expected to be away.
inline constexpr std::string_view kPartitioned = "/partitioned/";   ///< + database id "/" table: its partitions.

inline std::string node(NodeId id) {
  return std::string(kNodes) + id.to_string();
}
inline std::string live(liveness::Peer peer) {
  return std::string(kLive) + peer.to_string();
}
inline std::string fence(liveness::Peer peer) {
  return std::string(kFences) + peer.to_string();
}
inline std::string drain(NodeId id) {
  return std::string(kDrains) + id.to_string();
}
inline std::string incarnation(NodeId id) {
  return std::string(kIncarnations) + id.to_string();
}
inline std::string range(RangeId id) {
  return std::string(kRanges) + id.to_string();
}
inline std::string database(std::string_view name) {
  return std::string(kDatabases) + std::string(name);
}
inline std::string setting(std::string_view name) {
  return std::string(kSettings) + std::string(name);
}
inline std::string task(std::uint64_t id) {
  return std::string(kTasks) + std::to_string(id);
}
inline std::string status(NodeId id) {
  return std::string(kStatuses) + id.to_string();
}
inline std::string maintenance(NodeId id) {
  return std::string(kMaintenance) + id.to_string();
}
inline std::string partitioned(DatabaseId database, std::string_view table) {
  return std::string(kPartitioned) + database.to_string() + "/" + std::string(table);
}
/// Before all fences, or liveness records, of one node.
inline std::string fences_of(NodeId id) {
  return std::string(kFences) + id.to_string() + "/";
}
inline std::string lives_of(NodeId id) {
  return std::string(kLive) + id.to_string() + "/";
}

/// What follows `prefix` in `key`; empty when it does not start with it.
inline std::string_view rest(std::string_view key, std::string_view prefix) {
  return key.starts_with(prefix) ? key.substr(prefix.size()) : std::string_view();
}
/// A decimal number above 0 and nothing else; none for anything that these functions would not have written.
std::optional<std::uint64_t> parse_number(std::string_view text);
/// The incarnation named by a key under kLive or kFences.
std::optional<liveness::Peer> parse_peer(std::string_view key, std::string_view prefix);

}  // namespace outlast::meta::keys
