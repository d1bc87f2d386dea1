#include "server/loads/load_transactions.h"

namespace outlast::server {

void LoadTransactions::keep(const std::string& database, const std::string& label, OpenPtr open) {
  const std::lock_guard lock(mutex_);
  open_[{database, label}] = std::move(open);
}

LoadTransactions::OpenPtr LoadTransactions::take(const std::string& database, const std::string& label) {
  const std::lock_guard lock(mutex_);
  auto found = open_.extract({database, label});
  return found.empty() ? nullptr : std::move(found.mapped());
}

void LoadTransactions::drop_expired(std::int64_t now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(open_, [now](const auto& entry) { return entry.second->load->label().expires <= now; });
}

}  // namespace outlast::server
