#include <array>

#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

struct TypeWord {
  std::string_view name;
  Oid oid;
  bool serial{false};
};
constexpr std::array kTypeWords = {
    TypeWord{"int2", oid::kInt2},
    TypeWord{"int4", oid::kInt4},
    TypeWord{"int8", oid::kInt8},
    TypeWord{"smallserial", oid::kInt2, true},
    TypeWord{"serial2", oid::kInt2, true},
    TypeWord{"serial", oid::kInt4, true},
    TypeWord{"serial4", oid::kInt4, true},
    TypeWord{"bigserial", oid::kInt8, true},
    TypeWord{"serial8", oid::kInt8, true},
    TypeWord{"float4", oid::kFloat4},
    TypeWord{"float8", oid::kFloat8},
    TypeWord{"bool", oid::kBool},
    TypeWord{"text", oid::kText},
    TypeWord{"varchar", oid::kVarchar},
    TypeWord{"bpchar", oid::kBpchar},
    TypeWord{"bytea", oid::kBytea},
    TypeWord{"date", oid::kDate},
    TypeWord{"time", oid::kTime},
    TypeWord{"timestamp", oid::kTimestamp},
    TypeWord{"timestamptz", oid::kTimestamptz},
    TypeWord{"uuid", oid::kUuid},
    TypeWord{"json", oid::kJson},
    TypeWord{"jsonb", oid::kJsonb},
    TypeWord{"numeric", oid::kNumeric},
    TypeWord{"name", oid::kName},
    TypeWord{"oid", oid::kOid},
    TypeWord{"regclass", oid::kRegclass},
    TypeWord{"regtype", oid::kRegtype},
    TypeWord{"char", oid::kChar},
    TypeWord{"regproc", oid::kRegproc},
    TypeWord{"regnamespace", oid::kUnknown},
    TypeWord{"regrole", oid::kUnknown},
};

std::string cast_function(Oid type, bool from_numeric) {
  switch (type) {
    case oid::kInt2:
      return from_numeric ? "pg_int2n(" : "pg_int2(";
    case oid::kInt4:
      return from_numeric ? "pg_int4n(" : "pg_int4(";
    case oid::kInt8:
      return from_numeric ? "pg_int8n(" : "pg_int8(";
    case oid::kOid:
      return "pg_oid(";
    case oid::kFloat4:
      return "pg_float4(";
    case oid::kFloat8:
      return "pg_float8(";
    case oid::kBool:
      return "pg_bool(";
    case oid::kDate:
      return "pg_date(";
    case oid::kTime:
      return "pg_time(";
    case oid::kTimestamp:
      return "pg_timestamp(";
    case oid::kTimestamptz:
      return "pg_timestamptz(";
    case oid::kUuid:
      return "pg_uuid(";
    case oid::kBytea:
      return "pg_bytea(";
    case oid::kJson:
    case oid::kJsonb:
      return "pg_json(";
    default:
      return "";
  }
}

}  // namespace

bool is_integer(Oid t) {
  return t == oid::kInt2 || t == oid::kInt4 || t == oid::kInt8 || t == oid::kOid;
}
bool is_number(Oid t) {
  return is_integer(t) || t == oid::kFloat4 || t == oid::kFloat8 || t == oid::kNumeric || t == kSomeNumber;
}
bool is_text(Oid t) {
  return t == oid::kText || t == oid::kVarchar || t == oid::kBpchar || t == oid::kName || t == oid::kChar;
}
bool is_time(Oid t) {
  return t == oid::kDate || t == oid::kTime || t == oid::kTimestamp || t == oid::kTimestamptz;
}

std::optional<Translator::ResolvedType> Translator::resolve_type(const PgQuery__TypeName& type) {
  only(type, {"names", "typmods", "typemod", "array_bounds"});
  auto names = tree::strings(PG_LIST(&type, names));
  if (names.size() == 2 && (names[0] == "pg_catalog" || names[0] == "public")) names.erase(names.begin());
  const std::string name = names.size() == 1 ? names[0] : join_list(names, ".");
  ResolvedType out;
  const TypeWord* word = nullptr;
  for (const TypeWord& w : kTypeWords)
    if (w.name == name) word = &w;
  if (word == nullptr) {
    const bool interval = name == "interval";
    refuse(Errc::kUndefinedObject,
           interval ? "type \"interval\" is not supported; calculate with dates and integers, or in the application"
                    : "type \"" + name + "\" does not exist in Outlast; docs/sql.md lists the types",
           type.location);
    return std::nullopt;
  }
  out.oid = word->oid, out.serial = word->serial, out.array = type.n_array_bounds > 0;
  if (type.n_typmods > 0) {
    const Node* first = type.typmods[0];
    const bool number =
        first->node_case == PG_NODE(A_CONST) && first->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL;
    const int n = number ? first->a_const->ival->ival : -1;
    if (out.oid == oid::kVarchar || out.oid == oid::kBpchar) {
      if (n < 1 || n > 10'485'760 || type.n_typmods > 1)
        refuse(Errc::kInvalidArgument, "length for type " + name + " must be between 1 and 10485760", type.location);
      out.typmod = n + 4;
    } else if (out.oid == oid::kTimestamp || out.oid == oid::kTimestamptz || out.oid == oid::kTime) {
      if (n != 6)
        refuse(Errc::kUndefinedObject, "times are kept with 6 digits; leave the precision out", type.location);
    } else if (out.oid != oid::kNumeric) {
      refuse(Errc::kSyntax, "type modifier is not allowed for type \"" + name + "\"", type.location);
    }
  }
  return out;
}

Expression Translator::cast(const PgQuery__TypeCast& e) {
  only(e, {"arg", "type_name"});
  const auto type = resolve_type(*e.type_name);
  if (!type) return {};
  if (type->array) {
    if (reads_catalog_) return expr(e.arg);
    refuse(Errc::kUndefinedObject, "array types are not supported except in = ANY (…)", e.location);
    return {};
  }
  if (type->serial) refuse(Errc::kUndefinedObject, "serial is a type of columns only; cast to an integer", e.location);
  Expression arg = expr(e.arg);
  if (type->oid == oid::kUnknown && !failed()) {
    // regnamespace, regrole: of the catalog only; shown by name.
    const auto names = tree::strings(PG_LIST(e.type_name, names));
    if (names.back() == "regrole") return {.sql = "outlast_user()", .type = oid::kName};
    reads_catalog_ = true;
    return {.sql = "(SELECT outlast_name FROM pg_catalog.outlast_namespace WHERE outlast_oid = " + arg.sql + ")",
            .type = oid::kName};
  }
  return cast_to(std::move(arg), *type, e.location);
}

Expression Translator::regclass_cast(Expression e) {
  reads_catalog_ = true;
  if (e.literal && (e.literal->empty() || e.literal->find_first_not_of("0123456789") != std::string::npos)) {
    std::string name = *e.literal;
    if (name.starts_with("public.")) name.erase(0, 7);
    if (name.starts_with("pg_catalog.")) name.erase(0, 11);
    if (name.size() > 1 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
    e.sql =
        "pg_must_exist((SELECT outlast_oid FROM pg_catalog.outlast_relation WHERE outlast_name = " + quote_text(name) +
        "), " + quote_text(name) + ")";
  } else if (e.literal) {
    e.sql = *e.literal;
  } else if (is_text(e.type) || e.parameter != 0) {
    e.sql = "(SELECT outlast_oid FROM pg_catalog.outlast_relation WHERE outlast_name = " + e.sql + ")";
  }
  e.type = oid::kRegclass, e.literal.reset(), e.column = false, e.parameter = 0;
  return e;
}

Expression Translator::cast_to(Expression e, const ResolvedType& type, int location) {
  if (type.oid == oid::kRegclass) return regclass_cast(std::move(e));
  if (type.oid == oid::kNumeric) {
    refuse(Errc::kUndefinedObject,
           "type \"numeric\" is not supported: Outlast would calculate it inexactly; use bigint "
           "(for example cents) or double precision",
           location);
    return e;
  }
  if (type.oid == oid::kRegtype || type.oid == oid::kRegproc) return e.type = type.oid, e;
  set_parameter(e, type.oid);
  if (e.literal && e.type == oid::kUnknown && !is_text(type.oid)) {
    e = coerce_literal(std::move(e), type.oid, location);
    e.type = type.oid;
    if ((type.oid == oid::kJson || type.oid == oid::kJsonb)) e.sql = "pg_json(" + e.sql + ")";
    e.literal.reset();
    return e;
  }
  Expression out{.type = type.oid, .typmod = type.typmod};
  if (is_text(type.oid)) {
    out.sql = as_text(std::move(e)).sql;
    if (type.typmod > 4) {
      out.sql = "substr(" + out.sql + ", 1, " + std::to_string(type.typmod - 4) + ")";
      if (type.oid == oid::kBpchar) out.sql = "rtrim(" + out.sql + ")";
    }
    return out;
  }
  if (e.type == type.oid && e.parameter == 0) return e.typmod = type.typmod, e.column = false, e;
  const bool numeric = e.type == oid::kNumeric;
  const bool wrong = (is_time(type.oid) && (is_number(e.type) || e.type == oid::kBool)) ||
                     (e.type == oid::kBool && is_number(type.oid) && type.oid != oid::kInt4) ||
                     (is_time(e.type) && is_number(type.oid)) ||
                     (type.oid == oid::kBool && is_number(e.type) && e.type != oid::kInt4 && e.type != kSomeNumber);
  if (wrong && !failed())
    refuse(Errc::kDatatypeMismatch,
           "cannot cast type " + std::string(type_name(e.type)) + " to " + std::string(type_name(type.oid)), location);
  if (type.oid == oid::kTime && (e.type == oid::kTimestamp || e.type == oid::kTimestamptz)) {
    out.sql = "substr(" + e.sql + ", 12)";
    return out;
  }
  const std::string function = cast_function(type.oid, numeric);
  out.sql = function.empty() ? e.sql : function + e.sql + ")";
  return out;
}

}  // namespace outlast::sql
