#pragma once
#include <string>

#include "base/loop.h"

namespace outlast::fragments::test {

struct Query {
  std::string sql;
  bool ordered{false};  ///< ORDER BY all result columns: the order, and what LIMIT keeps, are decided.
};
/// A SELECT over World's tables that sql::translate() accepts.
Query random_query(Random& random);

}  // namespace outlast::fragments::test
