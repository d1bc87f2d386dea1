#pragma once
#include <string>

#include "base/result.h"
#include "pgtree/tree.h"

/// What the partitions of a table cannot keep, refused where it is written: in CREATE TABLE and in what changes a
/// table.
namespace outlast::fragments {

/// For sentences: the name in quotes.
std::string in_quotes(const std::string& name);
/// A PRIMARY KEY or UNIQUE of a table whose list has the partition column.
bool names_key(const PgQuery__Constraint& constraint, const std::string& key);
/// `column`: whose definition the constraint stands in; empty for a constraint of the table.
Result<void> check_constraint(const PgQuery__Constraint& constraint, const std::string& column, const std::string& key);
Result<void> check_column(const PgQuery__ColumnDef& column, const std::string& key);

}  // namespace outlast::fragments
