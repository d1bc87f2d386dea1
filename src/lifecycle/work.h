#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace outlast::lifecycle {

/// Everything that a node admits and has to account for when it leaves service (docs/glossary.md, "work").
enum class WorkKind : std::uint8_t {
  kConnection,   ///< A client's SQL connection, from its acceptance to its end.
  kTransaction,  ///< BEGIN…COMMIT, or one statement outside of it, at its gateway.
  kStatement,    ///< A request that runs on a range led here, for a gateway here or elsewhere.
  kFragment,     ///< Part of a statement run here for a gateway elsewhere.
  kLoad,         ///< One ingest batch or stream load.
  kJob,          ///< A step of a task.
};
inline constexpr std::size_t kWorkKinds = 6;
inline constexpr std::array<WorkKind, kWorkKinds> kAllWork = {WorkKind::kConnection, WorkKind::kTransaction,
                                                              WorkKind::kStatement,  WorkKind::kFragment,
                                                              WorkKind::kLoad,       WorkKind::kJob};

/// How admitted work ended. Exactly one of them counts for every ticket; kUnknown is never dressed as another.
enum class Outcome : std::uint8_t { kDone, kFailed, kCancelled, kUnknown };
inline constexpr std::size_t kOutcomes = 4;
inline constexpr std::array<Outcome, kOutcomes> kAllOutcomes = {Outcome::kDone, Outcome::kFailed, Outcome::kCancelled,
                                                                Outcome::kUnknown};

/// Stable words for logs, JSON and metrics.
std::string_view to_string(WorkKind kind);
std::string_view to_string(Outcome outcome);

/// A set of kinds.
class WorkSet {
 public:
  constexpr WorkSet() = default;
  template <class... Kinds>
  constexpr explicit WorkSet(Kinds... kinds) : bits_(static_cast<std::uint8_t>((0U | ... | bit(kinds)))) {}
  constexpr bool contains(WorkKind kind) const { return (bits_ & bit(kind)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(WorkSet, WorkSet) = default;

 private:
  static constexpr unsigned bit(WorkKind kind) { return 1U << static_cast<unsigned>(kind); }
  std::uint8_t bits_{0};
};

}  // namespace outlast::lifecycle
