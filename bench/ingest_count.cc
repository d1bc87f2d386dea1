// What came of the records of bench/ingest.cc: looks through the file that they were written to. Prints a line of JSON.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "ingest/input/socket.h"

namespace outlast::ingest {
namespace {

/// What a file has of the records of one sender.
struct Seen {
  std::vector<bool> numbers;
  std::uint64_t next{0}, distinct{0};
};

/// The longest time between two lines that begin like "2026-11-26T15:00:00.123456+00:00".
class Gap {
 public:
  void see(std::string_view line) {
    if (line.size() < 26 || line[10] != 'T') return;
    const double at =
        std::atoi(line.data() + 11) * 3600 + std::atoi(line.data() + 14) * 60 + std::strtod(line.data() + 17, nullptr);
    if (last_ >= 0) longest_ = std::max(longest_, at - last_);
    last_ = at;
  }
  double milliseconds() const { return 1000 * longest_; }

 private:
  double last_{-1}, longest_{0};
};

int count(const char* path, std::vector<Seen> seen) {
  const Fd file(open(path, O_RDONLY | O_CLOEXEC));
  struct stat facts{};
  fstat(file.get(), &facts);
  const auto size = static_cast<std::size_t>(facts.st_size);
  void* memory = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.get(), 0);
  std::string_view rest(static_cast<const char*>(memory), size);
  std::uint64_t records = 0, duplicated = 0, out_of_order = 0, strange = 0, lost = 0;
  Gap gap;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    ++records;
    gap.see(line);
    const auto mark = line.find('#');
    const auto sender =
        mark == std::string_view::npos ? seen.size() : std::strtoul(line.data() + mark + 1, nullptr, 10);
    const auto number = sender < seen.size() ? std::strtoul(line.data() + mark + 3, nullptr, 10) : 0;
    if (sender >= seen.size() || number >= seen[sender].numbers.size()) {
      ++strange;
      continue;
    }
    Seen& from = seen[sender];
    if (from.numbers[number]) {
      ++duplicated;
      continue;
    }
    from.numbers[number] = true;
    ++from.distinct;
    if (number < from.next) ++out_of_order;
    from.next = std::max(from.next, number + 1);
  }
  for (const Seen& from : seen) lost += from.numbers.size() - from.distinct;
  std::printf(
      "{\"records\":%lu,\"lost\":%lu,\"duplicated\":%lu,\"out_of_order\":%lu,\"strange\":%lu,\"gap_ms\":%.1f}\n",
      records, lost, duplicated, out_of_order, strange, gap.milliseconds());
  return 0;
}
}  // namespace
}  // namespace outlast::ingest

int main(int words, char** word) {
  using namespace outlast::ingest;
  if (words < 3) {
    std::fprintf(stderr, "usage: %s FILE SENT…\n", word[0]);
    return 2;
  }
  std::vector<Seen> seen;
  for (int i = 2; i < words; ++i) seen.push_back({.numbers = std::vector<bool>(std::strtoul(word[i], nullptr, 10))});
  return count(word[1], std::move(seen));
}
