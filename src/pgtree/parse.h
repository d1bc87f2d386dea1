#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "pgtree/tree.h"

namespace outlast::pgtree {

/// Memory of a parse tree and of what is built into it later: all of it goes at once, with the arena, so that branches
/// may be cut, shared and replaced freely.
class Arena {
 public:
  Arena();
  Arena(Arena&&) noexcept;
  Arena& operator=(Arena&&) noexcept;
  ~Arena();
  void* allocate(std::size_t bytes);
  char* text(std::string_view text);  ///< A copy that ends with a zero.
  template <class T>
  T** list(std::span<T* const> items) {
    auto* out = static_cast<T**>(allocate(sizeof(T*) * (items.size() + 1)));
    for (std::size_t i = 0; i < items.size(); ++i) out[i] = items[i];
    return out;
  }

 private:
  struct Blocks;
  std::unique_ptr<Blocks> blocks_;
};

/// The statements of one string. Movable; its nodes keep their addresses.
class Tree {
 public:
  std::span<PgQuery__RawStmt* const> statements() const { return {result_->stmts, result_->n_stmts}; }
  Arena& arena() { return arena_; }

 private:
  friend Result<Tree> parse(const std::string& text);
  Arena arena_;
  PgQuery__ParseResult* result_{nullptr};
};

/// PostgreSQL 15's grammar (libpg_query). kSyntax with PostgreSQL's message and position; kFeatureLimit for statements
/// so deep that walking them would end the process. Thread-safety: any thread.
Result<Tree> parse(const std::string& text);

/// A copy in `arena`, to be changed.
Message* copy_message(const Message& message, Arena& arena);
template <class M>
M* copy(const M& message, Arena& arena) {
  return reinterpret_cast<M*>(copy_message(message.base, arena));
}
/// An expression written as text ("a + 1"), parsed into `arena`. Only for texts that we wrote ourselves.
Node* parse_expression(const std::string& text, Arena& arena);

/// A statement as text again. kSyntax when libpg_query cannot write it.
Result<std::string> deparse(const Node& statement);
/// An expression as text again, to be put into a statement as it is.
Result<std::string> deparse_expression(const Node& expression);

/// 1-based character of a byte offset.
int character_at(std::string_view text, int offset);

}  // namespace outlast::pgtree
