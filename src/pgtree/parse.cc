#include "pgtree/parse.h"

#include <cstring>
#include <memory_resource>
#include <vector>

namespace outlast::pgtree {

struct Arena::Blocks {
  std::pmr::monotonic_buffer_resource memory{4096};
};

Arena::Arena() : blocks_(std::make_unique<Blocks>()) {}
Arena::Arena(Arena&&) noexcept = default;
Arena& Arena::operator=(Arena&&) noexcept = default;
Arena::~Arena() = default;

void* Arena::allocate(std::size_t bytes) {
  return blocks_->memory.allocate(bytes, alignof(std::max_align_t));
}

char* Arena::text(std::string_view text) {
  auto* out = static_cast<char*>(allocate(text.size() + 1));
  std::memcpy(out, text.data(), text.size());
  out[text.size()] = 0;
  return out;
}

namespace {

ProtobufCAllocator allocator_of(Arena& arena) {
  return {.alloc = [](void* data, std::size_t size) { return static_cast<Arena*>(data)->allocate(size); },
          .free = [](void*, void*) {},
          .allocator_data = &arena};
}

Error parse_error(std::string_view text, const PgQueryError& error) {
  std::string message = error.message != nullptr ? error.message : "syntax error";
  Error out(Errc::kSyntax, std::move(message));
  if (out.message.find("stack depth") != std::string::npos)
    out = Error(Errc::kFeatureLimit, "the statement is nested too deeply; split it");
  if (error.cursorpos > 0) out.position = character_at(text, error.cursorpos - 1);
  return out;
}

/// libpg_query and protobuf-c walk the tree by recursion without a limit, so a chain of thousands of operators would
/// end the process. An expression is never deeper than it has tokens: the tokens of the open parentheses are counted,
/// from the last comma of each on.
bool too_deep(const std::string& text) {
  constexpr std::size_t kMaxChain = 3000;
  if (text.size() < kMaxChain) return false;
  PgQueryScanResult result = pg_query_scan(text.c_str());
  bool deep = false;
  if (result.error == nullptr) {
    PgQuery__ScanResult* scan = pg_query__scan_result__unpack(nullptr, result.pbuf.len,
                                                              reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
    std::vector<std::size_t> levels{0};
    std::size_t total = 0, set_operations = 0;
    const auto drop_level = [&] { total -= levels.back(), levels.back() = 0; };
    for (std::size_t i = 0; scan != nullptr && i < scan->n_tokens; ++i) {
      const auto token = scan->tokens[i]->token;
      if (token == PG_QUERY__TOKEN__ASCII_44) drop_level();
      if (token == PG_QUERY__TOKEN__ASCII_59) levels.assign(1, 0), total = 0, set_operations = 0;
      // A chain of UNIONs is deep across its commas.
      set_operations +=
          token == PG_QUERY__TOKEN__UNION || token == PG_QUERY__TOKEN__INTERSECT || token == PG_QUERY__TOKEN__EXCEPT;
      ++levels.back(), ++total;
      if (token == PG_QUERY__TOKEN__ASCII_40 || token == PG_QUERY__TOKEN__ASCII_91) levels.push_back(0);
      if ((token == PG_QUERY__TOKEN__ASCII_41 || token == PG_QUERY__TOKEN__ASCII_93) && levels.size() > 1)
        drop_level(), levels.pop_back();
      deep = deep || total > kMaxChain || set_operations > 400;
    }
    if (scan != nullptr) pg_query__scan_result__free_unpacked(scan, nullptr);
  }
  pg_query_free_scan_result(result);
  return deep;
}

}  // namespace

int character_at(std::string_view text, int offset) {
  int n = 1;
  for (int i = 0; i < offset && static_cast<std::size_t>(i) < text.size(); ++i)
    n += (static_cast<unsigned char>(text[static_cast<std::size_t>(i)]) & 0xC0) != 0x80;
  return n;
}

Result<Tree> parse(const std::string& text) {
  if (too_deep(text))
    return Error(Errc::kFeatureLimit, "an expression of the statement has over 3000 words; split it, or use IN (…)");
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(text.c_str());
  if (result.error != nullptr) {
    Error error = parse_error(text, *result.error);
    pg_query_free_protobuf_parse_result(result);
    return error;
  }
  Tree tree;
  ProtobufCAllocator allocator = allocator_of(tree.arena_);
  tree.result_ = pg_query__parse_result__unpack(&allocator, result.parse_tree.len,
                                                reinterpret_cast<const std::uint8_t*>(result.parse_tree.data));
  pg_query_free_protobuf_parse_result(result);
  if (tree.result_ == nullptr) return Error(Errc::kFeatureLimit, "the statement is nested too deeply; split it");
  return tree;
}

Message* copy_message(const Message& message, Arena& arena) {
  std::string packed(protobuf_c_message_get_packed_size(&message), '\0');
  protobuf_c_message_pack(&message, reinterpret_cast<std::uint8_t*>(packed.data()));
  ProtobufCAllocator allocator = allocator_of(arena);
  return protobuf_c_message_unpack(message.descriptor, &allocator, packed.size(),
                                   reinterpret_cast<const std::uint8_t*>(packed.data()));
}

Node* parse_expression(const std::string& text, Arena& arena) {
  Result<Tree> tree = parse("SELECT " + text);
  if (!tree.ok()) return nullptr;
  return copy(*tree->statements()[0], arena)->stmt->select_stmt->target_list[0]->res_target->val;
}

Result<std::string> deparse(const Node& statement) {
  PgQuery__RawStmt raw = PG_QUERY__RAW_STMT__INIT;
  PgQuery__ParseResult tree = PG_QUERY__PARSE_RESULT__INIT;
  PgQuery__RawStmt* list[] = {&raw};
  raw.stmt = const_cast<Node*>(&statement);
  tree.version = PG_VERSION_NUM, tree.n_stmts = 1, tree.stmts = list;
  std::string packed(pg_query__parse_result__get_packed_size(&tree), '\0');
  pg_query__parse_result__pack(&tree, reinterpret_cast<std::uint8_t*>(packed.data()));
  PgQueryDeparseResult result = pg_query_deparse_protobuf({packed.size(), packed.data()});
  Result<std::string> out = Error(Errc::kSyntax, "the statement cannot be written as text");
  if (result.error == nullptr && result.query != nullptr) out = std::string(result.query);
  pg_query_free_deparse_result(result);
  return out;
}

Result<std::string> deparse_expression(const Node& expression) {
  constexpr std::string_view kBefore = "SELECT ";
  PgQuery__ResTarget target = PG_QUERY__RES_TARGET__INIT;
  PgQuery__SelectStmt select = PG_QUERY__SELECT_STMT__INIT;
  Node item = PG_QUERY__NODE__INIT, statement = PG_QUERY__NODE__INIT;
  Node* targets[] = {&item};
  target.val = const_cast<Node*>(&expression);
  item.node_case = PG_NODE(RES_TARGET), item.res_target = &target;
  select.n_target_list = 1, select.target_list = targets;
  select.limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT;
  select.op = PG_QUERY__SET_OPERATION__SETOP_NONE;
  statement.node_case = PG_NODE(SELECT_STMT), statement.select_stmt = &select;
  ASSIGN_OR_RETURN(std::string text, deparse(statement));
  return text.substr(kBefore.size());
}

}  // namespace outlast::pgtree
