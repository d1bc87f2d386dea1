#pragma once
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "cli/record_sender.h"

namespace outlast::cli {

/// What became of records in one place.
struct StoredRecords {
  std::uint64_t lost{0};          ///< Sent, and not there.
  std::uint64_t duplicated{0};    ///< There once more than they should.
  std::uint64_t order_breaks{0};  ///< Stored behind one that their sender sent later; second copies do not count.
  std::uint64_t unreadable{0};    ///< Rows or lines that are no record of a sender, or one that it never sent.
  void add(const StoredRecords& more);
};

/// Looks at everything that is stored in one place, in the order in which it was stored. Pure.
class RecordCheck {
 public:
  /// The text of the next stored record.
  void saw(std::string_view text);
  /// Everything that this sender sent is there.
  bool complete(int sender, const SenderCounts& counts) const;
  StoredRecords of(int sender, const SenderCounts& counts) const;
  /// Rows in which there is no record at all; of() does not have them.
  std::uint64_t unreadable() const { return unreadable_; }
  std::uint64_t seen() const { return seen_count_; }

 private:
  struct Seen {
    std::vector<bool> numbers;
    std::uint64_t duplicated{0}, order_breaks{0};
  };
  std::map<int, Seen> seen_;
  std::uint64_t unreadable_{0}, seen_count_{0};
};

}  // namespace outlast::cli
