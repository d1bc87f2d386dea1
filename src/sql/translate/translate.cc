#include "sql/translate/translate.h"

#include <algorithm>
#include <cctype>

#include "fragments/create.h"
#include "pgtree/parse.h"
#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\f\v;";
  const auto first = text.find_first_not_of(kBlank);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// The next word of `rest` in lower case, removed from it.
std::string take_word(std::string_view& rest) {
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front()))) rest.remove_prefix(1);
  std::string word;
  while (!rest.empty() && !std::isspace(static_cast<unsigned char>(rest.front())) && rest.front() != '=') {
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(rest.front())));
    rest.remove_prefix(1);
  }
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front()))) rest.remove_prefix(1);
  return word;
}

std::string unquoted(std::string_view value) {
  if (value.size() < 2 || value.front() != '\'' || value.back() != '\'') return std::string(value);
  std::string out;
  for (std::size_t i = 1; i + 1 < value.size(); ++i) {
    out += value[i];
    if (value[i] == '\'' && i + 2 < value.size() && value[i + 1] == '\'') ++i;
  }
  return out;
}

/// SHOW COMPUTE NODES: two words, which PostgreSQL's grammar does not have. nullopt: something else.
std::optional<Translated> compute_nodes(std::string_view text) {
  std::string_view rest = trimmed(text);
  Translated out;
  out.source = std::string(rest);
  if (take_word(rest) != "show" || take_word(rest) != "compute" || take_word(rest) != "nodes" || !rest.empty())
    return std::nullopt;
  out.kind = StatementKind::kShow, out.tag = "SHOW", out.returns_rows = true, out.name = "compute nodes";
  return out;
}

/// SET / RESET / SHOW CLUSTER SETTING: not PostgreSQL's grammar, so they are read here. nullopt: something else.
std::optional<Result<Translated>> cluster_setting(std::string_view text) {
  std::string_view rest = trimmed(text);
  Translated out;
  out.source = std::string(rest);
  const std::string verb = take_word(rest);
  if ((verb != "set" && verb != "reset" && verb != "show") || take_word(rest) != "cluster") return std::nullopt;
  const std::string noun = take_word(rest);
  if (noun != "setting" && noun != "settings") return std::nullopt;
  out.name = take_word(rest);
  if (verb == "show") {
    out.kind = StatementKind::kShowClusterSetting, out.tag = "SHOW", out.returns_rows = true;
    out.all = out.name.empty() || out.name == "all";
    if (out.all) out.name.clear();
    if (!rest.empty()) return Result<Translated>(Error(Errc::kSyntax, "syntax error after the setting's name"));
    return Result<Translated>(std::move(out));
  }
  if (out.name.empty()) return Result<Translated>(Error(Errc::kSyntax, "name the cluster setting"));
  if (verb == "reset") {
    out.kind = StatementKind::kResetClusterSetting, out.tag = "RESET CLUSTER SETTING";
    if (!rest.empty()) return Result<Translated>(Error(Errc::kSyntax, "syntax error after the setting's name"));
    return Result<Translated>(std::move(out));
  }
  if (rest.starts_with('='))
    rest.remove_prefix(1);
  else if (take_word(rest) != "to")
    return Result<Translated>(Error(Errc::kSyntax, "write SET CLUSTER SETTING name = value"));
  const std::string_view value = trimmed(rest);
  const bool literal = value.size() > 1 && value.front() == '\'' && value.find('\'', 1) == value.size() - 1;
  if (value.empty() || (!literal && value.find_first_of(" ;'\"") != value.npos))
    return Result<Translated>(
        Error(Errc::kSyntax, "write SET CLUSTER SETTING name = 'value', as a statement of its own"));
  out.kind = StatementKind::kSetClusterSetting, out.tag = "SET CLUSTER SETTING", out.value = unquoted(value);
  return Result<Translated>(std::move(out));
}

/// SHOW PARTITIONS [FROM table]: not PostgreSQL's grammar. nullopt: something else.
std::optional<Result<Translated>> show_partitions(std::string_view text) {
  std::string_view rest = trimmed(text);
  Translated out;
  out.source = std::string(rest);
  if (take_word(rest) != "show" || take_word(rest) != "partitions") return std::nullopt;
  out.kind = StatementKind::kShow, out.tag = "SHOW", out.returns_rows = true, out.name = "partitions";
  if (rest.empty()) return Result<Translated>(std::move(out));
  std::string_view name = rest;
  if (take_word(name) != "from" || name.empty() || name.find_first_of(" \t\n;") != name.npos)
    return Result<Translated>(Error(Errc::kSyntax, "write SHOW PARTITIONS FROM table"));
  const bool exact = name.size() > 1 && name.front() == '"' && name.back() == '"';
  out.value = exact ? std::string(name.substr(1, name.size() - 2)) : take_word(name);
  return Result<Translated>(std::move(out));
}

/// CREATE TABLE … PARTITION BY: not quite PostgreSQL's grammar, so it stands alone in its string. nullopt: something
/// else.
std::optional<Result<Translated>> partitioned_create(std::string_view text) {
  constexpr std::string_view kWord = "partition";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (std::search(text.begin(), text.end(), kWord.begin(), kWord.end(), same) == text.end()) return std::nullopt;
  auto create = fragments::parse_partitioned_create(text);
  if (!create) return std::nullopt;
  if (!create->ok()) return Result<Translated>(std::move(*create).error());
  auto table = translate((*create)->sql);
  if (!table.ok()) return Result<Translated>(std::move(table).error());
  Translated out = std::move(table->front());
  out.kind = StatementKind::kCreatePartitioned;
  out.name = (*create)->table;
  out.value = fragments::encode((*create)->scheme);
  out.source = std::string(trimmed(text));
  return Result<Translated>(std::move(out));
}

/// "EXPLAIN", "CREATE FUNCTION": what to call a statement that is refused.
std::string command_words(std::string_view source) {
  std::string_view rest = trimmed(source);
  std::string words = take_word(rest);
  if (words == "create" || words == "alter" || words == "drop") {
    std::string next = take_word(rest);
    if (next == "or") take_word(rest), next = take_word(rest);
    words += " " + next;
  }
  for (char& c : words) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return words;
}

}  // namespace

Error Translator::error_at(Error error, int location) const {
  if (location >= 0) error.position = pgtree::character_at(text_, location);
  return error;
}

void Translator::refuse(Errc code, std::string message, int location) {
  if (!failed()) error_ = error_at(Error(code, std::move(message)), location);
}

void Translator::refuse_node(const Node* node, std::string_view where) {
  refuse(Errc::kSyntax, tree::kind_name(node) + " is not supported in: " + std::string(where) + "; see docs/sql.md",
         node == nullptr ? -1 : tree::location_of(node->base));
}

void Translator::only_fields(const tree::Message& message, std::initializer_list<std::string_view> handled) {
  const std::string_view field = tree::unhandled_field(message, handled);
  if (!field.empty())
    refuse(Errc::kSyntax,
           std::string(field) + " of " + message.descriptor->short_name + " is not supported; see docs/sql.md",
           tree::location_of(message));
}

void Translator::rows_statement(Selected result, StatementKind kind, std::string tag, bool rows) {
  out_.kind = kind, out_.tag = std::move(tag), out_.returns_rows = rows;
  out_.sql.push_back(std::move(result.sql));
  if (!result.columns_known) return;
  for (std::size_t i = 0; i < result.columns.size(); ++i) {
    const Expression& e = result.columns[i];
    ColumnHint hint{.oid = e.type, .typmod = e.typmod, .name = result.names[i]};
    if (hint.oid == kSomeNumber) hint.oid = 0;
    if (hint.oid == oid::kNumeric) hint.oid = oid::kFloat8;
    if (hint.oid == oid::kUnknown) hint.oid = oid::kText;
    if (hint.oid == 0 && e.parameter != 0) hint.oid = oid::kText;
    out_.columns.push_back(std::move(hint));
  }
}

void Translator::statement(const Node* node) {
  switch (node->node_case) {
    case PG_NODE(SELECT_STMT):
      return rows_statement(select(*node->select_stmt), StatementKind::kQuery, "SELECT", true);
    case PG_NODE(INSERT_STMT):
      return rows_statement(insert(*node->insert_stmt), StatementKind::kWrite, "INSERT",
                            node->insert_stmt->n_returning_list > 0);
    case PG_NODE(UPDATE_STMT):
      return rows_statement(update(*node->update_stmt), StatementKind::kWrite, "UPDATE",
                            node->update_stmt->n_returning_list > 0);
    case PG_NODE(DELETE_STMT):
      return rows_statement(delete_from(*node->delete_stmt), StatementKind::kWrite, "DELETE",
                            node->delete_stmt->n_returning_list > 0);
    default:
      break;
  }
  if (!utility(node) && !session_command(node))
    refuse(Errc::kSyntax, command_words(source_) + " is not supported; docs/sql.md lists the statements");
}

Result<Translated> Translator::run(const PgQuery__RawStmt& raw) {
  const auto start = static_cast<std::size_t>(raw.stmt_location);
  source_ = text_.substr(start, raw.stmt_len == 0 ? text_.npos : static_cast<std::size_t>(raw.stmt_len));
  out_.source = std::string(trimmed(source_));
  statement(raw.stmt);
  if (reads_catalog_ && (reads_user_ || out_.kind == StatementKind::kWrite || out_.locks_rows))
    refuse(Errc::kSyntax,
           "the system catalog and tables cannot be used in one statement; ask for them one after the other");
  if (out_.copy && reads_catalog_) refuse(Errc::kSyntax, "COPY of the system catalog is not supported; use SELECT");
  if (failed()) return *error_;
  out_.catalog = reads_catalog_;
  if (!parameters_.empty()) {
    const auto n = std::max<std::size_t>(static_cast<std::size_t>(parameters_.rbegin()->first), declared_.size());
    out_.parameters.assign(n, 0);
    for (std::size_t i = 0; i < n && i < declared_.size(); ++i) out_.parameters[i] = declared_[i];
    for (const auto& [number, type] : parameters_)
      if (out_.parameters[static_cast<std::size_t>(number) - 1] == 0)
        out_.parameters[static_cast<std::size_t>(number) - 1] = type;
  }
  return std::move(out_);
}

Result<std::vector<Translated>> translate(std::string_view text, const std::vector<Oid>& parameter_types,
                                          const SessionNames& names) {
  std::vector<Translated> out;
  if (text.find('\0') != text.npos) return Error(Errc::kSyntax, "the statement contains a zero byte");
  if (auto nodes = compute_nodes(text)) {
    out.push_back(*std::move(nodes));
    return out;
  }
  if (auto setting = cluster_setting(text)) {
    if (!setting->ok()) return std::move(*setting).error();
    out.push_back(std::move(**setting));
    return out;
  }
  for (auto* read : {partitioned_create, show_partitions}) {
    auto one = read(text);
    if (!one) continue;
    if (!one->ok()) return std::move(*one).error();
    out.push_back(std::move(**one));
    return out;
  }
  const std::string owned(text);
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(owned));
  for (const PgQuery__RawStmt* statement : tree.statements()) {
    Translator translator(owned, parameter_types, names);
    ASSIGN_OR_RETURN(Translated one, translator.run(*statement));
    out.push_back(std::move(one));
  }
  if (out.empty()) out.emplace_back();
  return out;
}

}  // namespace outlast::sql
