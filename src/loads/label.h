#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::loads {

/// Where a load stands. kPreparing → kPrepared → kCommitted → kDone; kAborted from the first two. From kCommitted on
/// its rows are in the tables or certainly will be.
enum class State : std::uint8_t { kPreparing, kPrepared, kCommitted, kDone, kAborted };
std::string_view to_string(State state);  ///< "PREPARING" …: as stored.
std::optional<State> state_from(std::string_view text);

/// What one range holds of a load.
struct Part {
  RangeId range;
  std::int64_t batches{0}, rows{0};
  std::int64_t checksum{0};  ///< CRC-32C over all rows that were sent there.
  friend bool operator==(const Part&, const Part&) = default;
};
std::string encode(const std::vector<Part>& parts);
Result<std::vector<Part>> decode_parts(std::string_view text);

struct Counts {
  std::int64_t total{0};     ///< Rows that came.
  std::int64_t loaded{0};    ///< Rows that are in the table, or will be.
  std::int64_t filtered{0};  ///< Rows that were left out because they do not fit the table.
  std::int64_t bytes{0};     ///< As the client sent them.
  friend bool operator==(const Counts&, const Counts&) = default;
};
/// kInvalidArgument with the first reason when more than `ratio` of all rows were left out.
Result<void> check_filtered(const Counts& counts, double ratio, const std::string& first_reason);

/// One load, as it stands in the database's own range. Times are microseconds since 1970.
struct Label {
  std::string label;
  State state{State::kPreparing};
  std::int64_t txn{0};  ///< Names the load for ever; a label may be used again after kAborted, a number never.
  std::string table;
  std::vector<Part> parts;
  Counts counts;
  std::string error;
  std::string owner;  ///< "node/incarnation" of the process that works on it; empty: prepared, anybody may end it.
  std::int64_t created{0}, expires{0}, changed{0};
  bool swept{false};  ///< kAborted: no range holds anything of it any more.
};

/// What an owner, or whoever comes after it, knows besides the label.
struct Now {
  std::int64_t micros{0};
  bool owner_gone{false};
};

/// A label that is there already and somebody wants to load under it.
enum class Reuse : std::uint8_t {
  kExists,      ///< Its rows are in, or certainly will be: not once more.
  kInProgress,  ///< Somebody works on it.
  kAbortFirst,  ///< Left behind before its commit point: abort it, then it is free.
  kFree,
};
Reuse judge_reuse(const Label& label, const Now& now);

/// What a load that its owner left needs.
enum class Duty : std::uint8_t { kNone, kAbort, kApply, kSweep, kForget };
struct KeeperTimes {
  std::int64_t keep{0};                  ///< Labels of ended loads stay for so long.
  std::int64_t apply_grace{30'000'000};  ///< An owner that lives is given so long to apply what it committed.
};
Duty duty_of(const Label& label, const Now& now, const KeeperTimes& times);

}  // namespace outlast::loads
