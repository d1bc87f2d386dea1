#pragma once
#include <cstdint>
#include <deque>
#include <string>

#include "base/result.h"

namespace outlast::handover {

/// STORE/RESTARTS.json: the last id given to a restart and the last receipts, replaced as a whole.
/// Thread-safety: none. A file that cannot be read counts as empty: no restart is refused for it.
class RestartLog {
 public:
  static constexpr std::size_t kReceiptsMax = 20;
  /// An empty folder: nothing is kept.
  explicit RestartLog(std::string folder);

  std::uint64_t last_id() const { return last_id_; }
  /// JSON; empty when there is none.
  std::string last_receipt() const { return receipts_.empty() ? "" : receipts_.back().json; }
  /// The id is given: no later restart gets it, whatever dies.
  Result<void> note_id(std::uint64_t id);
  /// Adds a receipt, or replaces the one of this id. kIo names the file.
  Result<void> add(std::uint64_t id, const std::string& receipt);

 private:
  struct Kept {
    std::uint64_t id;
    std::string json;
  };
  void read();
  Result<void> write() const;

  const std::string folder_;
  std::uint64_t last_id_{0};
  std::deque<Kept> receipts_;
};

}  // namespace outlast::handover
