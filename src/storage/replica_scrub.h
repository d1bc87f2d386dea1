#pragma once
#include <map>
#include <memory>
#include <vector>

#include "storage/replica.h"
#include "storage/replica_files.h"

namespace outlast::storage {

/// See Scrub. What can be said of a page: the image that the mark promises, or one of a later entry, must be in the
/// file (a leader's checkpoint and a backup's apply may be ahead of the mark, never behind it). Pages that no retained
/// entry changed up to the mark are left out: comparing replicas at one LSN covers them.
class ReplicaScrub final : public Scrub {
 public:
  explicit ReplicaScrub(std::shared_ptr<ReplicaFiles> files);
  Result<std::size_t> check_log(std::size_t bytes) override;
  Result<std::size_t> check_file(std::size_t bytes) override;

 private:
  using Images = std::vector<std::uint32_t>;  ///< CRC-32C of images that may be in the file.
  void note(const LogEntry& entry, const CommitView& view);
  Result<bool> changed_since(std::uint32_t page, std::uint32_t crc);

  const std::shared_ptr<ReplicaFiles> files_;
  const Lsn mark_;
  Lsn read_;  ///< Of the log.
  std::map<std::uint32_t, Images> pages_;
  std::uint32_t next_page_{0};
};

}  // namespace outlast::storage
