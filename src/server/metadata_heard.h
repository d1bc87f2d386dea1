#pragma once
#include <memory>
#include <optional>

#include "base/loop.h"
#include "meta/store.h"

namespace outlast::server {

/// Whether the metadata store answers right now. A connection that somebody cut silently looks connected for seconds,
/// and a lease transfer that begins then holds its range's writes until its outcome is known (protocol A7: transfers
/// wait while metadata is out of reach). Thread-safety: loop only. Lifetime: loop and store outlive it.
class MetadataHeard {
 public:
  /// `again`: an answer has come after lately() said no.
  MetadataHeard(Loop& loop, meta::Store& store, Task again);
  /// It answered at most kFresh ago. If not: it is being asked.
  bool lately();
  static constexpr Duration kFresh = std::chrono::milliseconds(200);

 private:
  Loop& loop_;
  meta::Store& store_;
  struct State {
    Task again;
    bool asking{false};
    std::optional<Instant> heard;
  };
  std::shared_ptr<State> state_;
};

}  // namespace outlast::server
