#include "storage/wal_collect.h"

#include <map>

#include "base/parse.h"
#include "storage/bytes.h"
#include "storage/log_format.h"

namespace outlast::storage {
namespace {

Error unreadable() {
  return {Errc::kIo, "the write-ahead log of SQLite cannot be read back; check the disk"};
}

}  // namespace

Result<CommitPages> collect_commit(sqlite3_file* wal, std::int64_t first, std::int64_t last, std::uint64_t bytes_max) {
  std::map<std::uint32_t, std::int64_t> newest;  // page number → offset of its last frame
  CommitPages commit;
  commit.page_size = kPageBytes;
  for (std::int64_t at = first; at <= last; at += kFrameBytes) {
    char head[8];
    if (wal->pMethods->xRead(wal, head, sizeof head, at) != SQLITE_OK) return unreadable();
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
    if (wal->pMethods->xRead(wal, image.data(), kPageBytes, at + kFrameHeaderBytes) != SQLITE_OK) return unreadable();
    commit.pages.emplace_back(number, std::move(image));
  }
  return commit;
}

}  // namespace outlast::storage
