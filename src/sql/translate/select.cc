#include "sql/translate/translator.h"

namespace outlast::sql {

Translator::Selected Translator::query(const Node* node) {
  if (node != nullptr && node->node_case == PG_NODE(SELECT_STMT)) return select(*node->select_stmt);
  refuse_node(node, "subquery (only SELECT and VALUES may stand here)");
  return {};
}

Translator::Selected Translator::select(const PgQuery__SelectStmt& stmt) {
  if (depth_ >= 100) {
    refuse(Errc::kFeatureLimit, "subqueries are nested too deeply");
    return {};
  }
  depth_ += 5;
  only(stmt, {"distinct_clause", "target_list", "from_clause", "where_clause", "group_clause", "having_clause",
              "window_clause", "values_lists", "sort_clause", "limit_offset", "limit_count", "limit_option",
              "locking_clause", "with_clause", "op", "all", "larg", "rarg"});
  ctes_.emplace_back();
  const std::string with = with_clause(stmt.with_clause);
  Selected out = stmt.op != PG_QUERY__SET_OPERATION__SETOP_NONE ? set_operation(stmt)
                 : stmt.n_values_lists > 0                      ? values(stmt)
                                                                : plain_select(stmt);
  out.sql = with + out.sql;
  ctes_.pop_back();
  depth_ -= 5;
  return out;
}

Translator::Selected Translator::set_operation(const PgQuery__SelectStmt& stmt) {
  const bool is_union = stmt.op == PG_QUERY__SET_OPERATION__SETOP_UNION;
  if (stmt.all && !is_union)
    refuse(Errc::kSyntax, "INTERSECT ALL and EXCEPT ALL are not supported; leave ALL out or use a join");
  Selected shape;
  std::string sql = set_operand(*stmt.larg, true, shape);
  sql += is_union ? (stmt.all ? " UNION ALL " : " UNION ")
                  : (stmt.op == PG_QUERY__SET_OPERATION__SETOP_INTERSECT ? " INTERSECT " : " EXCEPT ");
  Selected right;
  sql += set_operand(*stmt.rarg, false, right);
  if (shape.columns_known && right.columns_known && shape.columns.size() != right.columns.size())
    refuse(Errc::kSyntax, "each UNION, INTERSECT or EXCEPT query must have the same number of columns");
  for (std::size_t i = 0; shape.columns_known && right.columns_known && !failed() && i < shape.columns.size(); ++i) {
    Expression& l = shape.columns[i];
    const Expression& r = right.columns[i];
    const bool undecided = l.type == oid::kUnknown || (l.parameter != 0 && l.type == 0);
    if (undecided)
      l.type = r.type;
    else if (l.type != r.type && is_number(l.type) && is_number(r.type))
      l.type = l.type == oid::kFloat8 || r.type == oid::kFloat8 ? oid::kFloat8 : kSomeNumber;
    else if (l.type != r.type && r.type != oid::kUnknown)
      l.type = is_text(l.type) && is_text(r.type) ? oid::kText : 0;
    l.typmod = l.typmod == r.typmod ? l.typmod : -1;
    l.parameter = 0, l.literal.reset();
  }
  if (!right.columns_known && shape.columns_known)
    for (Expression& e : shape.columns) e.column = e.column && e.type == 0;
  scopes_.emplace_back();
  shape.sql = sql + order_and_limit(stmt);
  scopes_.pop_back();
  return shape;
}

/// SQLite binds all set operations alike from left to right: a right operand that is one itself, or has clauses of its
/// own, goes into a subquery.
std::string Translator::set_operand(const PgQuery__SelectStmt& stmt, bool left, Selected& shape) {
  shape = select(stmt);
  const bool compound = stmt.op != PG_QUERY__SET_OPERATION__SETOP_NONE;
  const bool clauses = stmt.n_sort_clause > 0 || stmt.limit_count != nullptr || stmt.limit_offset != nullptr ||
                       stmt.with_clause != nullptr;
  if (clauses || (compound && !left)) return "SELECT * FROM (" + shape.sql + ")";
  return shape.sql;
}

Translator::Selected Translator::values(const PgQuery__SelectStmt& stmt) {
  Selected out;
  std::vector<std::vector<Expression>> rows;
  for (const Node* row : PG_LIST(&stmt, values_lists)) {
    rows.push_back(exprs(PG_LIST(row->list, items)));
    if (rows.back().size() != rows.front().size()) refuse(Errc::kSyntax, "VALUES lists must all be the same length");
  }
  for (std::size_t c = 0; !failed() && c < rows.front().size(); ++c) {
    std::vector<Expression> column;
    for (auto& row : rows) column.push_back(row[c]);
    unify_all(column);
    for (std::size_t r = 0; r < rows.size(); ++r) rows[r][c].sql = column[r].sql;
    column[0].column = false;
    out.columns.push_back(column[0]);
    out.names.push_back("column" + std::to_string(c + 1));
  }
  std::vector<std::string> parts;
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const Expression& e : row) cells.push_back(e.sql);
    parts.push_back("(" + join_list(cells, ", ") + ")");
  }
  scopes_.emplace_back();
  const std::string tail = order_and_limit(stmt);
  scopes_.pop_back();
  out.sql = "VALUES " + join_list(parts, ", ");
  if (!tail.empty()) out.sql = "SELECT * FROM (" + out.sql + ")" + tail;
  return out;
}

Translator::Selected Translator::plain_select(const PgQuery__SelectStmt& stmt) {
  Selected out;
  scopes_.emplace_back();
  const std::string from = stmt.n_from_clause > 0 ? " FROM " + from_list(PG_LIST(&stmt, from_clause)) : "";
  std::string tail = from;
  if (stmt.where_clause != nullptr) {
    const std::string where = condition(stmt.where_clause, "WHERE");
    tail += " WHERE " + where;
  }
  if (stmt.n_target_list == 0) refuse(Errc::kSyntax, "SELECT needs at least one column");
  std::string sql = "SELECT ";
  if (stmt.n_distinct_clause > 0) {
    if (tree::inner(stmt.distinct_clause[0]) != nullptr)
      refuse(Errc::kSyntax, "DISTINCT ON is not supported; use row_number() OVER (PARTITION BY …)");
    sql += "DISTINCT ";
  }
  sql += target_list(PG_LIST(&stmt, target_list), out) + tail;
  check_grouping(stmt);
  select_clauses(stmt, sql);
  out.sql = std::move(sql);
  scopes_.pop_back();
  return out;
}

void Translator::select_clauses(const PgQuery__SelectStmt& stmt, std::string& sql) {
  if (stmt.n_group_clause > 0) {
    std::vector<std::string> parts;
    for (const Node* item : PG_LIST(&stmt, group_clause)) {
      if (item->node_case == PG_NODE(GROUPING_SET))
        refuse(Errc::kSyntax, "GROUPING SETS, ROLLUP and CUBE are not supported; use UNION ALL");
      else
        parts.push_back(expr(item).sql);
    }
    sql += " GROUP BY " + join_list(parts, ", ");
  }
  if (stmt.having_clause != nullptr) sql += " HAVING " + condition(stmt.having_clause, "HAVING");
  if (stmt.n_window_clause > 0) {
    std::vector<std::string> parts;
    for (const Node* item : PG_LIST(&stmt, window_clause)) {
      PgQuery__WindowDef window = *item->window_def;
      const std::string name = window.name;
      window.name = const_cast<char*>("");
      parts.push_back(quote_name(name) + " AS " + over(window).substr(6));
    }
    sql += " WINDOW " + join_list(parts, ", ");
  }
  sql += order_and_limit(stmt);
  locking(stmt);
}

std::string Translator::order_and_limit(const PgQuery__SelectStmt& stmt) {
  std::string sql;
  if (stmt.n_sort_clause > 0) sql += " " + order_by(PG_LIST(&stmt, sort_clause));
  if (stmt.limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES)
    refuse(Errc::kSyntax, "FETCH FIRST … WITH TIES is not supported; use rank()");
  const auto number = [this](const Node* node) {
    Expression e = expr(node);
    set_parameter(e, oid::kInt8);
    if (e.literal) e = coerce_literal(std::move(e), oid::kInt8, tree::location_of(node->base));
    return e.sql;
  };
  // LIMIT ALL and LIMIT NULL are no limit; a negative one is an error in PostgreSQL and "all" in SQLite.
  std::string limit, offset;
  if (stmt.limit_count != nullptr) limit = number(stmt.limit_count);
  if (stmt.limit_offset != nullptr) offset = number(stmt.limit_offset);
  if (limit == "NULL") limit.clear();
  if (offset == "NULL") offset.clear();
  const auto plain = [](const std::string& s) { return s.find_first_not_of("0123456789") == std::string::npos; };
  if (!limit.empty())
    sql += " LIMIT " + (plain(limit) ? limit : "pg_limit(" + limit + ")");
  else if (!offset.empty())
    sql += " LIMIT -1";
  if (!offset.empty()) sql += " OFFSET " + (plain(offset) ? offset : "pg_offset(" + offset + ")");
  return sql;
}

std::string Translator::order_by(std::span<Node* const> clause) {
  std::vector<std::string> parts;
  for (const Node* node : clause) {
    const auto& sort = *node->sort_by;
    only(sort, {"node", "sortby_dir", "sortby_nulls"});
    if (sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING)
      refuse(Errc::kSyntax, "ORDER BY … USING is not supported");
    const bool descending = sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
    // PostgreSQL takes NULL for larger than any value, SQLite for smaller.
    bool first = descending;
    if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST) first = true;
    if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST) first = false;
    const Expression e = expr(sort.node);
    if (e.literal) refuse(Errc::kSyntax, "non-integer constant in ORDER BY", tree::location_of(sort.node->base));
    parts.push_back(e.sql + (descending ? " DESC" : " ASC") + (first ? " NULLS FIRST" : " NULLS LAST"));
  }
  return "ORDER BY " + join_list(parts, ", ");
}

void Translator::locking(const PgQuery__SelectStmt& stmt) {
  for (const Node* node : PG_LIST(&stmt, locking_clause)) {
    only(*node->locking_clause, {"locked_rels", "strength", "wait_policy"});
    if (node->locking_clause->wait_policy > PG_QUERY__LOCK_WAIT_POLICY__LockWaitBlock)
      refuse(Errc::kSyntax, "NOWAIT and SKIP LOCKED are not supported: a range has one writer; use lock_timeout");
    out_.locks_rows = true;
  }
}

std::string Translator::with_clause(const PgQuery__WithClause* with) {
  if (with == nullptr) return "";
  only(*with, {"ctes", "recursive"});
  std::vector<std::string> parts;
  for (const Node* node : PG_LIST(with, ctes)) parts.push_back(common_table(*node->common_table_expr, with->recursive));
  return std::string("WITH ") + (with->recursive ? "RECURSIVE " : "") + join_list(parts, ", ") + " ";
}

std::string Translator::common_table(const PgQuery__CommonTableExpr& cte, bool recursive) {
  only(cte, {"ctename", "aliascolnames", "ctematerialized", "ctequery"});
  Source source{.name = cte.ctename};
  const auto names = tree::strings(PG_LIST(&cte, aliascolnames));
  if (recursive) ctes_.back().push_back(source);  // it may refer to itself; its types are not known yet
  Selected body = query(cte.ctequery);
  if (recursive) ctes_.back().pop_back();
  source.columns_known = body.columns_known;
  source.columns = body.columns, source.column_names = body.names;
  for (std::size_t i = 0; i < names.size() && i < source.column_names.size(); ++i) source.column_names[i] = names[i];
  if (body.columns_known && names.size() > body.columns.size())
    refuse(Errc::kSyntax, "WITH query \"" + source.name + "\" has fewer columns than are named");
  std::string sql = quote_name(cte.ctename);
  if (!names.empty()) {
    std::vector<std::string> quoted;
    for (const auto& name : body.columns_known ? source.column_names : names) quoted.push_back(quote_name(name));
    sql += "(" + join_list(quoted, ", ") + ")";
  }
  const std::string keep = cte.ctematerialized == PG_QUERY__CTEMATERIALIZE__CTEMaterializeAlways ? " AS MATERIALIZED ("
                           : cte.ctematerialized == PG_QUERY__CTEMATERIALIZE__CTEMaterializeNever
                               ? " AS NOT MATERIALIZED ("
                               : " AS (";
  ctes_.back().push_back(std::move(source));
  return sql + keep + body.sql + ")";
}

std::string Translator::target_list(std::span<Node* const> targets, Selected& out) {
  std::vector<std::string> parts;
  for (const Node* node : targets) {
    const auto& target = *node->res_target;
    only(target, {"name", "val"});
    if (target.val != nullptr && target.val->node_case == PG_NODE(COLUMN_REF) &&
        target.val->column_ref->fields[target.val->column_ref->n_fields - 1]->node_case == PG_NODE(A_STAR)) {
      const auto& ref = *target.val->column_ref;
      const auto names = tree::strings(PG_LIST(&ref, fields));
      parts.push_back(names.empty() ? "*" : quote_name(names.back()) + ".*");
      star_target(ref, out);
      continue;
    }
    Expression e = expr(target.val);
    const std::string name = *target.name != 0 ? target.name : target_name(target.val);
    if (e.type == oid::kRegclass && scopes_.size() == 1) e = as_text(std::move(e));
    if (in_view_ && !e.column) {  // SQLite gives the column of a view an affinity only by CAST
      if (is_integer(e.type))
        e.sql = "CAST(" + e.sql + " AS INTEGER)";
      else if (e.type == oid::kFloat8 || e.type == oid::kNumeric)
        e.sql = "CAST(" + e.sql + " AS REAL)";
      else if (is_text(e.type))
        e.sql = "CAST(" + e.sql + " AS TEXT)";
    }
    parts.push_back(e.sql + " AS " + quote_name(name));
    out.columns.push_back(std::move(e));
    out.names.push_back(name);
  }
  return join_list(parts, ", ");
}

/// "*" and "t.*": known when all that they stand for is made by the statement itself.
void Translator::star_target(const PgQuery__ColumnRef& ref, Selected& out) {
  const auto names = tree::strings(PG_LIST(&ref, fields));
  bool found = false;
  if (scopes_.back().sources.empty())
    refuse(Errc::kSyntax, "SELECT * with no tables specified is not valid", ref.location);
  for (const Source& source : scopes_.back().sources) {
    if (!names.empty() && source.name != names.back()) continue;
    found = true;
    if (source.inlined)
      refuse(Errc::kSyntax, "\"*\" over a LATERAL subquery is not supported; name the columns", ref.location);
    if (!source.columns_known || source.merged) out.columns_known = false;
    for (std::size_t i = 0; i < source.columns.size(); ++i) {
      out.columns.push_back(source.columns[i]);
      out.names.push_back(source.column_names[i]);
    }
  }
  if (!found && !names.empty() && names.back() != "excluded") out.columns_known = false;
}

}  // namespace outlast::sql
