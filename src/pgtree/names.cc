#include "pgtree/names.h"

namespace outlast::pgtree {

std::string quote_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string quote_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

std::string join_list(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) out += separator;
    out += part;
  }
  return out;
}

std::string target_name(const Node* node) {
  switch (node == nullptr ? PG_QUERY__NODE__NODE__NOT_SET : node->node_case) {
    case PG_NODE(COLUMN_REF): {
      const auto fields = strings(PG_LIST(node->column_ref, fields));
      return fields.empty() ? "?column?" : fields.back();
    }
    case PG_NODE(FUNC_CALL):
      return strings(PG_LIST(node->func_call, funcname)).back();
    case PG_NODE(TYPE_CAST): {
      const std::string name = target_name(node->type_cast->arg);
      return name == "?column?" ? strings(PG_LIST(node->type_cast->type_name, names)).back() : name;
    }
    case PG_NODE(COLLATE_CLAUSE):
      return target_name(node->collate_clause->arg);
    case PG_NODE(A_INDIRECTION):
      return target_name(node->a_indirection->arg);
    case PG_NODE(A_EXPR):
      return node->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF ? "nullif" : "?column?";
    case PG_NODE(CASE_EXPR): {
      const std::string name = target_name(node->case_expr->defresult);
      return name == "?column?" ? "case" : name;
    }
    case PG_NODE(COALESCE_EXPR):
      return "coalesce";
    case PG_NODE(MIN_MAX_EXPR):
      return node->min_max_expr->op == PG_QUERY__MIN_MAX_OP__IS_GREATEST ? "greatest" : "least";
    case PG_NODE(A_ARRAY_EXPR):
      return "array";
    case PG_NODE(ROW_EXPR):
      return "row";
    case PG_NODE(SQLVALUE_FUNCTION): {
      static constexpr const char* kNames[] = {
          "",          "current_date", "current_time",    "current_time",   "current_timestamp", "current_timestamp",
          "localtime", "localtime",    "localtimestamp",  "localtimestamp", "current_role",      "current_user",
          "user",      "session_user", "current_catalog", "current_schema"};
      return kNames[node->sqlvalue_function->op];
    }
    case PG_NODE(SUB_LINK): {
      const auto& link = *node->sub_link;
      if (link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK) return "exists";
      if (link.sub_link_type == PG_QUERY__SUB_LINK_TYPE__ARRAY_SUBLINK) return "array";
      if (link.sub_link_type != PG_QUERY__SUB_LINK_TYPE__EXPR_SUBLINK ||
          link.subselect->node_case != PG_NODE(SELECT_STMT) || link.subselect->select_stmt->n_target_list == 0)
        return "?column?";
      const auto& target = *link.subselect->select_stmt->target_list[0]->res_target;
      return *target.name != 0 ? target.name : target_name(target.val);
    }
    default:
      return "?column?";
  }
}

}  // namespace outlast::pgtree
