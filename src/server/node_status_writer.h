#pragma once
#include <memory>
#include <optional>

#include "meta/node_status.h"

namespace outlast::server {

/// Writes /status/<node> when what this process says of itself changed notably: its disk at most every 5 s, whether
/// its buffers hold anything at once. What could not be written is tried again.
/// Thread-safety: the loop's. Lifetime: store and loop outlive it.
class NodeStatusWriter {
 public:
  static constexpr Duration kPause = std::chrono::seconds(5);
  NodeStatusWriter(meta::Store& store, Loop& loop) : store_(store), loop_(loop) {}
  /// To be called about once a second.
  void look(meta::NodeStatusRecord now);

 private:
  bool is_due(const meta::NodeStatusRecord& now) const;
  meta::Store& store_;
  Loop& loop_;
  std::optional<meta::NodeStatusRecord> written_;
  Instant written_at_{};
  bool writing_{false};
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace outlast::server
