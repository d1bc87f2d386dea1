#include "cli/record_check.h"

#include <algorithm>

namespace outlast::cli {
namespace {
constexpr std::uint64_t kNumberMax = 1U << 30;  ///< No sender comes so far: more is a broken record.

std::uint64_t count(const std::vector<bool>& numbers, std::uint64_t from, std::uint64_t to) {
  const auto at = [&](std::uint64_t i) {
    return numbers.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(i, numbers.size()));
  };
  return from >= to ? 0 : static_cast<std::uint64_t>(std::count(at(from), at(to), true));
}
}  // namespace

void StoredRecords::add(const StoredRecords& more) {
  lost += more.lost;
  duplicated += more.duplicated;
  order_breaks += more.order_breaks;
  unreadable += more.unreadable;
}

void RecordCheck::saw(std::string_view text) {
  ++seen_count_;
  const auto id = find_record(text);
  if (!id || id->number >= kNumberMax) {
    ++unreadable_;
    return;
  }
  Seen& seen = seen_[id->sender];
  if (id->number >= seen.numbers.size()) {
    seen.numbers.resize(id->number + 1);
  } else if (seen.numbers[id->number]) {
    ++seen.duplicated;
    return;
  } else {
    ++seen.order_breaks;
  }
  seen.numbers[id->number] = true;
}

bool RecordCheck::complete(int sender, const SenderCounts& counts) const {
  return of(sender, counts).lost == 0;
}

StoredRecords RecordCheck::of(int sender, const SenderCounts& counts) const {
  const auto found = seen_.find(sender);
  if (found == seen_.end()) return {.lost = counts.sent};
  const Seen& seen = found->second;
  return {.lost = counts.sent - count(seen.numbers, 0, counts.sent),
          .duplicated = seen.duplicated,
          .order_breaks = seen.order_breaks,
          .unreadable = count(seen.numbers, std::max(counts.sent, counts.begun), seen.numbers.size())};
}

}  // namespace outlast::cli
