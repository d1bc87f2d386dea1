#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace outlast::executor {

/// On whose behalf a statement is prepared.
enum class Caller : std::uint8_t {
  kClient,    ///< Whatever a client made us run.
  kInternal,  ///< Outlast's own catalog reads: may also ask PRAGMAs about the schema.
  kOwn,       ///< The executor's BEGIN, COMMIT, SAVEPOINT.
};

/// What SQLite's authorizer callback is asked (sqlite3_set_authorizer); pointers may be null.
struct Action {
  int code{0};
  const char* first{nullptr};
  const char* second{nullptr};
  const char* database{nullptr};
};

/// Why a statement may not do this, as a sentence for the client; nullopt = it may. Everything that would leave WAL
/// mode, write a file of its own, or change the range without frames is refused. Pure.
std::optional<std::string> refusal(Caller caller, const Action& action);

}  // namespace outlast::executor
