#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace outlast::sim {

/// One operation on one object, as its client saw it. Instants are places in the order of all invocations and returns.
struct Operation {
  enum class Kind : std::uint8_t {
    kRead,    ///< Value found.
    kWrite,   ///< Sets the value.
    kAppend,  ///< Adds to its end.
    kSwap,    ///< Sets the value, tells what was there: a transaction that reads and writes.
    kInsert,  ///< Sets "1" where nothing is; tells "" (done) or "1" (was there).
    kRemove,  ///< Back to nothing; tells what was there.
  };
  static constexpr std::uint64_t kNever = UINT64_MAX;
  Kind kind{Kind::kRead};
  int client{0};
  std::string argument;
  std::optional<std::string> result;  ///< Not known when the answer never came.
  std::uint64_t invoked{0};
  std::uint64_t returned{kNever};  ///< kNever: outcome unknown; it may take effect at any later time, or never.
};
std::string describe(const Operation& operation);

enum class Verdict : std::uint8_t { kLinearizable, kViolation, kTooHard };

/// Is there an order of the operations that each client could have seen on one object that starts as ""?
///
/// Algorithm: Wing and Gong's search ("Testing and verifying concurrent objects", JPDC 1993) with Lowe's memory of
/// (set of operations placed, state) pairs ("Testing for linearizability", CCPE 2017), as Horn and Kroening's
/// P-compositional checker and Porcupine arrange it: a list of calls and returns from which placed operations are
/// lifted and put back on backtracking. Objects are checked one by one, which is enough (Herlihy and Wing 1990).
/// Unknown outcomes have a call and no return: the search ends when all *returned* operations are placed.
/// `steps_max` bounds the search.
Verdict check_linearizable(std::vector<Operation> history, std::uint64_t steps_max = 2'000'000);

}  // namespace outlast::sim
