#include "server/loads/load_keeper.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace outlast::server {
using namespace std::chrono_literals;

void LoadKeeper::tick() {
  loop_.after(1s, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) tick();
  });
  if (busy_ || !ports_.in_office()) return;
  auto databases = std::make_shared<std::vector<std::string>>(ports_.databases());
  std::ranges::sort(*databases);
  // Round and round, a few a second.
  std::ranges::rotate(*databases, std::ranges::upper_bound(*databases, last_));
  if (databases->size() > kAtOnce) databases->resize(kAtOnce);
  std::ranges::reverse(*databases);
  busy_ = true;
  next(std::move(databases));
}

/// The last of the list, then the rest.
void LoadKeeper::next(std::shared_ptr<std::vector<std::string>> databases) {
  if (databases->empty() || !ports_.in_office()) {
    busy_ = false;
    return;
  }
  last_ = databases->back();
  databases->pop_back();
  ports_.look(last_, [this, databases, database = last_,
                      alive = std::weak_ptr(alive_)](Result<std::vector<std::string>> done) mutable {
    if (alive.expired()) return;
    if (done.ok())
      for (const std::string& sentence : *done) spdlog::info("{}", sentence);
    else if (done.error().code != Errc::kUndefinedDatabase)
      spdlog::debug("loads of database \"{}\" could not be looked at: {}", database, done.error().message);
    next(std::move(databases));
  });
}

}  // namespace outlast::server
