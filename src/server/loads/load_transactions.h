#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "http/server.h"
#include "loads/load.h"
#include "server/loads/stream_load.h"

namespace outlast::server {

/// Loads whose rows come in several requests (the transaction form), open at this node. Prepared, committed and rolled
/// back they may be through any node, by their label. Thread-safety: any thread.
class LoadTransactions {
 public:
  struct Open {
    std::unique_ptr<loads::Load> load;
    loads::LoadOptions options;
  };
  using OpenPtr = std::shared_ptr<Open>;
  void keep(const std::string& database, const std::string& label, OpenPtr open);
  /// Takes it out, for one request at a time; nullptr: not here, or another request has it.
  OpenPtr take(const std::string& database, const std::string& label);
  /// Those whose time was over at `now` (microseconds since 1970) are dropped; the keeper ends them.
  void drop_expired(std::int64_t now);

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, OpenPtr> open_;
};

}  // namespace outlast::server
