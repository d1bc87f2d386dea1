#include "storage/wal_collect.h"

#include <cstring>
#include <map>

#include "base/parse.h"
#include "storage/bytes.h"
#include "storage/log_format.h"

namespace outlast::storage {
namespace {

Error unreadable() {
  return {Errc::kIo, "the write-ahead log of SQLite cannot be read back; check the disk"};
}

constexpr std::int64_t kWholeBytes = 1 << 20;

/// A stretch of the WAL: a small one is read at once, of a large one only what is asked for.
class Stretch {
 public:
  Stretch(sqlite3_file* wal, std::int64_t first, std::int64_t end) : wal_(wal), first_(first) {
    if (end - first > kWholeBytes) return;
    whole_.resize(static_cast<std::size_t>(end - first));
    good_ = wal->pMethods->xRead(wal, whole_.data(), static_cast<int>(whole_.size()), first) == SQLITE_OK;
  }
  bool read(char* to, int bytes, std::int64_t at) const {
    if (whole_.empty()) return wal_->pMethods->xRead(wal_, to, bytes, at) == SQLITE_OK;
    if (good_) std::memcpy(to, whole_.data() + (at - first_), static_cast<std::size_t>(bytes));
    return good_;
  }

 private:
  sqlite3_file* const wal_;
  const std::int64_t first_;
  std::string whole_;
  bool good_{true};
};

}  // namespace

Result<CommitPages> collect_commit(sqlite3_file* wal, std::int64_t first, std::int64_t last, std::uint64_t bytes_max) {
  std::map<std::uint32_t, std::int64_t> newest;  // page number → offset of its last frame
  CommitPages commit;
  commit.page_size = kPageBytes;
  const Stretch frames(wal, first, last + kFrameBytes);
  for (std::int64_t at = first; at <= last; at += kFrameBytes) {
    char head[8];
    if (!frames.read(head, sizeof head, at)) return unreadable();
    commit.db_pages = get_be32(head + 4);
    OUTLAST_ASSERT((commit.db_pages != 0) == (at == last), "only the last frame of a transaction commits");
    newest[get_be32(head)] = at;
  }
  if (newest.size() * kPageBytes > bytes_max)
    return Error(Errc::kTooLarge, "the transaction changes " + format_bytes(newest.size() * kPageBytes) +
                                      " of pages, more than " + format_bytes(bytes_max) + "; split it");
  commit.pages.reserve(newest.size());
  for (const auto& [number, at] : newest) {
    if (number > commit.db_pages) continue;  // cut off by the same transaction
    std::string image(kPageBytes, '\0');
    if (!frames.read(image.data(), kPageBytes, at + kFrameHeaderBytes)) return unreadable();
    commit.pages.emplace_back(number, std::move(image));
  }
  return commit;
}

void FramesAsWritten::note(const void* bytes, int count) {
  const auto* const text = static_cast<const char*>(bytes);
  if (count == kFrameHeaderBytes) {
    page_ = get_be32(text);
    if (get_be32(text + 4) != 0) commit_.db_pages = get_be32(text + 4);
  } else if (count == static_cast<int>(kPageBytes)) {
    commit_.pages.emplace_back(page_, std::string(text, kPageBytes));
  }
}

CommitPages FramesAsWritten::take() {
  std::map<std::uint32_t, std::string> latest;
  for (auto& [number, image] : commit_.pages) latest[number] = std::move(image);
  CommitPages out;
  out.page_size = kPageBytes;
  out.db_pages = commit_.db_pages;
  for (auto& [number, image] : latest)
    if (number <= out.db_pages) out.pages.emplace_back(number, std::move(image));
  clear();
  return out;
}

}  // namespace outlast::storage
