#include "sql/types.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace outlast::sql {
namespace {

struct Facts {
  Oid oid;
  std::int16_t length;
  std::string_view name;
};
constexpr std::array kFacts = {
    Facts{oid::kBool, 1, "boolean"},
    Facts{oid::kBytea, -1, "bytea"},
    Facts{oid::kChar, 1, "\"char\""},
    Facts{oid::kName, 64, "name"},
    Facts{oid::kInt8, 8, "bigint"},
    Facts{oid::kInt2, 2, "smallint"},
    Facts{oid::kInt4, 4, "integer"},
    Facts{oid::kRegproc, 4, "regproc"},
    Facts{oid::kText, -1, "text"},
    Facts{oid::kOid, 4, "oid"},
    Facts{oid::kJson, -1, "json"},
    Facts{oid::kFloat4, 4, "real"},
    Facts{oid::kFloat8, 8, "double precision"},
    Facts{oid::kUnknown, -2, "unknown"},
    Facts{oid::kBpchar, -1, "character"},
    Facts{oid::kVarchar, -1, "character varying"},
    Facts{oid::kDate, 4, "date"},
    Facts{oid::kTime, 8, "time without time zone"},
    Facts{oid::kTimestamp, 8, "timestamp without time zone"},
    Facts{oid::kTimestamptz, 8, "timestamp with time zone"},
    Facts{oid::kNumeric, -1, "numeric"},
    Facts{oid::kUuid, 16, "uuid"},
    Facts{oid::kJsonb, -1, "jsonb"},
    Facts{oid::kRegclass, 4, "regclass"},
    Facts{oid::kRegtype, 4, "regtype"},
};

struct Name {
  std::string_view name;
  Oid oid;
};
/// Names in declarations, in PostgreSQL's and in the catalog's spelling.
constexpr std::array kNames = {
    Name{"smallint", oid::kInt2},
    Name{"int2", oid::kInt2},
    Name{"smallserial", oid::kInt2},
    Name{"serial2", oid::kInt2},
    Name{"integer", oid::kInt4},
    Name{"int", oid::kInt4},
    Name{"int4", oid::kInt4},
    Name{"serial", oid::kInt4},
    Name{"serial4", oid::kInt4},
    Name{"bigint", oid::kInt8},
    Name{"int8", oid::kInt8},
    Name{"bigserial", oid::kInt8},
    Name{"serial8", oid::kInt8},
    Name{"real", oid::kFloat4},
    Name{"float4", oid::kFloat4},
    Name{"double precision", oid::kFloat8},
    Name{"float8", oid::kFloat8},
    Name{"float", oid::kFloat8},
    Name{"boolean", oid::kBool},
    Name{"bool", oid::kBool},
    Name{"text", oid::kText},
    Name{"varchar", oid::kVarchar},
    Name{"character varying", oid::kVarchar},
    Name{"char", oid::kBpchar},
    Name{"character", oid::kBpchar},
    Name{"bpchar", oid::kBpchar},
    Name{"bytea", oid::kBytea},
    Name{"bytea blob", oid::kBytea},
    Name{"blob", oid::kBytea},
    Name{"date", oid::kDate},
    Name{"date text", oid::kDate},
    Name{"time", oid::kTime},
    Name{"time text", oid::kTime},
    Name{"time without time zone", oid::kTime},
    Name{"timestamp", oid::kTimestamp},
    Name{"timestamp text", oid::kTimestamp},
    Name{"timestamp without time zone", oid::kTimestamp},
    Name{"timestamptz", oid::kTimestamptz},
    Name{"timestamptz text", oid::kTimestamptz},
    Name{"timestamp with time zone", oid::kTimestamptz},
    Name{"uuid", oid::kUuid},
    Name{"uuid text", oid::kUuid},
    Name{"json", oid::kJson},
    Name{"json text", oid::kJson},
    Name{"jsonb", oid::kJsonb},
    Name{"jsonb text", oid::kJsonb},
    Name{"name", oid::kName},
    Name{"oid", oid::kOid},
};

/// Takes "(22)" or "(10,2)" out of `text`; the first number, -1 when there is none.
std::int32_t take_modifier(std::string& text) {
  const auto open = text.find('(');
  if (open == std::string::npos) return -1;
  const auto close = text.find(')', open);
  if (close == std::string::npos) return -1;
  std::int32_t n = -1;
  std::from_chars(text.data() + open + 1, text.data() + close, n);
  text.erase(open, close - open + 1);
  return n;
}

std::string normal_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c))) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::optional<PgType> type_of_declaration(std::string_view declaration) {
  std::string text(declaration);
  const std::int32_t modifier = take_modifier(text);
  text = normal_spaces(text);
  for (const Name& n : kNames) {
    if (n.name != text) continue;
    PgType type{n.oid, -1};
    if (n.oid == oid::kVarchar || n.oid == oid::kBpchar) {
      if (modifier >= 0)
        type.typmod = modifier + 4;
      else if (n.oid == oid::kBpchar && text != "bpchar")
        type.typmod = 5;  // char is char(1)
    }
    if (text == "float" && modifier >= 1 && modifier <= 24) type.oid = oid::kFloat4;
    return type;
  }
  return std::nullopt;
}

std::int16_t type_length(Oid type) {
  for (const Facts& f : kFacts)
    if (f.oid == type) return f.length;
  return -1;
}

std::string_view type_name(Oid type) {
  for (const Facts& f : kFacts)
    if (f.oid == type) return f.name;
  return "text";
}

Oid type_of_value(const executor::Value& value) {
  if (std::holds_alternative<std::int64_t>(value)) return oid::kInt8;
  if (std::holds_alternative<double>(value)) return oid::kFloat8;
  if (std::holds_alternative<executor::Blob>(value)) return oid::kBytea;
  return oid::kText;
}

}  // namespace outlast::sql
