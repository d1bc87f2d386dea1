#include <algorithm>
#include <array>

#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

constexpr Oid kSameAsFirst = 1;

/// A function whose call needs nothing but another name: PostgreSQL's name, SQLite's or ours, the number of arguments,
/// the result's type and the type that an undecided first argument gets (0: none).
struct Simple {
  std::string_view name, sqlite;
  std::size_t min, max;
  Oid result, first{0}, rest{0};
};
constexpr std::array kSimple = {
    Simple{"length", "pg_length", 1, 1, oid::kInt4, oid::kText},
    Simple{"char_length", "pg_length", 1, 1, oid::kInt4, oid::kText},
    Simple{"character_length", "pg_length", 1, 1, oid::kInt4, oid::kText},
    Simple{"octet_length", "pg_octet_length", 1, 1, oid::kInt4, oid::kText},
    Simple{"lower", "lower", 1, 1, oid::kText, oid::kText},
    Simple{"upper", "upper", 1, 1, oid::kText, oid::kText},
    Simple{"initcap", "pg_initcap", 1, 1, oid::kText, oid::kText},
    Simple{"substr", "pg_substr", 2, 3, oid::kText, oid::kText, oid::kInt4},
    Simple{"substring", "pg_substr", 2, 3, oid::kText, oid::kText, oid::kInt4},
    Simple{"btrim", "trim", 1, 2, oid::kText, oid::kText, oid::kText},
    Simple{"ltrim", "ltrim", 1, 2, oid::kText, oid::kText, oid::kText},
    Simple{"rtrim", "rtrim", 1, 2, oid::kText, oid::kText, oid::kText},
    Simple{"position", "instr", 2, 2, oid::kInt4, oid::kText, oid::kText},
    Simple{"strpos", "instr", 2, 2, oid::kInt4, oid::kText, oid::kText},
    Simple{"replace", "pg_replace", 3, 3, oid::kText, oid::kText, oid::kText},
    Simple{"left", "pg_left", 2, 2, oid::kText, oid::kText, oid::kInt4},
    Simple{"right", "pg_right", 2, 2, oid::kText, oid::kText, oid::kInt4},
    Simple{"repeat", "pg_repeat", 2, 2, oid::kText, oid::kText, oid::kInt4},
    Simple{"lpad", "pg_lpad", 2, 3, oid::kText, oid::kText, 0},
    Simple{"rpad", "pg_rpad", 2, 3, oid::kText, oid::kText, 0},
    Simple{"reverse", "pg_reverse", 1, 1, oid::kText, oid::kText},
    Simple{"split_part", "pg_split_part", 3, 3, oid::kText, oid::kText, 0},
    Simple{"starts_with", "pg_starts_with", 2, 2, oid::kBool, oid::kText, oid::kText},
    Simple{"ascii", "pg_ascii", 1, 1, oid::kInt4, oid::kText},
    Simple{"chr", "pg_chr", 1, 1, oid::kText, oid::kInt4},
    Simple{"to_hex", "pg_to_hex", 1, 1, oid::kText, oid::kInt8},
    Simple{"abs", "pg_abs", 1, 1, kSameAsFirst, oid::kFloat8},
    Simple{"mod", "pg_mod", 2, 2, kSomeNumber},
    Simple{"div", "pg_idiv", 2, 2, kSomeNumber},
    Simple{"power", "pg_power", 2, 2, oid::kFloat8},
    Simple{"pow", "pg_power", 2, 2, oid::kFloat8},
    Simple{"sqrt", "pg_sqrt", 1, 1, oid::kFloat8, oid::kFloat8},
    Simple{"exp", "pg_exp", 1, 1, oid::kFloat8, oid::kFloat8},
    Simple{"ln", "pg_ln", 1, 1, oid::kFloat8, oid::kFloat8},
    Simple{"log", "pg_log10", 1, 1, oid::kFloat8, oid::kFloat8},
    Simple{"pi", "pi", 0, 0, oid::kFloat8},
    Simple{"random", "pg_random", 0, 0, oid::kFloat8},
    Simple{"gen_random_uuid", "pg_random_uuid", 0, 0, oid::kUuid},
    Simple{"now", "pg_now", 0, 0, oid::kTimestamptz},
    Simple{"transaction_timestamp", "pg_now", 0, 0, oid::kTimestamptz},
    Simple{"statement_timestamp", "pg_now", 0, 0, oid::kTimestamptz},
    Simple{"clock_timestamp", "pg_clock", 0, 0, oid::kTimestamptz},
    // Window functions.
    Simple{"row_number", "row_number", 0, 0, oid::kInt8},
    Simple{"rank", "rank", 0, 0, oid::kInt8},
    Simple{"dense_rank", "dense_rank", 0, 0, oid::kInt8},
    Simple{"percent_rank", "percent_rank", 0, 0, oid::kFloat8},
    Simple{"cume_dist", "cume_dist", 0, 0, oid::kFloat8},
    Simple{"ntile", "ntile", 1, 1, oid::kInt4, oid::kInt4},
    Simple{"lag", "lag", 1, 3, kSameAsFirst},
    Simple{"lead", "lead", 1, 3, kSameAsFirst},
    Simple{"first_value", "first_value", 1, 1, kSameAsFirst},
    Simple{"last_value", "last_value", 1, 1, kSameAsFirst},
    Simple{"nth_value", "nth_value", 2, 2, kSameAsFirst},
};

constexpr std::array kWindowOnly = {"row_number", "rank", "dense_rank",  "percent_rank", "cume_dist", "ntile",
                                    "lag",        "lead", "first_value", "last_value",   "nth_value"};
constexpr std::array kChanging = {
    "random", "gen_random_uuid", "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp"};
constexpr std::array kAggregates = {"count", "sum", "avg", "min", "max", "string_agg", "bool_and", "bool_or", "every"};

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string list_sql(const std::vector<Expression>& args) {
  std::vector<std::string> parts;
  for (const Expression& e : args) parts.push_back(e.sql);
  return join_list(parts, ", ");
}

}  // namespace

bool Translator::is_aggregate(std::string_view name) {
  return contains(kAggregates, name);
}

Expression Translator::func_call(const PgQuery__FuncCall& call) {
  only(call, {"funcname", "args", "agg_filter", "over", "agg_star", "agg_distinct", "funcformat"});
  auto names = tree::strings(PG_LIST(&call, funcname));
  if (names.size() == 2 && (names[0] == "pg_catalog" || names[0] == "public")) names.erase(names.begin());
  const std::string name = join_list(names, ".");
  if (is_aggregate(name)) return aggregate(call, name);
  if (call.agg_filter != nullptr || call.agg_star || call.agg_distinct)
    refuse(Errc::kUndefinedFunction, name + " is not an aggregate function", call.location);
  std::vector<Expression> args = exprs(PG_LIST(&call, args));
  bool known = false;
  Expression out = special_function(call, name, args, known);
  if (!known) out = catalog_function(call, name, args, known);
  for (const Simple& f : kSimple) {
    if (known || f.name != name || args.size() < f.min || args.size() > f.max) continue;
    known = true;
    for (std::size_t i = 0; i < args.size(); ++i) {
      const Oid type = i == 0 ? f.first : f.rest;
      set_parameter(args[i], type);
      if (type != 0 && args[i].type == oid::kUnknown)
        args[i] = coerce_literal(std::move(args[i]), type, tree::location_of(call.args[i]->base));
      const bool mismatch = type == oid::kText && (is_number(args[i].type) || args[i].type == oid::kBool);
      if (mismatch)
        refuse(Errc::kUndefinedFunction,
               "function " + name + "(" + std::string(type_name(args[i].type)) +
                   ") does not exist; cast the argument to text",
               call.location);
    }
    if (in_ddl_expression_ && contains(kChanging, name) && !in_default_)
      refuse(Errc::kUndefinedFunction, "functions in this definition must be immutable", call.location);
    Oid result = f.result == kSameAsFirst ? (args.empty() ? 0 : args[0].type) : f.result;
    if (result == oid::kUnknown) result = oid::kText;
    out = {.sql = std::string(f.sqlite) + "(" + list_sql(args) + ")", .type = result};
  }
  if (!known) {
    refuse(Errc::kUndefinedFunction,
           "function " + name + " with " + std::to_string(args.size()) +
               " arguments does not exist in Outlast; docs/sql.md lists the functions",
           call.location);
    return {};
  }
  const bool window = contains(kWindowOnly, name);
  if (window && call.over == nullptr)
    refuse(Errc::kGroupingError, "window function " + name + " requires an OVER clause", call.location);
  if (!window && call.over != nullptr)
    refuse(Errc::kSyntax, "OVER specified, but " + name + " is not a window function nor an aggregate function",
           call.location);
  if (window && call.over != nullptr) out.sql += over(*call.over);
  return out;
}

Expression Translator::aggregate(const PgQuery__FuncCall& call, const std::string& name) {
  if (in_ddl_expression_)
    refuse(Errc::kGroupingError, "aggregate functions are not allowed in a definition", call.location);
  std::vector<Expression> args = exprs(PG_LIST(&call, args));
  const std::string distinct = call.agg_distinct ? "DISTINCT " : "";
  const std::size_t wanted = name == "string_agg" ? 2 : 1;
  if (call.agg_star ? name != "count" : args.size() != wanted) {
    refuse(Errc::kUndefinedFunction, "function " + name + " does not take these arguments", call.location);
    return {};
  }
  Expression out{.type = oid::kInt8};
  const Oid type = args.empty() ? 0 : args[0].type;
  if (name == "count") {
    out.sql = call.agg_star ? "count(*)" : "count(" + distinct + args[0].sql + ")";
  } else if (name == "sum" || name == "avg") {
    set_parameter(args[0], oid::kFloat8);
    if (type != 0 && !is_number(type))
      refuse(Errc::kUndefinedFunction, "function " + name + "(" + std::string(type_name(type)) + ") does not exist",
             call.location);
    out.sql = name + "(" + distinct + args[0].sql + ")";
    if (name == "avg")
      out.type = oid::kFloat8;
    else
      out.type = is_integer(type)       ? oid::kInt8
                 : type == oid::kFloat4 ? oid::kFloat4
                 : type == 0            ? kSomeNumber
                                        : oid::kFloat8;
  } else if (name == "string_agg") {
    if (call.agg_distinct)
      refuse(Errc::kUndefinedFunction, "string_agg(DISTINCT …) is not supported; use a subquery", call.location);
    if (is_number(type) || type == oid::kBool)
      refuse(Errc::kUndefinedFunction,
             "function string_agg(" + std::string(type_name(type)) + ", …) does not exist; cast to text",
             call.location);
    out.sql = "pg_string_agg(" + args[0].sql + ", " + args[1].sql + ")";
    out.type = oid::kText;
  } else if (name == "min" || name == "max") {
    if (type == oid::kBool)
      refuse(Errc::kUndefinedFunction, "function " + name + "(boolean) does not exist; use bool_and or bool_or",
             call.location);
    out.sql = name + "(" + args[0].sql + ")";
    out.type = type == oid::kUnknown ? oid::kText : type;
  } else {
    set_parameter(args[0], oid::kBool);
    if (type != 0 && type != oid::kBool)
      refuse(Errc::kUndefinedFunction, "function " + name + "(" + std::string(type_name(type)) + ") does not exist",
             call.location);
    out.sql = (name == "bool_or" ? "max(" : "min(") + args[0].sql + ")";
    out.type = oid::kBool;
  }
  if (call.agg_filter != nullptr) out.sql += " FILTER (WHERE " + condition(call.agg_filter, "FILTER") + ")";
  if (call.over != nullptr) {
    if (call.agg_distinct)
      refuse(Errc::kUndefinedFunction, "DISTINCT is not implemented for window functions", call.location);
    if (name == "string_agg")
      refuse(Errc::kUndefinedFunction, "string_agg is not supported as a window function", call.location);
    out.sql += over(*call.over);
  }
  return out;
}

Expression Translator::special_function(const PgQuery__FuncCall& call, const std::string& name,
                                        std::vector<Expression>& args, bool& known) {
  known = true;
  if ((name == "round" || name == "trunc" || name == "ceil" || name == "ceiling" || name == "floor" ||
       name == "sign") &&
      (args.size() == 1 || (args.size() == 2 && (name == "round" || name == "trunc")))) {
    set_parameter(args[0], oid::kFloat8);
    args[0] = coerce_literal(std::move(args[0]), oid::kFloat8, call.location);
    const bool away = args[0].type == oid::kNumeric || args.size() == 2;
    std::string function = "pg_" + (name == "ceiling" ? "ceil" : name);
    if (name == "round" && away) function = "pg_roundn";
    return {.sql = function + "(" + list_sql(args) + ")",
            .type = args[0].type == oid::kNumeric ? oid::kNumeric : oid::kFloat8};
  }
  if (name == "concat" || name == "concat_ws") {
    for (Expression& e : args) {
      set_parameter(e, oid::kText);
      if (e.type == oid::kBool)
        e = {.sql = "(CASE " + e.sql + " WHEN 0 THEN 'f' WHEN 1 THEN 't' END)", .type = oid::kText};
      e = as_text(std::move(e));
    }
    return {.sql = "pg_" + name + "(" + list_sql(args) + ")", .type = oid::kText};
  }
  if (name == "nextval" && args.size() == 1) {
    if (!sequence_allowed_)
      refuse(Errc::kUndefinedFunction, "nextval is supported in DEFAULT and in the values of INSERT and UPDATE only",
             call.location);
    return {.sql = "pg_nextval(" + args[0].sql + ")", .type = oid::kInt8};
  }
  if (name == "pg_typeof" && args.size() == 1 && args[0].type != 0 && args[0].type != kSomeNumber)
    return {.sql = quote_text(type_name(args[0].type)), .type = oid::kText};
  if (name == "version" && args.empty())
    return {.sql = quote_text("PostgreSQL 15.0 compatible (Outlast " OUTLAST_VERSION ")"), .type = oid::kText};
  if (args.empty() && (name == "current_user" || name == "session_user" || name == "outlast_user"))
    return session_value(session_.user, call.location);
  if (args.empty() && (name == "current_database" || name == "current_catalog" || name == "outlast_database"))
    return session_value(session_.database, call.location);
  if (name == "outlast_node_id" && args.empty()) return {.sql = std::to_string(session_.node), .type = oid::kInt8};
  if (name == "current_schema" && args.empty()) return {.sql = "'public'", .type = oid::kName};
  if (name == "pg_is_in_recovery" && args.empty()) return {.sql = "0", .type = oid::kBool};
  known = false;
  return {};
}

Expression Translator::session_value(const std::string& value, int location) {
  if (in_ddl_expression_ || in_view_)
    refuse(Errc::kUndefinedFunction, "a value of the session cannot be used in a definition; write it in the statement",
           location);
  return {.sql = quote_text(value), .type = oid::kName};
}

std::string Translator::over(const PgQuery__WindowDef& window) {
  only(window, {"name", "refname", "partition_clause", "order_clause", "frame_options", "start_offset", "end_offset"});
  if (*window.name != 0) return " OVER " + quote_name(window.name);
  std::string sql = " OVER (";
  if (*window.refname != 0) sql += quote_name(window.refname) + " ";
  if (window.n_partition_clause > 0) {
    std::vector<std::string> parts;
    for (const Expression& e : exprs(PG_LIST(&window, partition_clause))) parts.push_back(e.sql);
    sql += "PARTITION BY " + join_list(parts, ", ") + " ";
  }
  if (window.n_order_clause > 0) sql += order_by(PG_LIST(&window, order_clause)) + " ";
  return sql + frame(window) + ")";
}

std::string Translator::frame(const PgQuery__WindowDef& window) {
  const int f = window.frame_options;
  if ((f & 0x1) == 0) return "";
  if ((f & 0x38000) != 0) refuse(Errc::kSyntax, "EXCLUDE in a window frame is not supported", window.location);
  std::string sql = (f & 0x2) != 0 ? "RANGE" : (f & 0x4) != 0 ? "ROWS" : "GROUPS";
  const auto bound = [&](int unbounded_before, int unbounded_after, int current, int before, const Node* offset) {
    if ((f & unbounded_before) != 0) return std::string("UNBOUNDED PRECEDING");
    if ((f & unbounded_after) != 0) return std::string("UNBOUNDED FOLLOWING");
    if ((f & current) != 0) return std::string("CURRENT ROW");
    return expr(offset).sql + ((f & before) != 0 ? " PRECEDING" : " FOLLOWING");
  };
  return sql + " BETWEEN " + bound(0x20, 0x80, 0x200, 0x800, window.start_offset) + " AND " +
         bound(0x40, 0x100, 0x400, 0x1000, window.end_offset);
}

}  // namespace outlast::sql
