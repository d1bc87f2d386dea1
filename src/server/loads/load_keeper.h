#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"

namespace outlast::server {

/// The leader frontend's duty towards loads (protocol A9): what an owner left is applied when it was committed, else
/// aborted and swept, and old labels are removed; see loads/keeper.h. It keeps no truth, so the next holder of the
/// office goes on. Costs one read a database and round, at most kAtOnce a second. Thread-safety: loop only. Lifetime:
/// `loop` and what the ports use outlive it.
class LoadKeeper {
 public:
  struct Ports {
    std::function<bool()> in_office;
    std::function<std::vector<std::string>()> databases;
    /// Sentences about what was done.
    std::function<void(std::string database, Callback<std::vector<std::string>>)> look;
  };
  LoadKeeper(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}
  LoadKeeper(const LoadKeeper&) = delete;
  LoadKeeper& operator=(const LoadKeeper&) = delete;
  void start() { tick(); }

 private:
  static constexpr std::size_t kAtOnce = 10;
  void tick();
  void next(std::shared_ptr<std::vector<std::string>> databases);

  Loop& loop_;
  const Ports ports_;
  std::string last_;  ///< The database that was looked at last.
  bool busy_{false};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
