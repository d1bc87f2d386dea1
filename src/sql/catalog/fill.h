#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sql/catalog/catalog.h"

namespace outlast::sql {

struct CatalogNames {
  std::string user, database;
};
/// One row for one relation of the catalog; columns that are not named stay NULL.
struct CatalogRow {
  std::string_view schema, table;
  std::vector<std::pair<std::string_view, executor::Value>> values;
};
/// Everything the catalog says of a database. Pure. Outlast's own tables, constraints and triggers are left out.
std::vector<CatalogRow> catalog_rows(const SchemaSnapshot& schema, const CatalogNames& names,
                                     const std::vector<gateway::DatabaseRow>& databases);

}  // namespace outlast::sql
