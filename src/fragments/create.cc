#include "fragments/create.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <span>
#include <vector>

#include "fragments/partitioned.h"
#include "pgtree/parse.h"

namespace outlast::fragments {
namespace {
using pgtree::Node;

struct Token {
  PgQuery__Token kind;
  std::size_t start, end;
};

/// libpg_query's tokens; empty when the text has none or is wrong.
std::vector<Token> scan(const std::string& text) {
  std::vector<Token> out;
  PgQueryScanResult result = pg_query_scan(text.c_str());
  if (result.error == nullptr) {
    PgQuery__ScanResult* scan = pg_query__scan_result__unpack(nullptr, result.pbuf.len,
                                                              reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
    for (std::size_t i = 0; scan != nullptr && i < scan->n_tokens; ++i) {
      const auto& token = *scan->tokens[i];
      if (token.token != PG_QUERY__TOKEN__SQL_COMMENT && token.token != PG_QUERY__TOKEN__C_COMMENT)
        out.push_back({token.token, static_cast<std::size_t>(token.start), static_cast<std::size_t>(token.end)});
    }
    if (scan != nullptr) pg_query__scan_result__free_unpacked(scan, nullptr);
  }
  pg_query_free_scan_result(result);
  return out;
}

/// The index of the PARTITION of PARTITION BY outside of all parentheses; the number of tokens when there is none.
std::size_t find_clause(const std::vector<Token>& tokens) {
  int depth = 0;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    depth += tokens[i].kind == PG_QUERY__TOKEN__ASCII_40;
    depth -= tokens[i].kind == PG_QUERY__TOKEN__ASCII_41;
    if (depth == 0 && tokens[i].kind == PG_QUERY__TOKEN__PARTITION && tokens[i + 1].kind == PG_QUERY__TOKEN__BY)
      return i;
  }
  return tokens.size();
}

/// A token in lower case, without the quotes of a text.
std::string word(const std::string& text, const Token& token) {
  std::string out = text.substr(token.start, token.end - token.start);
  if (token.kind == PG_QUERY__TOKEN__SCONST && out.size() > 1) out = out.substr(1, out.size() - 2);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

struct Tail {
  std::string partitions, interval, ttl;
};

/// What follows `BY HASH (column)`: words after PARTITIONS, INTERVAL and TTL.
Result<Tail> read_tail(const std::string& text, std::span<const Token> tokens) {
  Tail out;
  std::string* into = nullptr;
  for (const Token& token : tokens) {
    const std::string next = word(text, token);
    const bool named = token.kind != PG_QUERY__TOKEN__SCONST;
    if (named && next == "partitions" && out.partitions.empty())
      into = &out.partitions;
    else if (named && next == "interval" && into != &out.ttl && out.interval.empty())
      into = &out.interval;
    else if (named && next == "ttl" && out.ttl.empty())
      into = &out.ttl;
    else if (named && next == "interval" && into == &out.ttl && out.ttl.empty())
      continue;  // TTL INTERVAL '1 day'
    else if (into == nullptr || next == "partitions" || next == "ttl")
      return Error(Errc::kSyntax, "syntax error at \"" + next +
                                      "\"; write PARTITION BY HASH (column) PARTITIONS n, or PARTITION BY RANGE "
                                      "(column) INTERVAL '1 day' TTL '90 days', at the end of the statement");
    else
      *into += (into->empty() ? "" : " ") + next;
  }
  return out;
}

struct KeyColumn {
  KeyType type{};
  bool not_null{false};
};

/// The partition column as the statement defines it.
Result<KeyColumn> key_column(const PgQuery__CreateStmt& stmt, const Scheme& scheme) {
  std::optional<KeyColumn> out;
  for (const Node* node : PG_LIST(&stmt, table_elts)) {
    if (node->node_case != PG_NODE(COLUMN_DEF) || node->column_def->colname != scheme.column) continue;
    const auto& column = *node->column_def;
    const std::string name = column.type_name == nullptr || column.type_name->n_names == 0
                                 ? ""
                                 : pgtree::strings(PG_LIST(column.type_name, names)).back();
    const auto type = key_type(name);
    if (!type || column.type_name->n_array_bounds > 0)
      return Error(Errc::kDatatypeMismatch, "a table cannot be partitioned by column " + in_quotes(scheme.column) +
                                                " of type " + name +
                                                "; use an integer, text, uuid, boolean, bytea, date or timestamp");
    out = KeyColumn{*type, false};
    for (const Node* c : PG_LIST(&column, constraints))
      out->not_null = out->not_null || c->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_NOTNULL ||
                      c->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;
  }
  if (!out)
    return Error(Errc::kUndefinedColumn,
                 "column " + in_quotes(scheme.column) + " named in partition key does not exist");
  for (const Node* node : PG_LIST(&stmt, table_elts))
    if (node->node_case == PG_NODE(CONSTRAINT) && node->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY &&
        names_key(*node->constraint, scheme.column))
      out->not_null = true;
  return *out;
}

Result<Scheme> hash_scheme(Scheme scheme, const Tail& tail) {
  if (!tail.interval.empty() || !tail.ttl.empty())
    return Error(Errc::kSyntax, "INTERVAL and TTL belong to PARTITION BY RANGE");
  const std::string& text = tail.partitions;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), scheme.partitions);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || scheme.partitions < 1 ||
      scheme.partitions > Scheme::kPartitionsMax)
    return Error(Errc::kInvalidArgument, "PARTITION BY HASH needs a number of partitions from 1 to " +
                                             std::to_string(Scheme::kPartitionsMax) + ": PARTITIONS 8");
  return scheme;
}

Result<Scheme> range_scheme(Scheme scheme, const Tail& tail, const KeyColumn& key) {
  constexpr std::int64_t kDay = 86'400'000'000;
  const std::string column = "column " + in_quotes(scheme.column);
  if (!tail.partitions.empty()) return Error(Errc::kSyntax, "PARTITIONS belongs to PARTITION BY HASH");
  if (key.type != KeyType::kDate && key.type != KeyType::kTimestamp)
    return Error(Errc::kDatatypeMismatch,
                 "PARTITION BY RANGE needs a date or timestamp; " + column + " is none: use PARTITION BY HASH");
  if (!key.not_null)
    return Error(Errc::kSyntax, column + " must be NOT NULL: a row without a time belongs to no partition");
  if (tail.interval.empty())
    return Error(Errc::kSyntax, "PARTITION BY RANGE needs the length of a partition: INTERVAL '1 day'");
  ASSIGN_OR_RETURN(scheme.interval, parse_interval(tail.interval));
  if (key.type == KeyType::kDate && scheme.interval.micros % kDay != 0)
    return Error(Errc::kInvalidArgument, column + " is a date: a partition cannot be shorter than its days");
  if (!tail.ttl.empty()) {
    ASSIGN_OR_RETURN(scheme.ttl, parse_interval(tail.ttl));
  }
  return scheme;
}

Result<Scheme> read_scheme(const PgQuery__CreateStmt& stmt, const Tail& tail) {
  const auto& spec = *stmt.partspec;
  std::string strategy = spec.strategy;
  std::ranges::transform(strategy, strategy.begin(), [](unsigned char c) { return std::tolower(c); });
  if (strategy != "hash" && strategy != "range")
    return Error(Errc::kSyntax, "PARTITION BY " + strategy + " is not supported; use HASH or RANGE");
  const auto* element = spec.n_part_params == 1 ? spec.part_params[0]->partition_elem : nullptr;
  if (element == nullptr || element->expr != nullptr || element->n_collation > 0 || element->n_opclass > 0)
    return Error(Errc::kSyntax, "a table is partitioned by exactly one of its columns, and by no expression");
  Scheme scheme{.kind = strategy == "hash" ? Scheme::Kind::kHash : Scheme::Kind::kRange, .column = element->name};
  ASSIGN_OR_RETURN(const KeyColumn key, key_column(stmt, scheme));
  scheme.type = key.type;
  for (const Node* node : PG_LIST(&stmt, table_elts)) {
    if (node->node_case == PG_NODE(CONSTRAINT)) {
      TRY(check_constraint(*node->constraint, "", scheme.column));
    } else if (node->node_case == PG_NODE(COLUMN_DEF)) {
      TRY(check_column(*node->column_def, scheme.column));
    }
  }
  return scheme.kind == Scheme::Kind::kHash ? hash_scheme(scheme, tail) : range_scheme(scheme, tail, key);
}

Result<PartitionedCreate> read_create(const std::string& text, const std::vector<Token>& tokens, std::size_t clause) {
  std::size_t close = clause;
  while (close < tokens.size() && tokens[close].kind != PG_QUERY__TOKEN__ASCII_41) ++close;
  std::size_t last = tokens.size();
  if (tokens.back().kind == PG_QUERY__TOKEN__ASCII_59) --last;
  if (close >= last) return Error(Errc::kSyntax, "name the column: PARTITION BY HASH (column) PARTITIONS n");
  for (std::size_t i = 0; i < last; ++i)
    if (tokens[i].kind == PG_QUERY__TOKEN__ASCII_59)
      return Error(Errc::kSyntax, "write CREATE TABLE … PARTITION BY as a statement of its own");
  ASSIGN_OR_RETURN(const Tail tail, read_tail(text, std::span(tokens).subspan(close + 1, last - close - 1)));
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(text.substr(0, tokens[close].end)));
  const Node* node = tree.statements().empty() ? nullptr : tree.statements()[0]->stmt;
  if (node == nullptr || node->node_case != PG_NODE(CREATE_STMT) || node->create_stmt->partspec == nullptr)
    return Error(Errc::kSyntax, "PARTITION BY belongs to the end of CREATE TABLE");
  const auto& stmt = *node->create_stmt;
  PartitionedCreate out{.table = stmt.relation->relname, .if_not_exists = stmt.if_not_exists != 0};
  out.sql = text.substr(0, tokens[clause].start);
  ASSIGN_OR_RETURN(out.scheme, read_scheme(stmt, tail));
  return out;
}

}  // namespace

std::optional<Result<PartitionedCreate>> parse_partitioned_create(std::string_view text) {
  const std::string owned(text);
  const auto tokens = scan(owned);
  if (tokens.empty() || tokens[0].kind != PG_QUERY__TOKEN__CREATE) return std::nullopt;
  const std::size_t clause = find_clause(tokens);
  if (clause == tokens.size()) return std::nullopt;
  return read_create(owned, tokens, clause);
}

}  // namespace outlast::fragments
