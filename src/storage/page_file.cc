#include "storage/page_file.h"

#include <map>
#include <vector>

#include "base/crc32c.h"
#include "storage/log_format.h"

namespace outlast::storage {

Result<void> apply_entries(RangeLog& log, Lsn from, Lsn to, File& file, std::size_t batch_bytes, ImageChoice choice) {
  while (from < to) {
    ASSIGN_OR_RETURN(const std::vector<LogEntryPtr> entries, log.read(from, batch_bytes));
    if (entries.empty())
      return Error(Errc::kInternal, "the log ends before " + to.to_string() + ", which should be applied");
    std::map<std::uint32_t, std::string_view> pages;
    std::uint32_t db_pages = 0;
    for (const LogEntryPtr& entry : entries) {
      if (entry->at.lsn > to) break;
      ASSIGN_OR_RETURN(const CommitView view, decode_view(entry->payload));
      if (view.page_size != kPageBytes)
        return Error(Errc::kCorrupt, "entry " + entry->at.lsn.to_string() + " has another page size than the range");
      for (const auto& [number, image] : view.pages) {
        if (choice == ImageChoice::kFirst)
          pages.try_emplace(number, image);
        else
          pages[number] = image;
      }
      db_pages = view.db_pages;
      from = entry->at.lsn;
    }
    for (const auto& [number, image] : pages)
      if (number <= db_pages) TRY(file.pwrite(std::uint64_t{number - 1} * kPageBytes, image));
    TRY(file.truncate(std::uint64_t{db_pages} * kPageBytes));
  }
  return {};
}

Result<FileDigest> digest_file(File& file) {
  FileDigest digest;
  std::string buffer(std::size_t{1} << 20, '\0');
  for (;;) {
    ASSIGN_OR_RETURN(const std::size_t n, file.pread(digest.bytes, buffer.data(), buffer.size()));
    if (n == 0) return digest;
    digest.crc = crc32c(std::string_view(buffer).substr(0, n), digest.crc);
    digest.bytes += n;
  }
}

}  // namespace outlast::storage
