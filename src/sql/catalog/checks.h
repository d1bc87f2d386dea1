#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace outlast::sql {

struct CheckConstraint {
  std::string name;
  std::string definition;  ///< "CHECK (…)", near to what PostgreSQL would show.
};

/// The CHECK constraints in a CREATE TABLE that translate() wrote, without those that stand for a column's type.
/// Thread-safety: any thread.
std::vector<CheckConstraint> check_constraints(std::string_view create_table);

}  // namespace outlast::sql
