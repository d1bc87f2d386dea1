#include <charconv>

#include "sql/translate/translator.h"

namespace outlast::sql {

namespace {
/// Deeper trees are refused before SQLite (limit 1000) or the stack would end them.
constexpr int kMaxDepth = 400;

Expression boolean(std::string sql) {
  return {.sql = std::move(sql), .type = oid::kBool};
}

std::string last_of(const std::vector<std::string>& names) {
  return names.empty() ? "" : names.back();
}
}  // namespace

Expression Translator::expr(const Node* node) {
  if (failed()) return {.sql = "NULL"};
  if (depth_ >= kMaxDepth) {
    refuse(Errc::kFeatureLimit, "the expression is nested too deeply; split the statement or use fewer levels");
    return {.sql = "NULL"};
  }
  ++depth_;
  Expression out = expr_inner(node);
  --depth_;
  return out;
}

Expression Translator::expr_inner(const Node* node) {
  if (node == nullptr) return refuse_node(node, "expression"), Expression{};
  switch (node->node_case) {
    case PG_NODE(A_CONST):
      return constant(*node->a_const);
    case PG_NODE(COLUMN_REF):
      return column_ref(*node->column_ref);
    case PG_NODE(PARAM_REF):
      return param_ref(*node->param_ref);
    case PG_NODE(A_EXPR):
      return a_expr(*node->a_expr);
    case PG_NODE(BOOL_EXPR):
      return bool_expr(*node->bool_expr);
    case PG_NODE(FUNC_CALL):
      return func_call(*node->func_call);
    case PG_NODE(TYPE_CAST):
      return cast(*node->type_cast);
    case PG_NODE(CASE_EXPR):
      return case_expr(*node->case_expr);
    case PG_NODE(SUB_LINK):
      return sub_link(*node->sub_link);
    case PG_NODE(NULL_TEST):
      return null_test(*node->null_test);
    case PG_NODE(BOOLEAN_TEST):
      return boolean_test(*node->boolean_test);
    case PG_NODE(SQLVALUE_FUNCTION):
      return value_function(*node->sqlvalue_function);
    case PG_NODE(MIN_MAX_EXPR):
      return min_max(*node->min_max_expr);
    case PG_NODE(ROW_EXPR):
      return row_expr(*node->row_expr);
    case PG_NODE(A_ARRAY_EXPR):
      return array_expr(*node->a_array_expr);
    case PG_NODE(COALESCE_EXPR): {
      auto args = exprs(PG_LIST(node->coalesce_expr, args));
      unify_all(args);
      if (args.size() == 1) return args[0];
      std::vector<std::string> parts;
      for (const Expression& e : args) parts.push_back(e.sql);
      return {.sql = "coalesce(" + join_list(parts, ", ") + ")", .type = args.empty() ? 0 : args[0].type};
    }
    case PG_NODE(COLLATE_CLAUSE): {
      only(*node->collate_clause, {"arg", "collname"});
      const auto names = tree::strings(PG_LIST(node->collate_clause, collname));
      const std::string name = last_of(names);
      if (name != "default" && name != "C" && name != "POSIX" && name != "ucs_basic")
        refuse(Errc::kUndefinedObject,
               "collation \"" + name + "\" does not exist; every text in Outlast sorts as \"C\"",
               node->collate_clause->location);
      return expr(node->collate_clause->arg);
    }
    case PG_NODE(A_INDIRECTION): {
      const auto& ind = *node->a_indirection;
      if (ind.n_indirection == 1 && ind.indirection[0]->node_case == PG_NODE(A_INDICES) && reads_catalog_ &&
          !ind.indirection[0]->a_indices->is_slice) {
        const Expression array = expr(ind.arg), index = expr(ind.indirection[0]->a_indices->uidx);
        return {.sql = "pg_array_get(" + array.sql + ", " + index.sql + ")"};
      }
      break;
    }
    case PG_NODE(SET_TO_DEFAULT):
      refuse(Errc::kSyntax, "DEFAULT is not allowed in this context", node->set_to_default->location);
      return {};
    default:
      break;
  }
  refuse_node(node, "expression");
  return {};
}

std::vector<Expression> Translator::exprs(std::span<Node* const> nodes) {
  std::vector<Expression> out;
  for (const Node* node : nodes) out.push_back(expr(node));
  return out;
}

std::string Translator::condition(const Node* node, std::string_view where) {
  Expression e = expr(node);
  set_parameter(e, oid::kBool);
  if (e.type == oid::kUnknown && e.literal) e = coerce_literal(std::move(e), oid::kBool, tree::location_of(node->base));
  if (e.type != 0 && e.type != oid::kBool && e.type != oid::kUnknown && !failed()) {
    const Oid shown = e.type == kSomeNumber ? oid::kInt4 : e.type;
    refuse(Errc::kDatatypeMismatch,
           "argument of " + std::string(where) + " must be type boolean, not type " + std::string(type_name(shown)),
           tree::location_of(node->base));
  }
  return e.sql;
}

Expression Translator::constant(const PgQuery__AConst& value) {
  if (value.isnull) return {.sql = "NULL", .type = oid::kUnknown};
  switch (value.val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL: {
      const int n = value.ival->ival;
      return {.sql = n < 0 ? "(" + std::to_string(n) + ")" : std::to_string(n), .type = oid::kInt4};
    }
    case PG_QUERY__A__CONST__VAL_FVAL: {
      const std::string text = value.fval->fval;
      if (text.find_first_of(".eE") == std::string::npos) {
        std::int64_t n = 0;
        const auto end = std::from_chars(text.data(), text.data() + text.size(), n);
        if (end.ec != std::errc())
          refuse(Errc::kNumericOutOfRange,
                 "value \"" + text + "\" is out of range: Outlast has no integer above 64 bits", value.location);
        return {.sql = text.starts_with('-') ? "(" + text + ")" : text, .type = oid::kInt8};
      }
      Expression e{.sql = text, .type = oid::kUnknown, .literal = text};
      e = coerce_literal(std::move(e), oid::kFloat8, value.location);
      e.type = oid::kNumeric;
      return e;
    }
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
      return boolean(value.boolval->boolval ? "1" : "0");
    case PG_QUERY__A__CONST__VAL_SVAL:
      return {.sql = quote_text(value.sval->sval), .type = oid::kUnknown, .literal = std::string(value.sval->sval)};
    default:
      break;
  }
  refuse(Errc::kSyntax, "bit strings are not supported; use bytea or an integer", value.location);
  return {};
}

Expression Translator::column_ref(const PgQuery__ColumnRef& ref) {
  for (const Node* field : PG_LIST(&ref, fields)) {
    if (field->node_case == PG_NODE(STRING)) continue;
    refuse(Errc::kSyntax, "\"*\" is not allowed in this context; name the columns", ref.location);
    return {};
  }
  auto names = tree::strings(PG_LIST(&ref, fields));
  if (names.size() == 3 && (names[0] == "public" || names[0] == "pg_catalog")) names.erase(names.begin());
  if (names.size() > 2 || names.empty()) {
    refuse(Errc::kUndefinedColumn, "cross-database and composite references are not supported; write table.column",
           ref.location);
    return {};
  }
  const std::string& column = names.back();
  const bool hidden = column == "rowid" || column == "_rowid_" || column == "oid";
  if (hidden && !reads_catalog_) {
    refuse(Errc::kUndefinedColumn, "column \"" + column + "\" does not exist", ref.location);
    return {};
  }
  // A source whose columns the statement itself makes tells the type; from the inside out, as names are looked up.
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    for (const Source& source : scope->sources) {
      if (names.size() == 2 && source.name != names[0]) continue;
      for (std::size_t i = 0; source.columns_known && i < source.column_names.size(); ++i) {
        if (source.column_names[i] != column) continue;
        if (source.inlined) return source.columns[i];
        Expression e = source.columns[i];
        e.sql = names.size() == 2 ? quote_name(names[0]) + "." + quote_name(column) : quote_name(column);
        e.parameter = 0, e.literal.reset();
        if (e.type == oid::kUnknown) e.type = oid::kText;
        return e;
      }
    }
  }
  std::string sql = names.size() == 2 ? quote_name(names[0]) + "." + quote_name(column) : quote_name(column);
  return {.sql = std::move(sql), .column = true};
}

Expression Translator::param_ref(const PgQuery__ParamRef& ref) {
  if (in_ddl_expression_) refuse(Errc::kSyntax, "there is no parameter in a definition; write the value", ref.location);
  const int n = ref.number;
  if (n < 1 || n > 32767) {
    refuse(Errc::kSyntax, "there is no parameter $" + std::to_string(n), ref.location);
    return {};
  }
  Oid& type = parameters_[n];
  if (type == 0 && static_cast<std::size_t>(n) <= declared_.size()) {
    const Oid said = declared_[static_cast<std::size_t>(n) - 1];
    type = said == oid::kUnknown ? 0 : said;
  }
  return {.sql = "?" + std::to_string(n), .type = type, .parameter = n};
}

Expression Translator::bool_expr(const PgQuery__BoolExpr& e) {
  only(e, {"boolop", "args"});
  std::vector<std::string> parts;
  const bool negated = e.boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR;
  const std::string_view word = negated ? "NOT" : e.boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR ? "AND" : "OR";
  for (const Node* arg : PG_LIST(&e, args)) parts.push_back(condition(arg, word));
  if (negated) return boolean("(NOT " + join_list(parts, "") + ")");
  return boolean("(" + join_list(parts, " " + std::string(word) + " ") + ")");
}

Expression Translator::case_expr(const PgQuery__CaseExpr& e) {
  only(e, {"arg", "args", "defresult"});
  std::vector<Expression> results;
  std::vector<std::string> conditions;
  for (const Node* node : PG_LIST(&e, args)) {
    const auto& when = *node->case_when;
    only(when, {"expr", "result"});
    if (e.arg != nullptr)
      conditions.push_back(comparison("=", expr(e.arg), expr(when.expr)).sql);
    else
      conditions.push_back(condition(when.expr, "CASE/WHEN"));
    results.push_back(expr(when.result));
  }
  if (e.defresult != nullptr) results.push_back(expr(e.defresult));
  unify_all(results);
  std::string sql = "CASE";
  for (std::size_t i = 0; i < conditions.size(); ++i) sql += " WHEN " + conditions[i] + " THEN " + results[i].sql;
  if (e.defresult != nullptr) sql += " ELSE " + results.back().sql;
  return {.sql = sql + " END", .type = results.empty() ? 0 : results[0].type};
}

bool Translator::single_row(const Node* node) {
  if (node->node_case != PG_NODE(SELECT_STMT)) return false;
  const auto& stmt = *node->select_stmt;
  if (stmt.op != PG_QUERY__SET_OPERATION__SETOP_NONE) return false;
  if (stmt.n_values_lists > 0) return stmt.n_values_lists == 1;
  if (stmt.n_from_clause == 0) return true;
  if (stmt.limit_count != nullptr && stmt.limit_count->node_case == PG_NODE(A_CONST) &&
      stmt.limit_count->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL && stmt.limit_count->a_const->ival->ival <= 1)
    return true;
  if (stmt.n_group_clause > 0 || stmt.n_target_list != 1) return false;
  const Node* target = stmt.target_list[0]->res_target->val;
  return target->node_case == PG_NODE(FUNC_CALL) && target->func_call->over == nullptr &&
         is_aggregate(tree::strings(PG_LIST(target->func_call, funcname)).back());
}

Expression Translator::sub_link(const PgQuery__SubLink& link) {
  only(link, {"sub_link_type", "testexpr", "oper_name", "subselect"});
  if (in_ddl_expression_) refuse(Errc::kSyntax, "cannot use subquery in a definition", link.location);
  const auto ops = tree::strings(PG_LIST(&link, oper_name));
  if (link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK)
    return boolean("EXISTS (" + query(link.subselect).sql + ")");
  if (link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXPR_SUBLINK) {
    const Selected sub = query(link.subselect);
    Expression out{.sql = "(" + sub.sql + ")"};
    if (sub.columns_known && sub.columns.size() == 1) {
      out.type = sub.columns[0].type, out.typmod = sub.columns[0].typmod, out.column = sub.columns[0].column;
    } else if (sub.columns_known) {
      refuse(Errc::kSyntax, "subquery must return only one column", link.location);
    }
    // PostgreSQL fails when there is a second row; SQLite would take the first.
    if (!reads_catalog_ && !single_row(link.subselect)) {
      out.sql = "(WITH \"pg_sub\"(\"v\") AS (" + sub.sql + ") SELECT pg_one_row(\"v\") FROM \"pg_sub\")";
      out.column = false;
    }
    return out;
  }
  if (link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__ARRAY_SUBLINK && reads_catalog_) {
    const Selected sub = query(link.subselect);
    return {.sql = "(SELECT pg_array_agg(" + quote_name(sub.names.empty() ? "" : sub.names[0]) + ") FROM (" + sub.sql +
                   "))"};
  }
  const bool any = link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK;
  const bool all = link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__ALL_SUBLINK;
  if ((any && (ops.empty() || ops.back() == "=")) || (all && !ops.empty() && ops.back() == "<>")) {
    Expression test = expr(link.testexpr);
    const Selected sub = query(link.subselect);
    if (sub.columns_known && sub.columns.size() == 1) {
      Expression value = sub.columns[0];
      value.parameter = 0, value.literal.reset();
      unify(test, value);
    }
    return boolean("(" + test.sql + (any ? " IN (" : " NOT IN (") + sub.sql + "))");
  }
  refuse(Errc::kUndefinedFunction, "this kind of subquery comparison is not supported; rewrite it with EXISTS or IN",
         link.location);
  return {};
}

Expression Translator::null_test(const PgQuery__NullTest& test) {
  only(test, {"arg", "nulltesttype"});
  const bool is_null = test.nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL;
  if (test.arg != nullptr && test.arg->node_case == PG_NODE(ROW_EXPR))
    refuse(Errc::kUndefinedFunction, "IS NULL of a row is not supported; test its columns", test.location);
  return boolean("(" + expr(test.arg).sql + (is_null ? " IS NULL)" : " IS NOT NULL)"));
}

Expression Translator::boolean_test(const PgQuery__BooleanTest& test) {
  only(test, {"arg", "booltesttype"});
  const std::string arg = condition(test.arg, "IS TRUE/FALSE");
  switch (test.booltesttype) {
    case PG_QUERY__BOOL_TEST_TYPE__IS_TRUE:
      return boolean("(" + arg + " IS TRUE)");
    case PG_QUERY__BOOL_TEST_TYPE__IS_NOT_TRUE:
      return boolean("(" + arg + " IS NOT TRUE)");
    case PG_QUERY__BOOL_TEST_TYPE__IS_FALSE:
      return boolean("(" + arg + " IS FALSE)");
    case PG_QUERY__BOOL_TEST_TYPE__IS_NOT_FALSE:
      return boolean("(" + arg + " IS NOT FALSE)");
    case PG_QUERY__BOOL_TEST_TYPE__IS_UNKNOWN:
      return boolean("(" + arg + " IS NULL)");
    default:
      return boolean("(" + arg + " IS NOT NULL)");
  }
}

Expression Translator::value_function(const PgQuery__SQLValueFunction& f) {
  if (in_ddl_expression_ && f.op != PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_TIMESTAMP &&
      f.op != PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_DATE &&
      f.op != PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP &&
      f.op != PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIME)
    refuse(Errc::kUndefinedFunction, "this value is not supported in a definition", f.location);
  switch (f.op) {
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_DATE:
      return {.sql = "substr(pg_now(), 1, 10)", .type = oid::kDate};
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_TIMESTAMP:
      return {.sql = "pg_now()", .type = oid::kTimestamptz};
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP:
      return {.sql = "pg_now()", .type = oid::kTimestamp};
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIME:
      return {.sql = "substr(pg_now(), 12)", .type = oid::kTime};
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_ROLE:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_USER:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_USER:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_SESSION_USER:
      return session_value(session_.user, f.location);
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_CATALOG:
      return session_value(session_.database, f.location);
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_SCHEMA:
      return {.sql = "'public'", .type = oid::kName};
    default:
      break;
  }
  refuse(Errc::kUndefinedFunction,
         "this form of the current time is not supported; use CURRENT_TIMESTAMP, LOCALTIMESTAMP or CURRENT_DATE",
         f.location);
  return {};
}

Expression Translator::min_max(const PgQuery__MinMaxExpr& e) {
  only(e, {"op", "args"});
  auto args = exprs(PG_LIST(&e, args));
  unify_all(args);
  if (args.size() == 1) return args[0];
  std::vector<std::string> parts;
  for (const Expression& a : args) parts.push_back(a.sql);
  // SQLite's min() and max() give NULL when one argument is NULL; PostgreSQL leaves NULLs out.
  const std::string name = e.op == PG_QUERY__MIN_MAX_OP__IS_GREATEST ? "pg_greatest(" : "pg_least(";
  return {.sql = name + join_list(parts, ", ") + ")", .type = args.empty() ? 0 : args[0].type};
}

Expression Translator::row_expr(const PgQuery__RowExpr& row) {
  only(row, {"args", "row_format"});
  const auto args = exprs(PG_LIST(&row, args));
  if (args.size() < 2) refuse(Errc::kSyntax, "a row needs at least two columns here", row.location);
  std::vector<std::string> parts;
  for (const Expression& a : args) parts.push_back(a.sql);
  return {.sql = "(" + join_list(parts, ", ") + ")"};
}

Expression Translator::array_expr(const PgQuery__AArrayExpr& array) {
  if (!reads_catalog_) {
    refuse(Errc::kUndefinedObject, "arrays are not supported as values; use = ANY(ARRAY[…]) or json", array.location);
    return {};
  }
  std::vector<std::string> parts;
  for (const Expression& e : exprs(PG_LIST(&array, elements))) parts.push_back(e.sql);
  return {.sql = "pg_array(" + join_list(parts, ", ") + ")"};
}

}  // namespace outlast::sql
