#include <array>

#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

/// Functions over the catalog: emitted as they are named here, answered by the catalog's connection.
struct CatalogFunction {
  std::string_view name;
  std::size_t min, max;
  /// "%1" is the first argument, and so on.
  std::string_view sql;
  Oid result;
};
constexpr std::array kFunctions = {
    CatalogFunction{"pg_get_userbyid", 1, 1, "outlast_user()", oid::kName},
    CatalogFunction{"pg_table_is_visible", 1, 1, "(%1 IS NOT NULL)", oid::kBool},
    CatalogFunction{"pg_type_is_visible", 1, 1, "(%1 IS NOT NULL)", oid::kBool},
    CatalogFunction{"pg_function_is_visible", 1, 1, "(%1 IS NOT NULL)", oid::kBool},
    CatalogFunction{"pg_relation_is_publishable", 1, 1, "(%1 IS NULL)", oid::kBool},
    CatalogFunction{"pg_get_expr", 2, 3, "%1", oid::kText},
    CatalogFunction{"pg_get_indexdef", 1, 3,
                    "(SELECT indexdef FROM pg_catalog.outlast_definition WHERE outlast_oid = %1)", oid::kText},
    CatalogFunction{"pg_get_constraintdef", 1, 2,
                    "(SELECT indexdef FROM pg_catalog.outlast_definition WHERE outlast_oid = %1)", oid::kText},
    CatalogFunction{"pg_get_viewdef", 1, 2,
                    "(SELECT indexdef FROM pg_catalog.outlast_definition WHERE outlast_oid = %1)", oid::kText},
    CatalogFunction{"pg_get_statisticsobjdef_columns", 1, 1, "NULL", oid::kText},
    CatalogFunction{"pg_get_function_result", 1, 1, "NULL", oid::kText},
    CatalogFunction{"pg_get_function_arguments", 1, 1, "NULL", oid::kText},
    CatalogFunction{"pg_get_triggerdef", 1, 2, "NULL", oid::kText},
    CatalogFunction{"pg_get_ruledef", 1, 2, "NULL", oid::kText},
    CatalogFunction{"pg_get_serial_sequence", 2, 2, "NULL", oid::kText},
    CatalogFunction{"pg_partition_ancestors", 1, 1, "NULL", oid::kOid},
    CatalogFunction{"pg_encoding_to_char", 1, 1, "'UTF8'", oid::kName},
    CatalogFunction{"format_type", 2, 2, "format_type(%1, %2)", oid::kText},
    CatalogFunction{"obj_description", 1, 2, "NULL", oid::kText},
    CatalogFunction{"col_description", 2, 2, "NULL", oid::kText},
    CatalogFunction{"shobj_description", 2, 2, "NULL", oid::kText},
    CatalogFunction{"pg_table_size", 1, 1, "0", oid::kInt8},
    CatalogFunction{"pg_relation_size", 1, 2, "0", oid::kInt8},
    CatalogFunction{"pg_total_relation_size", 1, 1, "0", oid::kInt8},
    CatalogFunction{"pg_database_size", 1, 1, "0", oid::kInt8},
    CatalogFunction{"pg_tablespace_location", 1, 1, "''", oid::kText},
    CatalogFunction{"pg_size_pretty", 1, 1, "(%1 || ' bytes')", oid::kText},
    CatalogFunction{"has_database_privilege", 2, 3, "1", oid::kBool},
    CatalogFunction{"has_table_privilege", 2, 3, "1", oid::kBool},
    CatalogFunction{"has_schema_privilege", 2, 3, "1", oid::kBool},
    CatalogFunction{"array_to_string", 2, 3, "pg_array_to_string(%1, %2)", oid::kText},
    CatalogFunction{"array_position", 2, 2, "pg_array_position(%1, %2)", oid::kInt4},
    CatalogFunction{"array_upper", 2, 2, "pg_array_length(%1)", oid::kInt4},
    CatalogFunction{"array_length", 2, 2, "pg_array_length(%1)", oid::kInt4},
    CatalogFunction{"current_schemas", 1, 1, "(CASE WHEN %1 THEN '{pg_catalog,public}' ELSE '{public}' END)", 0},
    CatalogFunction{"quote_ident", 1, 1, "%1", oid::kText},
    CatalogFunction{"to_regclass", 1, 1,
                    "(SELECT outlast_oid FROM pg_catalog.outlast_relation WHERE outlast_name = %1)", oid::kRegclass},
};

}  // namespace

Expression Translator::catalog_function(const PgQuery__FuncCall& call, const std::string& name,
                                        std::vector<Expression>& args, bool& known) {
  known = false;
  for (const CatalogFunction& f : kFunctions) {
    if (f.name != name || args.size() < f.min || args.size() > f.max) continue;
    known = reads_catalog_ = true;
    if (in_ddl_expression_)
      refuse(Errc::kUndefinedFunction, "function " + name + " cannot be used in a definition", call.location);
    std::string sql;
    for (std::size_t i = 0; i < f.sql.size(); ++i) {
      if (f.sql[i] != '%')
        sql += f.sql[i];
      else
        sql += args[static_cast<std::size_t>(f.sql[++i] - '1')].sql;
    }
    return {.sql = std::move(sql), .type = f.result};
  }
  return {};
}

}  // namespace outlast::sql
