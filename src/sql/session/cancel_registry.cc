#include "sql/session/cancel_registry.h"

#include <unistd.h>

#include "base/result.h"

namespace outlast::sql {
namespace {
constexpr std::uint32_t kNumberBits = 20, kNodeMask = 0x7ff, kNumberMask = (1u << kNumberBits) - 1;
constexpr std::size_t kKeyBytes = 4;

// A secret, not chance: a seeded Random would let a client compute the keys of others.
std::string secret() {
  std::string key(kKeyBytes, '\0');
  OUTLAST_ASSERT(::getentropy(key.data(), key.size()) == 0, "the kernel gives no random bytes");
  return key;
}
}  // namespace

NodeId node_of_pid(std::int32_t pid) {
  return NodeId(static_cast<std::uint32_t>(pid) >> kNumberBits & kNodeMask);
}

CancelKey CancelRegistry::add(std::function<void()> on_cancel) {
  const std::lock_guard lock(mutex_);
  std::int32_t pid = 0;
  do {
    next_ = next_ % kNumberMask + 1;  // never 0
    pid = static_cast<std::int32_t>((node_.value & kNodeMask) << kNumberBits | next_);
  } while (entries_.contains(pid));
  CancelKey key{pid, secret()};
  entries_.emplace(pid, Entry{key.key, std::move(on_cancel)});
  return key;
}

void CancelRegistry::remove(std::int32_t pid) {
  const std::lock_guard lock(mutex_);
  entries_.erase(pid);
}

bool CancelRegistry::cancel(std::int32_t pid, std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(pid);
  if (it == entries_.end() || it->second.key.size() != key.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < key.size(); ++i)
    difference |= static_cast<unsigned char>(key[i]) ^ static_cast<unsigned char>(it->second.key[i]);
  if (difference != 0) return false;
  it->second.on_cancel();
  return true;
}

}  // namespace outlast::sql
