#include "fragments/prune.h"

#include <charconv>

#include "fragments/time_key.h"

namespace outlast::fragments {
namespace {
using pgtree::Node;

std::optional<Value> literal(const PgQuery__AConst& c) {
  if (c.isnull) return executor::Null{};
  switch (c.val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
      return static_cast<std::int64_t>(c.ival->ival);
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
      return static_cast<std::int64_t>(c.boolval->boolval ? 1 : 0);
    case PG_QUERY__A__CONST__VAL_SVAL:
      return std::string(c.sval->sval);
    case PG_QUERY__A__CONST__VAL_FVAL: {
      const std::string_view text = c.fval->fval;
      std::int64_t whole = 0;
      auto end = std::from_chars(text.data(), text.data() + text.size(), whole);
      if (end.ec == std::errc() && end.ptr == text.data() + text.size()) return whole;
      double real = 0;
      end = std::from_chars(text.data(), text.data() + text.size(), real);
      if (end.ec == std::errc() && end.ptr == text.data() + text.size()) return real;
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

/// A constant as the cast leaves it, when that takes no conversion.
std::optional<Value> cast_constant(const Value& value, const std::string& type) {
  if (std::holds_alternative<executor::Null>(value)) return value;
  const bool integer = type == "int2" || type == "int4" || type == "int8";
  if (integer) {
    const Value out = with_affinity(KeyType::kInteger, value);
    return std::holds_alternative<std::int64_t>(out) ? std::optional(out) : std::nullopt;
  }
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  if (type == "text") return value;
  const bool date = parse_stored_time(*text, true).has_value();
  if (type == "date") return date ? std::optional(value) : std::nullopt;
  if (type != "timestamp" && type != "timestamptz") return std::nullopt;
  if (date) return Value(*text + " 00:00:00");
  return parse_stored_time(*text, false) ? std::optional(value) : std::nullopt;
}

enum class Comparison { kEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

std::optional<Comparison> comparison(const std::string& op, bool mirrored) {
  if (op == "=") return Comparison::kEqual;
  if (op == (mirrored ? ">" : "<")) return Comparison::kLess;
  if (op == (mirrored ? ">=" : "<=")) return Comparison::kLessEqual;
  if (op == (mirrored ? "<" : ">")) return Comparison::kGreater;
  if (op == (mirrored ? "<=" : ">=")) return Comparison::kGreaterEqual;
  return std::nullopt;
}

class Pruner {
 public:
  Pruner(const Table& table, const IsKey& is_key, std::span<const Value> parameters)
      : table_(table), is_key_(is_key), parameters_(parameters) {}

  std::vector<bool> condition(const Node* node) const {
    if (node == nullptr || !table_.scheme) return all(true);
    if (node->node_case == PG_NODE(BOOL_EXPR)) return combination(*node->bool_expr);
    if (node->node_case == PG_NODE(A_EXPR)) return expression(*node->a_expr);
    if (node->node_case == PG_NODE(NULL_TEST) && key(node->null_test->arg) &&
        node->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL)
      return table_.scheme->kind == Scheme::Kind::kHash ? only(executor::Null{}) : all(false);
    return all(true);
  }

 private:
  std::vector<bool> all(bool keep) const { return std::vector<bool>(table_.partitions.size(), keep); }
  bool key(const Node* node) const {
    return node != nullptr && node->node_case == PG_NODE(COLUMN_REF) && is_key_(*node->column_ref);
  }

  std::vector<bool> combination(const PgQuery__BoolExpr& e) const {
    if (e.boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR) return all(true);
    const bool conjunction = e.boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR;
    std::vector<bool> out = all(conjunction);
    for (const Node* arg : PG_LIST(&e, args)) {
      const std::vector<bool> one = condition(arg);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = conjunction ? out[i] && one[i] : out[i] || one[i];
    }
    return out;
  }

  std::vector<bool> expression(const PgQuery__AExpr& e) const {
    const auto names = pgtree::strings(PG_LIST(&e, name));
    const std::string op = names.empty() ? "" : names.back();
    if (e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP && e.lexpr != nullptr && e.rexpr != nullptr) {
      const bool left = key(e.lexpr), right = key(e.rexpr);
      const auto how = comparison(op, right);
      if (left == right || !how) return all(true);
      return compared(*how, left ? *e.rexpr : *e.lexpr);
    }
    if (!key(e.lexpr) || e.rexpr == nullptr || e.rexpr->node_case != PG_NODE(LIST)) return all(true);
    const auto items = PG_LIST(e.rexpr->list, items);
    if (e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_IN && op == "=") {
      std::vector<bool> out = all(false);
      for (const Node* item : items) {
        const std::vector<bool> one = compared(Comparison::kEqual, *item);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = out[i] || one[i];
      }
      return out;
    }
    if (e.kind == PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN && items.size() == 2) {
      std::vector<bool> out = compared(Comparison::kGreaterEqual, *items[0]);
      const std::vector<bool> upper = compared(Comparison::kLessEqual, *items[1]);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = out[i] && upper[i];
      return out;
    }
    return all(true);
  }

  std::vector<bool> compared(Comparison how, const Node& other) const {
    const auto value = constant_value(other, parameters_);
    if (!value) return all(true);
    if (std::holds_alternative<executor::Null>(*value)) return all(false);  // never true
    if (table_.scheme->kind == Scheme::Kind::kHash) return how == Comparison::kEqual ? only(*value) : all(true);
    const Value stored = with_affinity(table_.scheme->type, *value);
    const auto* text = std::get_if<std::string>(&stored);
    if (text == nullptr) return all(true);
    std::vector<bool> out = all(true);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = may_hold(table_.partitions[i].slot, how, *text);
    return out;
  }

  /// Keys of a RANGE partition are stored forms from first_key to last_key, whose order as texts is that of the times.
  bool may_hold(Slot slot, Comparison how, const std::string& value) const {
    const std::string first = table_.scheme->first_key(slot), last = table_.scheme->last_key(slot);
    switch (how) {
      case Comparison::kEqual:
        return first <= value && value <= last;
      case Comparison::kLess:
        return first < value;
      case Comparison::kLessEqual:
        return first <= value;
      case Comparison::kGreater:
        return last > value;
      case Comparison::kGreaterEqual:
        return last >= value;
    }
    return true;
  }

  std::vector<bool> only(const Value& value) const {
    const Result<Slot> slot = table_.scheme->slot_of(value);
    if (!slot.ok()) return all(true);
    std::vector<bool> out = all(false);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = table_.partitions[i].slot == *slot;
    return out;
  }

  const Table& table_;
  const IsKey& is_key_;
  std::span<const Value> parameters_;
};

}  // namespace

std::optional<Value> constant_value(const Node& expression, std::span<const Value> parameters) {
  switch (expression.node_case) {
    case PG_NODE(A_CONST):
      return literal(*expression.a_const);
    case PG_NODE(PARAM_REF): {
      const int number = expression.param_ref->number;
      if (number < 1 || static_cast<std::size_t>(number) > parameters.size()) return std::nullopt;
      return parameters[static_cast<std::size_t>(number) - 1];
    }
    case PG_NODE(TYPE_CAST): {
      const auto& cast = *expression.type_cast;
      if (cast.arg == nullptr || cast.arg->node_case == PG_NODE(TYPE_CAST) || cast.type_name->n_typmods > 0 ||
          cast.type_name->n_array_bounds > 0)
        return std::nullopt;
      const auto value = constant_value(*cast.arg, parameters);
      const auto names = pgtree::strings(PG_LIST(cast.type_name, names));
      return value && !names.empty() ? cast_constant(*value, names.back()) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::vector<bool> prune(const Table& table, const Node* condition, const IsKey& is_key,
                        std::span<const Value> parameters) {
  return Pruner(table, is_key, parameters).condition(condition);
}

std::vector<Partition> chosen(const Table& table, const std::vector<bool>& keep) {
  std::vector<Partition> out;
  for (std::size_t i = 0; i < keep.size(); ++i)
    if (keep[i]) out.push_back(table.partitions[i]);
  return out;
}

}  // namespace outlast::fragments
