#pragma once
#include <deque>

#include "replication/held_replica.h"

namespace outlast::replication {

/// What the leaseholder knows of one other replica.
struct Member {
  enum class State : std::uint8_t {
    kDown,       ///< No connection, or it refused: nothing is sent.
    kProbing,    ///< Activate sent; both look for the last position that the logs share.
    kStreaming,  ///< Entries flow.
    kSnapshot,   ///< The log does not reach it: a snapshot is under way.
  };
  placement::ReplicaRef ref;
  bool voter{false};  ///< In S; else a learner.
  State state{State::kDown};
  Incarnation incarnation;                            ///< Whose acknowledgements count, from the connection.
  Lsn acked{};                                        ///< On its disk and in agreement with this log.
  bool was_up{false};                                 ///< It was connected in this leadership.
  bool activated{false};                              ///< It answered this epoch's Activate: `acked` means something.
  Lsn next{};                                         ///< First entry not sent yet.
  std::deque<std::pair<Lsn, std::size_t>> in_flight;  ///< Last LSN and bytes of each Append not acknowledged.
  std::size_t in_flight_bytes{0};
  bool reading{false};      ///< Older entries are being read from disk for it.
  Instant progress{};       ///< Last time it advanced, or had nothing to advance to.
  bool broken{false};       ///< Its disk or its history is bad: out of S as soon as allowed.
  bool low{false};          ///< Its disk has no room: out of S when allowed, else no new writes.
  std::uint64_t stream{0};  ///< Counts restarts of the stream, so that late disk reads are recognised.
};

/// The commit rule (A4.1): the highest position that every required replica has, the leaseholder's disk included.
/// A required member that never answered in this epoch holds everything back.
inline std::optional<Lsn> common_position(Lsn own_synced, const std::map<NodeId, Member>& members,
                                          const std::optional<NodeId>& promoting) {
  Lsn common = own_synced;
  for (const auto& [node, member] : members) {
    if (!member.voter && promoting != node) continue;
    if (!member.activated) return std::nullopt;
    common = std::min(common, member.acked);
  }
  return common;
}

}  // namespace outlast::replication
