#include "fragments/scope.h"

#include <algorithm>
#include <array>

namespace outlast::fragments {
namespace {
using pgtree::Node;

constexpr std::array<std::string_view, 9> kAggregates = {"count",      "sum",      "avg",     "min",  "max",
                                                         "string_agg", "bool_and", "bool_or", "every"};
/// Never fail, whatever text or number they get.
constexpr std::array<std::string_view, 12> kSafeFunctions = {
    "length", "char_length", "character_length", "octet_length", "lower",      "upper", "btrim",
    "ltrim",  "rtrim",       "strpos",           "position",     "starts_with"};
constexpr std::array<std::string_view, 19> kFallibleFunctions = {
    "substr", "substring", "replace", "left", "right", "lpad",  "rpad",    "reverse", "split_part", "ascii",
    "abs",    "mod",       "div",     "sqrt", "round", "trunc", "ceiling", "ceil",    "floor"};

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

/// The name of a function of PostgreSQL's own schema; empty for any other.
std::string function_name(const PgQuery__FuncCall& call) {
  auto names = pgtree::strings(PG_LIST(&call, funcname));
  if (names.size() == 2 && names[0] == "pg_catalog") names.erase(names.begin());
  return names.size() == 1 ? names[0] : "";
}

Purity worse(Purity a, Purity b) {
  return std::max(a, b);
}

Purity children(const Node& node, bool aggregates) {
  Purity out = Purity::kSafe;
  pgtree::for_each_child(*pgtree::inner(&node),
                         [&](const Node& child) { out = worse(out, purity(child, aggregates)); });
  return out;
}

Purity operator_purity(const PgQuery__AExpr& e) {
  const auto names = pgtree::strings(PG_LIST(&e, name));
  switch (e.kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF:
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
      return Purity::kSafe;
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP: {
      static constexpr std::array<std::string_view, 8> kSafe = {"=", "<>", "!=", "<", ">", "<=", ">=", "||"};
      static constexpr std::array<std::string_view, 5> kFallible = {"+", "-", "*", "/", "%"};
      if (names.size() == 1 && contains(kSafe, names[0])) return Purity::kSafe;
      return names.size() == 1 && contains(kFallible, names[0]) ? Purity::kFallible : Purity::kNo;
    }
    default:
      return Purity::kNo;
  }
}

Purity call_purity(const PgQuery__FuncCall& call, bool aggregates) {
  const std::string name = function_name(call);
  if (call.over != nullptr || call.n_agg_order > 0 || call.func_variadic || call.agg_within_group) return Purity::kNo;
  if (contains(kAggregates, name)) return aggregates ? Purity::kFallible : Purity::kNo;
  if (call.agg_star || call.agg_distinct || call.agg_filter != nullptr) return Purity::kNo;
  if (contains(kSafeFunctions, name)) return Purity::kSafe;
  return contains(kFallibleFunctions, name) ? Purity::kFallible : Purity::kNo;
}

bool any_below(const Node& node, const std::function<bool(const Node&)>& is) {
  if (is(node)) return true;
  if (pgtree::inner(&node) == nullptr) return false;
  bool found = false;
  pgtree::for_each_child(*pgtree::inner(&node), [&](const Node& child) { found = found || any_below(child, is); });
  return found;
}

}  // namespace

const Source* Scope::owner(const PgQuery__ColumnRef& reference) const {
  const auto names = pgtree::strings(PG_LIST(&reference, fields));
  if (names.size() != reference.n_fields) return nullptr;  // a star
  const Source* out = nullptr;
  if (names.size() == 2) {
    for (const Source& source : sources)
      if (source.alias == names[0] && source.table->column(names[1]) != nullptr) out = &source;
    return out;
  }
  if (names.size() != 1 || opaque) return nullptr;
  for (const Source& source : sources) {
    if (source.table->column(names[0]) == nullptr) continue;
    if (out != nullptr) return nullptr;
    out = &source;
  }
  return out;
}

bool Scope::owns(const Source& source, const Node& node) const {
  return !any_below(node, [&](const Node& child) {
    return child.node_case == PG_NODE(COLUMN_REF) && owner(*child.column_ref) != &source;
  });
}

Purity purity(const Node& node, bool aggregates) {
  switch (node.node_case) {
    case PG_NODE(A_CONST):
    case PG_NODE(PARAM_REF):
    case PG_NODE(STRING):
      return Purity::kSafe;
    case PG_NODE(COLUMN_REF): {
      const auto& ref = *node.column_ref;
      return pgtree::strings(PG_LIST(&ref, fields)).size() == ref.n_fields ? Purity::kSafe : Purity::kNo;
    }
    case PG_NODE(LIST):
    case PG_NODE(BOOL_EXPR):
    case PG_NODE(NULL_TEST):
    case PG_NODE(BOOLEAN_TEST):
    case PG_NODE(COALESCE_EXPR):
    case PG_NODE(MIN_MAX_EXPR):
    case PG_NODE(CASE_EXPR):
    case PG_NODE(CASE_WHEN):
      return children(node, aggregates);
    case PG_NODE(A_EXPR):
      return worse(operator_purity(*node.a_expr), children(node, aggregates));
    case PG_NODE(TYPE_CAST): {  // of a constant: done once, before anything runs
      const Node* arg = node.type_cast->arg;
      if (arg == nullptr) return Purity::kNo;
      return arg->node_case == PG_NODE(A_CONST) ? Purity::kSafe : worse(Purity::kFallible, purity(*arg, aggregates));
    }
    case PG_NODE(FUNC_CALL):
      return worse(call_purity(*node.func_call, aggregates), children(node, aggregates));
    default:
      return Purity::kNo;
  }
}

bool is_aggregate(const PgQuery__FuncCall& call) {
  return call.over == nullptr && contains(kAggregates, function_name(call));
}

bool has_aggregate(const Node& node) {
  if (node.node_case == PG_NODE(SUB_LINK)) return false;
  if (node.node_case == PG_NODE(FUNC_CALL) && is_aggregate(*node.func_call)) return true;
  if (pgtree::inner(&node) == nullptr) return false;
  bool found = false;
  pgtree::for_each_child(*pgtree::inner(&node), [&](const Node& child) { found = found || has_aggregate(child); });
  return found;
}

bool has_window(const Node& node) {
  return any_below(node, [](const Node& child) {
    return child.node_case == PG_NODE(FUNC_CALL) && child.func_call->over != nullptr;
  });
}

bool has_subquery(const Node& node) {
  return any_below(node, [](const Node& child) { return child.node_case == PG_NODE(SUB_LINK); });
}

std::vector<const Node*> conjuncts(const Node* condition) {
  if (condition == nullptr) return {};
  if (condition->node_case != PG_NODE(BOOL_EXPR) || condition->bool_expr->boolop != PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR)
    return {condition};
  std::vector<const Node*> out;
  for (const Node* arg : PG_LIST(condition->bool_expr, args)) {
    const auto parts = conjuncts(arg);
    out.insert(out.end(), parts.begin(), parts.end());
  }
  return out;
}

}  // namespace outlast::fragments
