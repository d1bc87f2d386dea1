#pragma once
#include <span>
#include <string_view>

namespace outlast::sql {

/// A relation of pg_catalog: its name and its columns, separated by blanks.
struct CatalogTable {
  std::string_view name, columns;
};
std::span<const CatalogTable> catalog_tables();
std::span<const CatalogTable> information_tables();

}  // namespace outlast::sql
