#pragma once
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "fragments/table.h"
#include "pgtree/tree.h"

namespace outlast::fragments {

/// The value of an expression that is the same for the whole statement and known before it runs: a literal, a parameter
/// whose value is in `parameters`, a cast of either that needs no conversion. nullopt: anything else.
std::optional<Value> constant_value(const pgtree::Node& expression, std::span<const Value> parameters);

/// True when a column reference means the table's partition column.
using IsKey = std::function<bool(const PgQuery__ColumnRef& reference)>;

/// Which of `table.partitions` (same order) may hold a row for which `condition` is true; nullptr: all. Understands =,
/// <, <=, >, >=, BETWEEN, IN, IS NULL on the partition column against constants, under AND and OR; everything else may
/// be true anywhere. Comparisons are SQLite's: the column's affinity is applied to the constant, and times compare as
/// the texts that they are stored as, so that a literal in another form prunes what SQLite's comparison excludes.
std::vector<bool> prune(const Table& table, const pgtree::Node* condition, const IsKey& is_key,
                        std::span<const Value> parameters);

/// The partitions that are left.
std::vector<Partition> chosen(const Table& table, const std::vector<bool>& keep);

}  // namespace outlast::fragments
