#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "storage/disk.h"

namespace outlast::storage {

/// Small facts on disk that are replaced as a whole: identities, marks, intents. Text that an operator can read:
///   outlast <kind> <version>
///   <key> <value>        one line each; values hold no newline
///   crc32c <8 hex digits of everything above>
using Fields = std::map<std::string, std::string>;

struct SealedKind {
  std::string name;          ///< E.g. "store".
  std::uint32_t version{1};  ///< Highest version that this program reads and the one that it writes.
};

/// Replaces `<dir>/<name>` atomically and returns when that will last (temporary file, sync, rename, sync of `dir`).
Result<void> write_sealed(Disk& disk, const std::string& dir, const std::string& name, const SealedKind& kind,
                          const Fields& fields);
/// kNotFound; kCorrupt when checksum or form is wrong; kWrongVersion when a newer program wrote it.
Result<Fields> read_sealed(Disk& disk, const std::string& path, const SealedKind& kind);

/// The number under `key`; kCorrupt when it is missing or no number.
Result<std::uint64_t> number_field(const Fields& fields, const std::string& key);
std::string text_field(const Fields& fields, const std::string& key);  ///< "" when missing.

}  // namespace outlast::storage
