#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "meta/store.h"

namespace outlast::meta {

/// How long one metadata request of the typed stores may take.
inline constexpr Duration kMetaTimeout = std::chrono::seconds(5);

/// What a planner sees: the keys it asked for, those that exist.
using Snapshot = std::map<std::string, KeyValue>;
/// What to write, given what was read.
struct Plan {
  std::vector<Op> ops;            ///< Empty: nothing to do, what was wanted is already there.
  std::vector<Compare> compares;  ///< Beside "none of the keys read has changed", which is always added.
};
using Planner = std::move_only_function<Result<Plan>(const Snapshot&)>;

/// Compare-and-set with patience: reads `keys`, asks `plan` what to write, writes it if none of the keys changed
/// meanwhile, and begins again when one did or when the answer to the write was lost. So a planner must recognise its
/// own earlier success in what it reads (a value with its own id, a plain "set to this") or be harmless when repeated
/// (a counter skips a number). `compares` that fail for another reason than the keys end it with kMetaConflict.
/// Calls back on the store's loop with the planner's error, or kMetaUnavailable, kMetaConflict, kMetaInDoubt when
/// `attempts` did not suffice.
void update(Store& store, std::vector<std::string> keys, Planner plan, Callback<Revision> done, int attempts = 64);

/// For an update whose revision nobody asks for.
Callback<Revision> without_revision(Callback<void> done);

/// Deletes these keys, in as many transactions as that takes; calls back with how many they were.
void erase(Store& store, std::vector<std::string> keys, Callback<std::size_t> done);

/// Linearizable read of one key; none when absent.
void read(Store& store, std::string key, Callback<std::optional<KeyValue>> done);

}  // namespace outlast::meta
