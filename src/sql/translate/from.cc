#include <algorithm>

#include "sql/translate/translator.h"

namespace outlast::sql {

void Translator::add_source(Source source) {
  for (const Source& other : scopes_.back().sources)
    if (other.name == source.name)
      refuse(Errc::kSyntax, "table name \"" + source.name + "\" specified more than once; give it an alias");
  scopes_.back().sources.push_back(std::move(source));
}

std::string Translator::from_list(std::span<Node* const> items) {
  std::vector<std::string> parts;
  for (const Node* item : items) {
    std::string sql = from_item(item, items.size() > 1);
    if (!sql.empty()) parts.push_back(std::move(sql));
  }
  return parts.empty() ? "(SELECT 1)" : join_list(parts, ", ");
}

std::string Translator::from_item(const Node* item, bool among_others) {
  switch (item->node_case) {
    case PG_NODE(RANGE_VAR):
      return range_var(*item->range_var);
    case PG_NODE(RANGE_SUBSELECT):
      return range_subselect(*item->range_subselect);
    case PG_NODE(RANGE_FUNCTION):
      return range_function(*item->range_function);
    case PG_NODE(JOIN_EXPR): {
      const std::string sql = join(*item->join_expr);
      const auto type = item->join_expr->jointype;
      const bool outer = type == PG_QUERY__JOIN_TYPE__JOIN_RIGHT || type == PG_QUERY__JOIN_TYPE__JOIN_FULL;
      return among_others && outer ? "(" + sql + ")" : sql;
    }
    default:
      refuse_node(item, "FROM");
      return "";
  }
}

/// "main" holds a user's tables, wherever the statement runs; the catalog's schemas keep their names.
std::string Translator::table_name(const PgQuery__RangeVar& table, bool may_be_catalog) {
  only(table, {"schemaname", "relname", "inh", "relpersistence", "alias"});
  const std::string schema = table.schemaname, name = table.relname;
  if (table.relpersistence[0] == 't')
    refuse(Errc::kUndefinedObject, "temporary tables are not supported; create an ordinary one", table.location);
  const bool information = schema == "information_schema";
  const bool catalog = schema == "pg_catalog" || (schema.empty() && is_catalog_table(name));
  if (information || catalog) {
    if (!may_be_catalog) {
      refuse(Errc::kInsufficientPrivilege, "permission denied: \"" + name + "\" is a system catalog", table.location);
    } else if (information ? !is_information_table(name) : !is_catalog_table(name)) {
      refuse(Errc::kUndefinedTable, "relation \"" + (schema.empty() ? name : schema + "." + name) + "\" does not exist",
             table.location);
    }
    reads_catalog_ = true;
    return quote_name(information ? "information_schema" : "pg_catalog") + "." + quote_name(name);
  }
  if (!schema.empty() && schema != "public")
    refuse(Errc::kUndefinedTable, "schema \"" + schema + "\" does not exist; Outlast has only \"public\"",
           table.location);
  check_object_name(name, table.location);
  reads_user_ = true;
  return quote_name(name);
}

std::string Translator::range_var(const PgQuery__RangeVar& table) {
  Source source{.name = table.relname};
  std::string sql;
  const Source* cte = nullptr;
  if (*table.schemaname == 0)
    for (auto level = ctes_.rbegin(); level != ctes_.rend() && cte == nullptr; ++level)
      for (const Source& candidate : *level)
        if (candidate.name == table.relname) cte = &candidate;
  if (cte != nullptr) {
    source.columns_known = cte->columns_known;
    source.columns = cte->columns, source.column_names = cte->column_names;
    sql = quote_name(table.relname);
  } else {
    sql = table_name(table, true);
  }
  if (!table.inh) refuse(Errc::kSyntax, "ONLY is not supported: tables have no children", table.location);
  if (table.alias != nullptr) {
    if (table.alias->n_colnames > 0)
      refuse(Errc::kSyntax, "column aliases of a table are not supported; use AS in the SELECT list", table.location);
    source.name = table.alias->aliasname;
    sql += " AS " + quote_name(source.name);
  }
  add_source(std::move(source));
  return sql;
}

std::string Translator::range_subselect(const PgQuery__RangeSubselect& sub) {
  only(sub, {"lateral", "subquery", "alias"});
  if (sub.alias == nullptr) {
    refuse(Errc::kSyntax, "subquery in FROM must have an alias");
    return "";
  }
  Source source{.name = sub.alias->aliasname};
  const auto names = tree::strings(PG_LIST(sub.alias, colnames));
  const auto& stmt = *sub.subquery;
  if (sub.lateral) {
    // Only LATERAL (SELECT expressions) without FROM: its columns are written out where they are used.
    const bool simple = stmt.node_case == PG_NODE(SELECT_STMT) && stmt.select_stmt->n_from_clause == 0 &&
                        stmt.select_stmt->n_target_list > 0 && stmt.select_stmt->where_clause == nullptr &&
                        stmt.select_stmt->n_group_clause == 0 && stmt.select_stmt->limit_count == nullptr &&
                        stmt.select_stmt->limit_offset == nullptr && stmt.select_stmt->having_clause == nullptr &&
                        stmt.select_stmt->with_clause == nullptr;
    if (!simple) {
      refuse(Errc::kSyntax, "LATERAL with FROM is not supported; use a join or a subquery in the SELECT list");
      return "";
    }
    Selected body;
    target_list(PG_LIST(stmt.select_stmt, target_list), body);
    source.inlined = source.columns_known = true;
    source.columns = body.columns, source.column_names = body.names;
    for (std::size_t i = 0; i < names.size() && i < source.column_names.size(); ++i) source.column_names[i] = names[i];
    add_source(std::move(source));
    return "";
  }
  // Names of this FROM list are not visible inside (no LATERAL): SQLite agrees.
  std::vector<Scope> outer = std::move(scopes_);
  scopes_.assign(outer.begin(), outer.end() - 1);
  Selected body = query(sub.subquery);
  scopes_ = std::move(outer);
  source.columns_known = body.columns_known;
  source.columns = body.columns, source.column_names = body.names;
  std::string sql = "(" + body.sql + ")";
  if (!names.empty() || stmt.select_stmt->n_values_lists > 0) {
    std::vector<std::string> quoted;
    for (std::size_t i = 0; i < names.size() && i < source.column_names.size(); ++i) source.column_names[i] = names[i];
    for (const auto& name : body.columns_known ? source.column_names : names) quoted.push_back(quote_name(name));
    sql = "(WITH \"pg_sub\"(" + join_list(quoted, ", ") + ") AS (" + body.sql + ") SELECT * FROM \"pg_sub\")";
  }
  sql += " AS " + quote_name(source.name);
  add_source(std::move(source));
  return sql;
}

std::string Translator::range_function(const PgQuery__RangeFunction& function) {
  only(function, {"lateral", "functions", "alias", "ordinality"});
  const Node* first = function.n_functions == 1 ? function.functions[0] : nullptr;
  const bool call = first != nullptr && first->node_case == PG_NODE(LIST) && first->list->n_items > 0 &&
                    first->list->items[0]->node_case == PG_NODE(FUNC_CALL);
  if (!call) {
    refuse(Errc::kUndefinedFunction, "this function in FROM is not supported; use generate_series or unnest");
    return "";
  }
  const auto& f = *first->list->items[0]->func_call;
  only(f, {"funcname", "args", "funcformat"});
  const std::string name = tree::strings(PG_LIST(&f, funcname)).back();
  Source source{.name = function.alias != nullptr ? function.alias->aliasname : name, .columns_known = true};
  const auto names =
      function.alias != nullptr ? tree::strings(PG_LIST(function.alias, colnames)) : std::vector<std::string>();
  const std::string column = names.empty() ? source.name : names[0];
  std::string sql;
  if (name == "pg_partition_ancestors" && reads_catalog_) {  // tables have no partitions: no rows
    std::vector<std::string> columns;
    for (const auto& each : names) columns.push_back("NULL AS " + quote_name(each));
    if (columns.empty()) columns.push_back("NULL AS " + quote_name(name));
    add_source({.name = source.name});
    return "(SELECT " + join_list(columns, ", ") + " WHERE 0) AS " + quote_name(source.name);
  }
  if (function.ordinality) refuse(Errc::kSyntax, "WITH ORDINALITY is not supported; use row_number()");
  if (name == "generate_series" && (f.n_args == 2 || f.n_args == 3)) {
    sql = generate_series(f, column, source);
  } else if (name == "unnest" && f.n_args == 1) {
    std::string array;
    if (f.args[0]->node_case == PG_NODE(A_ARRAY_EXPR)) {
      auto items = exprs(PG_LIST(f.args[0]->a_array_expr, elements));
      unify_all(items);
      std::vector<std::string> rows;
      for (const Expression& e : items) rows.push_back("(" + e.sql + ")");
      source.columns = {{.type = items.empty() ? 0 : items[0].type}};
      if (rows.empty()) refuse(Errc::kSyntax, "cannot determine type of empty array", f.location);
      sql = "(WITH \"pg_sub\"(" + quote_name(column) + ") AS (VALUES " + join_list(rows, ", ") +
            ") SELECT * FROM \"pg_sub\")";
    } else {
      sql = "(SELECT value AS " + quote_name(column) + " FROM json_each(pg_array_json(" + expr(f.args[0]).sql + ")))";
      source.columns = {{.type = oid::kText}};
    }
  } else {
    refuse(Errc::kUndefinedFunction, "function " + name + " in FROM does not exist in Outlast", f.location);
    return "";
  }
  source.column_names = {column};
  sql += " AS " + quote_name(source.name);
  add_source(std::move(source));
  return sql;
}

std::string Translator::generate_series(const PgQuery__FuncCall& call, const std::string& column, Source& source) {
  auto args = exprs(PG_LIST(&call, args));
  Oid type = oid::kInt4;
  for (Expression& e : args) {
    if (e.type != 0 && !is_integer(e.type) && e.type != oid::kUnknown && e.type != kSomeNumber)
      refuse(Errc::kUndefinedFunction, "generate_series is supported for integers only", call.location);
    set_parameter(e, oid::kInt8);
    e = coerce_literal(std::move(e), oid::kInt4, call.location);
    if (e.type != oid::kInt4) type = oid::kInt8;
  }
  source.columns = {{.type = type}};
  const std::string step = args.size() > 2 ? "pg_step(" + args[2].sql + ")" : "1";
  const std::string more = "CASE WHEN s > 0 THEN v + s <= e ELSE v + s >= e END";
  return "(WITH RECURSIVE \"pg_series\"(v, e, s) AS (SELECT * FROM (SELECT pg_int8(" + args[0].sql +
         ") AS v, pg_int8(" + args[1].sql + ") AS e, " + step +
         " AS s) WHERE CASE WHEN s > 0 THEN v <= e ELSE v >= e END UNION ALL SELECT v + s, e, s FROM \"pg_series\" "
         "WHERE " +
         more + ") SELECT v AS " + quote_name(column) + " FROM \"pg_series\")";
}

std::string Translator::join(const PgQuery__JoinExpr& join) {
  only(join, {"jointype", "is_natural", "larg", "rarg", "using_clause", "quals", "rtindex"});
  std::string left = from_item(join.larg, false);
  const std::size_t before = scopes_.back().sources.size();
  std::string right = from_item(join.rarg, false);
  if (join.rarg->node_case == PG_NODE(JOIN_EXPR)) right = "(" + right + ")";
  std::string on;
  if (join.n_using_clause > 0) {
    std::vector<std::string> names;
    for (const auto& name : tree::strings(PG_LIST(&join, using_clause))) names.push_back(quote_name(name));
    on = " USING (" + join_list(names, ", ") + ")";
  } else if (join.quals != nullptr) {
    on = " ON " + condition(join.quals, "JOIN/ON");
  }
  // Columns merged by USING or NATURAL come once in "*".
  if (join.n_using_clause > 0 || join.is_natural)
    for (std::size_t i = before; i < scopes_.back().sources.size(); ++i) scopes_.back().sources[i].merged = true;
  if (right.empty() || left.empty()) {  // LATERAL written out: only the other side stays
    if (join.jointype != PG_QUERY__JOIN_TYPE__JOIN_INNER || !on.empty())
      refuse(Errc::kSyntax, "LATERAL is supported in CROSS JOIN and comma lists only");
    return right.empty() ? left : right;
  }
  const std::string natural = join.is_natural ? " NATURAL" : "";
  switch (join.jointype) {
    case PG_QUERY__JOIN_TYPE__JOIN_INNER:
      return left + natural + (on.empty() && !join.is_natural ? " CROSS JOIN " : " JOIN ") + right + on;
    case PG_QUERY__JOIN_TYPE__JOIN_LEFT:
      return left + natural + " LEFT JOIN " + right + on;
    case PG_QUERY__JOIN_TYPE__JOIN_RIGHT:
      return left + natural + " RIGHT JOIN " + right + on;
    case PG_QUERY__JOIN_TYPE__JOIN_FULL:
      return left + natural + " FULL JOIN " + right + on;
    default:
      refuse(Errc::kSyntax, "this kind of join is not supported");
      return "";
  }
}

}  // namespace outlast::sql
