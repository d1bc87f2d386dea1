#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>

#include "base/loop.h"
#include "meta/store.h"

namespace outlast::meta {

struct EmbeddedOptions {
  std::size_t ops_max{1'000};                     ///< Operations of one transaction.
  std::size_t batch_max{512};                     ///< Transactions committed by one fsync.
  Duration poll{std::chrono::milliseconds(100)};  ///< Looks for commits of others whose poke was lost.
};

/// Opens or creates the embedded metadata store (protocol A6): one SQLite file `dir/meta.db`, shared by all processes
/// of one machine that open the same directory. Blocking work runs on a thread of the store's own; what waits while a
/// commit runs is committed together by the next fsync. The directory must exist and be on a local file system.
/// Known limit: a process stopped in the middle of a write freezes metadata (not data) for all until it goes on; the
/// others' writes then end with kMetaUnavailable at their timeout, reads and watches go on.
/// A process with a store open must fork only to exec at once; every descriptor is close-on-exec.
/// Lifetime: `loop` outlives the store. Destroy it on the loop; callbacks that have not run are dropped.
/// Errors: kIo, kCorrupt, kWrongVersion, kMetaUnavailable.
Result<std::unique_ptr<Store>> open_embedded(const std::filesystem::path& dir, Loop& loop,
                                             EmbeddedOptions options = {});

}  // namespace outlast::meta
