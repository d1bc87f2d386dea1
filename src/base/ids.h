#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace outlast {

/// A number that means one thing only: a NodeId does not turn into a RangeId by accident.
template <class Tag, class Rep = std::uint64_t>
struct StrongId {
  using rep = Rep;
  Rep value{0};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  constexpr explicit operator bool() const { return value != 0; }  ///< 0 is "none" for every id.
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
  constexpr StrongId next() const { return StrongId(value + 1); }
  std::string to_string() const { return std::to_string(value); }
};

using NodeId = StrongId<struct NodeIdTag, std::uint32_t>;
using RangeId = StrongId<struct RangeIdTag>;  ///< Never reused (protocol A1).
using DatabaseId = StrongId<struct DatabaseIdTag>;
using ReplicaId = StrongId<struct ReplicaIdTag>;      ///< Unique within its range, drawn from the range record.
using Incarnation = StrongId<struct IncarnationTag>;  ///< One worker process of one node.
using Epoch = StrongId<struct EpochTag>;              ///< One leadership of one range.
using ConfigVersion = StrongId<struct ConfigVersionTag>;
using Lsn = StrongId<struct LsnTag>;            ///< Position in a range's log; 0 is the empty template.
using Revision = StrongId<struct RevisionTag>;  ///< Metadata revision; 0 is "absent".

}  // namespace outlast

template <class Tag, class Rep>
struct std::hash<outlast::StrongId<Tag, Rep>> {
  std::size_t operator()(outlast::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
