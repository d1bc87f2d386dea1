#include <algorithm>
#include <array>
#include <limits>

#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

Expression boolean(std::string sql) {
  return {.sql = std::move(sql), .type = oid::kBool};
}

bool is_comparison(std::string_view op) {
  static constexpr std::array kOps = {"=", "<>", "!=", "<", ">", "<=", ">="};
  return std::find(kOps.begin(), kOps.end(), op) != kOps.end();
}

/// The type of a calculation with two numbers, as PostgreSQL promotes.
Oid wider(Oid a, Oid b) {
  if (a == b) return a;
  if (!is_number(a) || !is_number(b) || a == kSomeNumber || b == kSomeNumber) return kSomeNumber;
  for (const Oid t : {oid::kFloat8, oid::kFloat4, oid::kNumeric, oid::kInt8, oid::kInt4})
    if (a == t || b == t) return t == oid::kFloat4 ? oid::kFloat8 : t;
  return oid::kInt2;
}

}  // namespace

std::string Translator::operator_name(const PgQuery__AExpr& e) {
  const auto names = tree::strings(PG_LIST(&e, name));
  if (names.size() > 1 && names.front() != "pg_catalog")
    refuse(Errc::kUndefinedFunction, "operator " + join_list(names, ".") + " does not exist", e.location);
  return names.empty() ? "" : names.back();
}

Expression Translator::a_expr(const PgQuery__AExpr& e) {
  const std::string op = operator_name(e);
  switch (e.kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
      return e.lexpr == nullptr ? unary(e, op) : binary(e, op);
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
      return any_all(e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT: {
      Expression l = expr(e.lexpr), r = expr(e.rexpr);
      unify(l, r);
      const bool distinct = e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT;
      return boolean("(" + l.sql + (distinct ? " IS NOT " : " IS ") + "(" + r.sql + "))");
    }
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF: {
      Expression l = expr(e.lexpr), r = expr(e.rexpr);
      unify(l, r);
      return {.sql = "nullif(" + l.sql + ", " + r.sql + ")", .type = l.type, .typmod = l.typmod};
    }
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
      return in_list(e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
      return like(e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
      return between(e);
    default:
      break;
  }
  refuse(Errc::kUndefinedFunction, "operator " + op + " is not supported; use LIKE or a comparison", e.location);
  return {};
}

void Translator::set_parameter(Expression& e, Oid type) {
  if (e.parameter == 0 || e.type != 0) return;
  if (type == 0 || type == oid::kUnknown || type == kSomeNumber || type == oid::kRegclass) return;
  if (type == oid::kNumeric) type = oid::kFloat8;
  if (type == oid::kVarchar || type == oid::kBpchar || type == oid::kName) type = oid::kText;
  e.type = parameters_[e.parameter] = type;
}

Expression Translator::coerce_literal(Expression e, Oid type, int location) {
  if (!e.literal || type == 0 || type == oid::kUnknown) return e;
  std::string text = *e.literal;
  const Oid target = e.type == oid::kUnknown ? type : e.type;
  if (is_text(target)) return e.type = target, e;
  if (target == oid::kRegclass) return regclass_cast(std::move(e));
  Result<executor::Value> value = decode_text(text, target == kSomeNumber ? oid::kInt8 : target);
  if (!value.ok() && target == kSomeNumber) value = decode_text(text, oid::kFloat8);
  if (!value.ok()) {
    if (!failed()) error_ = error_at(std::move(value).error(), location);
    return e;
  }
  Expression out{.type = target == oid::kNumeric ? oid::kNumeric : target};
  if (const auto* n = std::get_if<std::int64_t>(&*value)) {
    out.sql = *n == std::numeric_limits<std::int64_t>::min() ? "(-9223372036854775807 - 1)"
              : *n < 0                                       ? "(" + std::to_string(*n) + ")"
                                                             : std::to_string(*n);
  } else if (const auto* d = std::get_if<double>(&*value)) {
    if (*d - *d != 0)
      out.sql = *d < 0 ? "(-9e999)" : "9e999";
    else
      out.sql = format_double(*d);
    if (out.sql.find_first_of(".e") == std::string::npos) out.sql += ".0";
    if (out.sql.starts_with('-')) out.sql = "(" + out.sql + ")";
  } else if (const auto* b = std::get_if<executor::Blob>(&*value)) {
    out.sql = "X'";
    for (const char c : b->bytes) {
      static constexpr char kHex[] = "0123456789ABCDEF";
      out.sql += kHex[static_cast<unsigned char>(c) >> 4];
      out.sql += kHex[static_cast<unsigned char>(c) & 15];
    }
    out.sql += "'";
  } else {
    out.sql = quote_text(std::get<std::string>(*value));
  }
  return out;
}

void Translator::unify(Expression& l, Expression& r) {
  const auto adapt = [this](Expression& e, const Expression& other) {
    const bool undecided = (e.parameter != 0 && e.type == 0) || (e.literal && e.type == oid::kUnknown);
    if (!undecided || other.type == oid::kUnknown || (other.parameter != 0 && other.type == 0)) return;
    if (other.type != 0 && other.type != kSomeNumber) {
      set_parameter(e, other.type);
      e = coerce_literal(std::move(e), other.type);
    } else if (other.type == kSomeNumber && e.literal) {
      e = coerce_literal(std::move(e), kSomeNumber);
    } else if (!other.column) {
      // Neither a known type nor a column's affinity: follow the other side's value when it is there.
      e.sql = "pg_coerce(" + e.sql + ", " + other.sql + ")";
    }
  };
  adapt(l, r);
  adapt(r, l);
}

void Translator::unify_all(std::vector<Expression>& list) {
  Oid type = 0;
  bool known = true;
  for (const Expression& e : list) {
    if (e.type == oid::kUnknown || (e.parameter != 0 && e.type == 0)) continue;
    if (e.type == 0)
      known = false;
    else if (type == 0)
      type = e.type;
    else if (is_number(type) && is_number(e.type))
      type = wider(type, e.type);
    else if (is_text(type) && is_text(e.type))
      type = oid::kText;
    else if (type != e.type && (is_number(type) || is_number(e.type) || type == oid::kBool || e.type == oid::kBool))
      return refuse(Errc::kDatatypeMismatch, "types " + std::string(type_name(type)) + " and " +
                                                 std::string(type_name(e.type)) +
                                                 " cannot be matched; cast one of them");
  }
  for (Expression& e : list) {
    if (type != 0) set_parameter(e, type), e = coerce_literal(std::move(e), type);
  }
  if (list.empty()) return;
  list[0].type = type != 0 ? type : known ? oid::kText : 0;
  list[0].literal.reset();
}

Expression Translator::comparison(const std::string& op, Expression l, Expression r) {
  unify(l, r);
  const bool bool_and_number =
      (l.type == oid::kBool && is_number(r.type)) || (r.type == oid::kBool && is_number(l.type));
  if (bool_and_number)
    refuse(Errc::kUndefinedFunction, "operator does not exist: " + std::string(type_name(l.type)) + " " + op + " " +
                                         std::string(type_name(r.type)) + "; cast one side");
  return boolean("(" + l.sql + " " + (op == "!=" ? "<>" : op) + " " + r.sql + ")");
}

Expression Translator::concatenation(Expression l, Expression r) {
  const bool blobs = l.type == oid::kBytea || r.type == oid::kBytea;
  if (blobs) return {.sql = "CAST(" + l.sql + " || " + r.sql + " AS BLOB)", .type = oid::kBytea};
  set_parameter(l, oid::kText);
  set_parameter(r, oid::kText);
  return {.sql = "(" + as_text(std::move(l)).sql + " || " + as_text(std::move(r)).sql + ")", .type = oid::kText};
}

Expression Translator::as_text(Expression e) {
  if (is_text(e.type) || e.type == oid::kUnknown || is_time(e.type) || e.type == oid::kUuid || e.type == oid::kJson ||
      e.type == oid::kJsonb) {
    if (e.type == oid::kTimestamptz) e.sql = "(" + e.sql + " || '+00')";
  } else if (e.type == oid::kBool) {
    e.sql = "(CASE " + e.sql + " WHEN 0 THEN 'false' WHEN 1 THEN 'true' END)";
  } else if (e.type == oid::kFloat4) {
    e.sql = "pg_text4(" + e.sql + ")";
  } else if (e.type == oid::kRegclass) {
    e.sql = "(SELECT outlast_name FROM pg_catalog.outlast_relation WHERE outlast_oid = " + e.sql + ")";
  } else if (e.type == oid::kRegtype) {
    e.sql = "format_type(" + e.sql + ", NULL)";
  } else {
    e.sql = "pg_text(" + e.sql + ")";
  }
  e.type = oid::kText, e.typmod = -1, e.column = false, e.parameter = 0, e.literal.reset();
  return e;
}

Expression Translator::arithmetic(const std::string& op, Expression l, Expression r, int location) {
  for (Expression* e : {&l, &r}) {
    const Expression& other = e == &l ? r : l;
    if (is_number(other.type)) set_parameter(*e, other.type), *e = coerce_literal(std::move(*e), other.type, location);
    const bool number = e->type == 0 || e->type == oid::kUnknown || is_number(e->type);
    if (!number && !failed())
      refuse(Errc::kUndefinedFunction,
             "operator does not exist: " + std::string(type_name(l.type)) + " " + op + " " +
                 std::string(type_name(r.type)) + "; Outlast calculates with integers and floats only",
             location);
  }
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"+", "pg_add"}, {"-", "pg_sub"}, {"*", "pg_mul"}, {"/", "pg_div"},     {"%", "pg_mod"},    {"^", "pg_power"},
      {"&", "pg_and"}, {"|", "pg_or"},  {"#", "pg_xor"}, {"<<", "pg_lshift"}, {">>", "pg_rshift"}};
  for (const auto& [symbol, name] : kNames) {
    if (symbol != op) continue;
    Oid type = op == "^" ? oid::kFloat8 : wider(l.type, r.type);
    if (l.type == 0 || r.type == 0 || l.type == oid::kUnknown || r.type == oid::kUnknown) type = kSomeNumber;
    if (op == "^") type = oid::kFloat8;
    const std::string limit = type == oid::kInt4 || type == oid::kInt2 ? std::to_string(type_length(type)) : "";
    std::string sql = std::string(name) + "(" + l.sql + ", " + r.sql + ")";
    if (!limit.empty() && (op == "+" || op == "-" || op == "*")) sql = "pg_int" + limit + "(" + sql + ")";
    return {.sql = std::move(sql), .type = type};
  }
  refuse(Errc::kUndefinedFunction, "operator does not exist: " + op, location);
  return {};
}

/// A member by its name or an element by its number. SQLite's ->> gives numbers and 1 for true where PostgreSQL gives
/// text.
Expression Translator::json_part(const std::string& op, const Expression& l, const Expression& r) {
  // A name is one name, whatever points it has.
  const std::string place = is_integer(r.type) ? r.sql : "('$.\"' || " + r.sql + " || '\"')";
  const std::string part = l.sql + " -> " + place;
  if (op == "->") return {.sql = "(" + part + ")", .type = l.type == oid::kJsonb ? oid::kJsonb : oid::kJson};
  return {.sql = "(CASE " + part + " WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(" + l.sql + " ->> " +
                 place + " AS TEXT) END)",
          .type = oid::kText};
}

Expression Translator::binary(const PgQuery__AExpr& e, const std::string& op) {
  Expression l = expr(e.lexpr), r = expr(e.rexpr);
  if (is_comparison(op)) return comparison(op, std::move(l), std::move(r));
  if (op == "||") return concatenation(std::move(l), std::move(r));
  if (op == "->" || op == "->>") return json_part(op, l, r);
  if (op == "~" || op == "~*" || op == "!~" || op == "!~*") {
    const bool fold = op.ends_with('*'), negated = op.starts_with('!');
    set_parameter(l, oid::kText), set_parameter(r, oid::kText);
    return boolean(std::string(negated ? "(NOT " : "(") + "pg_regex(" + l.sql + ", " + r.sql +
                   (fold ? ", 1))" : ", 0))"));
  }
  if (op == "~~" || op == "!~~" || op == "~~*" || op == "!~~*") {
    const std::string name = op.ends_with('*') ? "pg_ilike(" : "pg_like(";
    return boolean((op.starts_with('!') ? "(NOT " : "(") + name + l.sql + ", " + r.sql + "))");
  }
  // date + integer, date - integer, date - date
  if ((op == "+" || op == "-") && (l.type == oid::kDate || r.type == oid::kDate)) {
    if (l.type == oid::kDate && r.type == oid::kDate && op == "-")
      return {.sql = "CAST(julianday(" + l.sql + ") - julianday(" + r.sql + ") AS INTEGER)", .type = oid::kInt4};
    if (l.type == oid::kDate && is_integer(r.type))
      return {.sql = "date(" + l.sql + ", (" + (op == "-" ? "-" : "") + r.sql + ") || ' days')", .type = oid::kDate};
  }
  return arithmetic(op, std::move(l), std::move(r), e.location);
}

Expression Translator::unary(const PgQuery__AExpr& e, const std::string& op) {
  Expression r = expr(e.rexpr);
  if (op == "+") return r;
  if (op == "-" || op == "~" || op == "@") {
    const std::string name = op == "-" ? "pg_neg(" : op == "~" ? "pg_not(" : "abs(";
    if (r.type != 0 && r.type != oid::kUnknown && !is_number(r.type))
      refuse(Errc::kUndefinedFunction, "operator does not exist: " + op + " " + std::string(type_name(r.type)),
             e.location);
    r = coerce_literal(std::move(r), oid::kFloat8, e.location);
    return {.sql = name + r.sql + ")", .type = r.type == 0 || r.type == oid::kUnknown ? kSomeNumber : r.type};
  }
  refuse(Errc::kUndefinedFunction, "operator does not exist: " + op, e.location);
  return {};
}

Expression Translator::like(const PgQuery__AExpr& e) {
  const bool fold = e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE;
  const bool negated = operator_name(e).starts_with('!');
  Expression l = expr(e.lexpr);
  set_parameter(l, oid::kText);
  std::string pattern, escape;
  const Node* right = e.rexpr;
  // x LIKE p ESCAPE c arrives as like_escape(p, c).
  if (right->node_case == PG_NODE(FUNC_CALL) && right->func_call->n_args == 2 &&
      tree::strings(PG_LIST(right->func_call, funcname)).back() == "like_escape") {
    escape = ", " + expr(right->func_call->args[1]).sql;
    right = right->func_call->args[0];
  }
  Expression p = expr(right);
  set_parameter(p, oid::kText);
  for (const Expression* side : {&l, &p})
    if (is_number(side->type) || side->type == oid::kBool)
      refuse(Errc::kUndefinedFunction,
             "operator does not exist: " + std::string(type_name(l.type)) + " ~~ " + std::string(type_name(p.type)),
             e.location);
  return boolean(std::string(negated ? "(NOT " : "(") + (fold ? "pg_ilike(" : "pg_like(") + l.sql + ", " + p.sql +
                 escape + "))");
}

Expression Translator::in_list(const PgQuery__AExpr& e) {
  const bool negated = operator_name(e) == "<>";
  Expression l = expr(e.lexpr);
  const bool rows = e.lexpr->node_case == PG_NODE(ROW_EXPR);
  std::vector<std::string> parts;
  for (Expression& item : [&] {
         auto list = exprs(PG_LIST(e.rexpr->list, items));
         return list;
       }()) {
    if (!rows) unify(l, item);
    parts.push_back(rows ? item.sql : item.sql);
  }
  const std::string list = (rows ? "(VALUES " : "(") + join_list(parts, ", ") + ")";
  return boolean("(" + l.sql + (negated ? " NOT IN " : " IN ") + list + ")");
}

Expression Translator::between(const PgQuery__AExpr& e) {
  const bool symmetric =
      e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM || e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM;
  const bool negated =
      e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN || e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM;
  Expression l = expr(e.lexpr);
  auto bounds = exprs(PG_LIST(e.rexpr->list, items));
  if (bounds.size() != 2) return refuse_node(e.rexpr, "BETWEEN"), Expression{};
  for (Expression& b : bounds) unify(l, b);
  std::string sql = "(" + l.sql + " BETWEEN " + bounds[0].sql + " AND " + bounds[1].sql + ")";
  if (symmetric) sql = "(" + sql + " OR (" + l.sql + " BETWEEN " + bounds[1].sql + " AND " + bounds[0].sql + "))";
  return boolean(negated ? "(NOT " + sql + ")" : sql);
}

Expression Translator::any_all(const PgQuery__AExpr& e) {
  const std::string op = operator_name(e);
  const bool any = e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY;
  if (!(any && op == "=") && !(!any && op == "<>")) {
    refuse(Errc::kUndefinedFunction, "only = ANY (array) and <> ALL (array) are supported; write the comparison out",
           e.location);
    return {};
  }
  Expression l = expr(e.lexpr);
  const std::string in = any ? " IN (" : " NOT IN (";
  const Node* right = e.rexpr;
  while (right->node_case == PG_NODE(TYPE_CAST) && right->type_cast->arg != nullptr &&
         right->type_cast->type_name->n_array_bounds > 0)
    right = right->type_cast->arg;
  if (right->node_case == PG_NODE(A_ARRAY_EXPR)) {
    std::vector<std::string> parts;
    for (Expression& item : [&] {
           auto list = exprs(PG_LIST(right->a_array_expr, elements));
           return list;
         }()) {
      unify(l, item);
      parts.push_back(item.sql);
    }
    return boolean("(" + l.sql + in + join_list(parts, ", ") + "))");
  }
  const Expression array = expr(right);
  // Array elements are texts: a typed left side decides how they are read.
  const std::string element = is_number(l.type) ? "pg_number(value)" : "value";
  return boolean("(" + l.sql + in + "SELECT " + element + " FROM json_each(pg_array_json(" + array.sql + "))))");
}

}  // namespace outlast::sql
