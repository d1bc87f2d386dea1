#pragma once
#include <cstdint>

#include "lifecycle/work.h"

namespace outlast::lifecycle {

/// How the work of one process ended, by kind: printed and kept when it leaves service. A value, read from a Gate at
/// one instant. While the gate is busy `admitted` may be ahead of the rest, never behind.
struct Ledger {
  struct Line {
    std::uint64_t admitted{0};
    std::array<std::uint64_t, kOutcomes> ended{};  ///< Indexed by Outcome.
    std::uint64_t refused{0};
    std::uint64_t total_ended() const {
      std::uint64_t sum = 0;
      for (const std::uint64_t n : ended) sum += n;
      return sum;
    }
    std::uint64_t open() const { return admitted - total_ended(); }
    std::uint64_t of(Outcome outcome) const { return ended[static_cast<std::size_t>(outcome)]; }
    friend bool operator==(const Line&, const Line&) = default;
  };
  std::array<Line, kWorkKinds> lines{};  ///< Indexed by WorkKind.

  const Line& of(WorkKind kind) const { return lines[static_cast<std::size_t>(kind)]; }
  /// What happened between two readings of the same gate: `*this` is the later one.
  Ledger since(const Ledger& earlier) const;
  friend bool operator==(const Ledger&, const Ledger&) = default;
};

}  // namespace outlast::lifecycle
